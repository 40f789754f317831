"""Image files in and out: 8 and 16 bits, grey, RGB, alpha, palette; a bad file is always named."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.data import png16
from gsp_unroll.files import check_can_write, write_atomically

__all__ = [
    "ImageError",
    "builtin_images",
    "find_images",
    "read_image",
    "read_image_raw",
    "write_image",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif")

# Colour photographs inside the scikit-image wheel. Both views of the motorcycle are in one split:
# they show the same scene.
_BUILTIN = {
    "train": (
        "astronaut.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
        "rocket.jpg",
        "hubble_deep_field.jpg",
        "ihc.png",
    ),
    "test": ("chelsea.png", "coffee.png"),
}

_GREY_WEIGHTS = (0.299, 0.587, 0.114)


class ImageError(ValueError):
    """An image file or folder that cannot be used; the message names it and the reason."""


def read_image(path: str | os.PathLike[str], channels: int | None = 3) -> Tensor:
    """Read an image file.

    Args:
        path: PNG, JPEG, WebP, TIFF, BMP, ... with 8 or 16 bits. Alpha is dropped, the EXIF
            orientation is applied, an animation gives its first frame.
        channels: 3 for RGB (grey is repeated), 1 for grey (RGB is weighted with the full-range
            BT.601 weights 0.299, 0.587, 0.114), ``None`` for what the file holds.

    Returns:
        float32 ``[C, H, W]`` in [0, 1].

    Raises:
        ImageError: If the file is missing, truncated, or no image.
    """
    if channels not in (1, 3, None):
        raise ValueError(f"channels must be 1, 3 or None, got {channels!r}")
    raw = read_image_raw(path)
    top = 255.0 if raw.dtype == np.uint8 else 65535.0
    image = torch.from_numpy(raw.astype(np.float32) / np.float32(top)).permute(2, 0, 1)
    image = image.contiguous()
    if channels == 3 and image.shape[0] == 1:
        return image.repeat(3, 1, 1)
    if channels == 1 and image.shape[0] == 3:
        return (image * torch.tensor(_GREY_WEIGHTS).view(3, 1, 1)).sum(0, keepdim=True)
    return image


def read_image_raw(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image file without scaling, as ``read_image`` does before it.

    Returns:
        uint8 or uint16 ``[H, W, C]`` with C = 1 (grey) or 3 (RGB), C-contiguous.

    Raises:
        ImageError: If the file is missing, truncated, or no image.
    """
    path = Path(path)
    try:
        pixels = _decode(path.read_bytes())
    except MemoryError:
        raise
    except FileNotFoundError:
        raise ImageError(f"image file not found: {path}") from None
    except Exception as error:
        # Decoders raise OSError, SyntaxError, struct.error, zlib.error, ...: all mean a bad file.
        reason = re.sub(r" ?<\S+ object at 0x\w+>", "", " ".join(str(error).split()))
        raise ImageError(f"cannot read image {path}: {reason or type(error).__name__}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or 0 in pixels.shape or not 1 <= pixels.shape[2] <= 4:
        raise ImageError(
            f"cannot read image {path}: expected [H, W] or [H, W, 1 to 4] pixels, "
            f"got {list(pixels.shape)}"
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"cannot read image {path}: expected 8- or 16-bit integers, got {pixels.dtype}"
        )
    keep = 1 if pixels.shape[2] <= 2 else 3
    return np.ascontiguousarray(pixels[:, :, :keep])


def write_image(path: str | os.PathLike[str], image: Tensor, bits: int = 8) -> Path:
    """Write an image file atomically: the file is complete or not there.

    Args:
        path: Target; ``.png`` (8 or 16 bits, lossless), ``.webp`` (8 bits, lossless), ``.jpg`` or
            ``.jpeg`` (8 bits, quality 95), ``.tif``, ``.tiff``, ``.bmp`` (8 bits, lossless).
            Missing folders are created.
        image: Floating-point ``[C, H, W]`` or ``[H, W]``, C = 1 or 3; clipped to [0, 1], rounded.
        bits: 8 or 16 per channel.

    Returns:
        The path written.

    Raises:
        ValueError: If the shape, the suffix or ``bits`` is not supported, or a value is not finite.
    """
    path = Path(path)
    checks.floating("image", image)
    if image.dim() == 2:
        image = image.unsqueeze(0)
    if image.dim() != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ValueError(
            f"image must have shape [H, W], [1, H, W] or [3, H, W], got {list(image.shape)}"
        )
    checks.finite("image", image)
    suffix = check_writable(path, bits)
    top = 2**bits - 1
    planes = image.detach().cpu()
    pixels = np.empty((*planes.shape[1:], len(planes)), np.uint8 if bits == 8 else np.uint16)
    for c, plane in enumerate(planes):  # one at a time: an image may be large
        pixels[..., c] = (plane.double().clamp(0, 1) * top).round().numpy()
    data = png16.encode(pixels) if bits == 16 else _encode_8bit(pixels, suffix)
    return write_atomically(path, data)


def check_writable(path: str | os.PathLike[str], bits: int = 8) -> str:
    """The suffix of a file that :func:`write_image` can write, in lower case.

    Raises:
        ValueError: If it cannot by its name.
        OSError: If ``path`` is a folder, or lies where no file can be made.
    """
    path = Path(path)
    if bits not in (8, 16):
        raise ValueError(f"bits must be 8 or 16, got {bits!r}")
    suffix = path.suffix.lower()
    allowed = (".png",) if bits == 16 else tuple(_WRITERS)
    if suffix not in allowed:
        raise ValueError(
            f"path must end in {', '.join(allowed)} for {bits} bits, got {path.name!r}"
        )
    check_can_write(path)
    return suffix


def find_images(folder: str | os.PathLike[str], recursive: bool = True) -> list[Path]:
    """Return the image files of a folder, sorted by path; hidden files are left out.

    Args:
        folder: Where to look.
        recursive: Look into sub-folders too.

    Raises:
        ImageError: If ``folder`` is no folder or holds no image file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise ImageError(f"folder must be a folder of images, but {folder} {state}")
    found = sorted(
        p
        for p in (folder.rglob("*") if recursive else folder.glob("*"))
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
    if not found:
        raise ImageError(f"folder {folder} holds no image file ({', '.join(SUFFIXES)})")
    return found


def builtin_images(split: str = "test") -> dict[str, Tensor]:
    """Return the colour photographs that ship inside the scikit-image wheel; nothing is downloaded.

    Args:
        split: ``"train"`` or ``"test"``; no scene is in both.

    Returns:
        Name -> float32 RGB image ``[3, H, W]`` in [0, 1].

    Raises:
        ImageError: If the installed scikit-image misses one of the files.
    """
    checks.one_of("split", split, _BUILTIN)
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return {Path(name).stem: read_image(folder / name) for name in _BUILTIN[split]}


def _decode(data: bytes) -> np.ndarray:
    if png16.bit_depth(data) == 16:
        return png16.decode(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        wide = _decode_wide_tiff(data)
        if wide is not None:
            return wide
    # A warning about a huge or odd file must not reach the user's screen from a worker.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("integer pixels outside 0..65535")
        return values.astype(np.uint16)
    if image.mode == "F":
        raise ValueError("floating-point pixels are not supported; save it with 8 or 16 bits")
    grey = image.mode in ("1", "L", "LA", "La")
    return np.asarray(image.convert("L" if grey else "RGB"))


def _decode_wide_tiff(data: bytes) -> np.ndarray | None:
    """Decode a TIFF that Pillow would cut to 8 bits or refuse; ``None`` for an 8-bit one."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        if page.dtype == np.uint8 or page.bitspersample == 1:
            return None
        pixels = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
    return pixels


_WRITERS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
}


def _encode_8bit(pixels: np.ndarray, suffix: str) -> bytes:
    name, options = _WRITERS[suffix]
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(
        buffer, name, **options
    )
    return buffer.getvalue()
