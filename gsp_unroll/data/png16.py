"""PNG with 16 bits per channel, which Pillow reads as 8 bits without a word and cannot write."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def bit_depth(data: bytes) -> int | None:
    """Return the bits per channel of PNG bytes, ``None`` if ``data`` is no PNG."""
    if not data.startswith(SIGNATURE) or len(data) < 25:
        return None
    return data[24]


def decode(data: bytes) -> np.ndarray:
    """Decode a 16-bit, non-interlaced PNG.

    PNG filters act on bytes that are one pixel apart, so each of the 2 C bytes of a pixel is an
    independent 8-bit grey image with the same filters: Pillow undoes them at native speed.

    Returns:
        uint16 ``[H, W, C]``, C = 1, 2 (grey, alpha), 3 or 4 (RGB, alpha).

    Raises:
        ValueError: If the file is truncated, damaged or interlaced.
    """
    header, packed = None, []
    for kind, body in _chunks(data):
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed.append(body)
    if header is None or not packed:
        raise ValueError("PNG has no header or no pixels")
    width, height, _, colour, _, _, interlace = header
    if interlace:
        raise ValueError("interlaced 16-bit PNG is not supported; save it without interlacing")
    channels = _CHANNELS[colour]
    step = 2 * channels
    raw = np.frombuffer(zlib.decompress(b"".join(packed)), np.uint8)
    if raw.size != height * (1 + width * step):
        raise ValueError(f"PNG holds {raw.size} bytes of pixels, its header promises another size")
    lines = raw.reshape(height, 1 + width * step)
    planes = lines[:, 1:].reshape(height, width, step)
    out = np.empty((height, width, step), np.uint8)
    for k in range(step):
        plane = np.concatenate([lines[:, :1], planes[:, :, k]], axis=1)
        grey = encode_lines(plane.tobytes(), width, height, depth=8, colour=0, level=0)
        with Image.open(io.BytesIO(grey)) as image:
            out[:, :, k] = np.asarray(image)
    return out.view(">u2").astype(np.uint16)


def encode(pixels: np.ndarray) -> bytes:
    """Encode uint16 ``[H, W, C]``, C = 1 or 3, as PNG bytes."""
    height, width, channels = pixels.shape
    big_endian = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    # Filter 2 (difference to the line above) costs one subtraction and compresses photographs well.
    above = np.concatenate([np.zeros_like(big_endian[:1]), big_endian[:-1]])
    lines = np.concatenate([np.full((height, 1), 2, np.uint8), big_endian - above], axis=1)
    return encode_lines(
        lines.tobytes(), width, height, depth=16, colour=0 if channels == 1 else 2, level=6
    )


def encode_lines(
    lines: bytes, width: int, height: int, *, depth: int, colour: int, level: int
) -> bytes:
    """Wrap filtered scan lines into a PNG file."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(lines, level)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c))
        for kind, c in chunks
    )


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, position = [], len(SIGNATURE)
    while position < len(data):
        if position + 12 > len(data):
            raise ValueError("PNG is truncated")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        body = data[position + 8 : position + 8 + length]
        check = data[position + 8 + length : position + 12 + length]
        if len(check) < 4:
            raise ValueError("PNG is truncated")
        if zlib.crc32(kind + body) != struct.unpack(">I", check)[0]:
            raise ValueError("PNG is damaged (checksum)")
        chunks.append((kind, body))
        position += 12 + length
        if kind == b"IEND":
            return chunks
    raise ValueError("PNG is truncated")
