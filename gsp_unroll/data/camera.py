"""Raw files of cameras (DNG, NEF, CR2, ARW, ...): the mosaic in, the developed colours out."""

from __future__ import annotations

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

RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")

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
        turns: Quarter turns counter-clockwise that bring the picture upright.
    """

    mosaic: Tensor
    cfa: CFA
    matrix: Tensor
    turns: int

    def develop(self, restored: Tensor) -> Tensor:
        """Turn restored camera colours into an upright sRGB picture.

        Args:
            restored: ``[3, H, W]`` on the scale of ``mosaic``.

        Returns:
            ``[3, H, W]``, or ``[3, W, H]`` if it is turned, in [0, 1].
        """
        checks.shape("restored", restored, [3, *self.mosaic.shape[1:]])
        linear = _decode(restored.clamp(0, 1))
        colours = torch.einsum("ij,jhw->ihw", self.matrix.to(linear), linear).clamp(0, 1)
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
    # Relative to green, so that what was not clipped by the sensor is not clipped here.
    gains = np.array(raw.camera_whitebalance, dtype=np.float64)
    gains[gains == 0] = gains[names.index("G")]
    gains /= gains[names.index("G")]
    if not np.isfinite(gains).all():
        gains = np.ones(4)
    scale = gains / (raw.white_level - black)
    values = (raw.raw_image_visible - black[number]) * scale[number]
    mosaic = torch.from_numpy(values.clip(0, 1)).float()[None]
    # All zero for a camera that LibRaw does not know, whose colours are then left as they are.
    matrix = torch.tensor(raw.color_matrix[:, :3]) if raw.color_matrix.any() else torch.eye(3)
    return RawPhoto(_encode(mosaic), CFA(letters), matrix, _TURNS.get(raw.sizes.flip, 0))


def _encode(linear: Tensor) -> Tensor:
    """Linear light to sRGB values."""
    high = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, high)


def _decode(encoded: Tensor) -> Tensor:
    """SRGB values to linear light."""
    high = ((encoded + 0.055) / 1.055).clamp(min=0) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, high)
