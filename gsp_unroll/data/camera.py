"""Raw files of cameras (DNG, NEF, CR2, ARW, ...): the mosaic in, the developed colours out."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.data.images import ImageError
from gsp_unroll.observe.cfa import CFA

logger = logging.getLogger(__name__)

RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")

# Linear sRGB to CIE XYZ under D65 (IEC 61966-2-1).
_XYZ_FROM_SRGB = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
# How LibRaw numbers rotations: quarter turns counter-clockwise.
_TURNS = {0: 0, 3: 2, 5: 1, 6: 3}


@dataclass(frozen=True)
class RawPhoto:
    """What a camera recorded, ready to be demosaicked.

    Attributes:
        mosaic: ``[1, H, W]`` in [0, 1]: black level taken off, white balanced as shot, sRGB curve
            applied, since networks are trained on photographs that have that curve.
        cfa: Colour filter array from the top-left pixel.
        matrix: Balanced camera colours to linear sRGB ``[3, 3]``; white stays white.
        exposure: What linear light is multiplied by at the end.
        turns: Quarter turns counter-clockwise that bring the picture upright.
    """

    mosaic: Tensor
    cfa: CFA
    matrix: Tensor
    turns: int = 0
    exposure: float = 1.0

    def develop(self, restored: Tensor) -> Tensor:
        """Turn restored camera colours into an upright sRGB picture.

        Args:
            restored: ``[3, H, W]`` on the scale of ``mosaic``.

        Returns:
            ``[3, H, W]``, or ``[3, W, H]`` if it is turned, in [0, 1].
        """
        checks.shape("restored", restored, [3, *self.mosaic.shape[1:]])
        linear = _decode(restored.clamp(0, 1))
        matrix = self.exposure * self.matrix.to(linear)
        # Where a colour of the sensor was full, so is the result: no magenta highlights.
        linear = linear.clamp(max=1 / self.exposure)
        colours = torch.einsum("ij,jhw->ihw", matrix, linear).clamp(0, 1)
        return torch.rot90(_encode(colours), self.turns, (1, 2))


def read_raw(path: str | os.PathLike[str]) -> RawPhoto:
    """Read the mosaic of a raw file by LibRaw (package ``rawpy``, extra ``raw``).

    Raises:
        ImageError: If the package is not installed, the file cannot be read, or it holds no mosaic
            of red, green and blue.
    """
    try:
        import rawpy
    except ImportError as error:
        raise ImageError(f"reading {path} needs the package rawpy: pip install rawpy") from error
    if not Path(path).is_file():
        raise ImageError(f"raw file not found: {path}")
    try:
        with rawpy.imread(os.fspath(path)) as raw:
            return _photo(Path(path), raw)
    except (rawpy.LibRawError, OSError) as error:
        raise ImageError(f"cannot read the raw file {path}: {error}") from error


def _photo(path: Path, raw: Any) -> RawPhoto:
    names = raw.color_desc.decode()
    if raw.raw_pattern is None or set(names) != set("RGB"):
        raise ImageError(f"{path} holds no mosaic of red, green and blue (colours {names!r})")
    rows, columns = raw.raw_pattern.shape
    number = raw.raw_colors_visible
    letters = np.array(list(names))[number[:rows, :columns]]
    black = np.array(raw.black_level_per_channel, dtype=np.float64)
    gains = np.array(raw.camera_whitebalance, dtype=np.float64)
    green = gains[names.index("G")]
    if not (np.isfinite(gains).all() and green > 0):
        gains, green = np.ones(len(gains)), 1.0  # nothing is said about the light
    gains[gains == 0] = green
    # The largest one is 1, so that what the sensor did not clip is not clipped here.
    scale = gains / gains.max() / (raw.white_level - black)
    values = (raw.raw_image_visible - black[number]) * scale[number]
    mosaic = torch.from_numpy(values.clip(0, 1)).float()[None]
    return RawPhoto(
        _encode(mosaic),
        CFA(letters),
        torch.from_numpy(_srgb_from_camera(raw, path)).float(),
        _TURNS.get(raw.sizes.flip, 0),
        gains.max() / green,
    )


def _srgb_from_camera(raw: Any, path: Path) -> np.ndarray:
    """From the file (DNG), else from LibRaw's table of cameras."""
    if raw.color_matrix.any():
        return np.array(raw.color_matrix[:, :3], dtype=np.float64)
    camera_from_srgb = np.array(raw.rgb_xyz_matrix[:3], dtype=np.float64) @ _XYZ_FROM_SRGB
    white = camera_from_srgb.sum(1, keepdims=True)
    if not (white > 0).all():
        logger.warning("the camera of %s is not known: its colours are left as they are", path)
        return np.eye(3)
    return np.linalg.inv(camera_from_srgb / white)


def _encode(linear: Tensor) -> Tensor:
    """Linear light to sRGB values."""
    high = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, high)


def _decode(encoded: Tensor) -> Tensor:
    """SRGB values to linear light."""
    high = ((encoded + 0.055) / 1.055).clamp(min=0) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, high)
