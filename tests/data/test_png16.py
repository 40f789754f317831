from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from gsp_unroll.data import png16

RNG = np.random.default_rng(1)


def filtered(pixels, kinds):
    """Apply PNG filters by the letter of the standard, one byte at a time."""
    height, _, channels = pixels.shape
    step = 2 * channels
    lines = pixels.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    out = bytearray()
    for i in range(height):
        kind = kinds[i % len(kinds)]
        out.append(kind)
        for k in range(lines.shape[1]):
            a = lines[i, k - step] if k >= step else 0
            b = lines[i - 1, k] if i else 0
            c = lines[i - 1, k - step] if i and k >= step else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            guess = (0, a, b, (a + b) // 2, nearest)[kind]
            out.append((lines[i, k] - guess) % 256)
    return bytes(out)


@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_decode_undoes_every_filter(channels, colour):
    pixels = RNG.integers(0, 65536, (10, 7, channels)).astype(np.uint16)
    lines = filtered(pixels, kinds=[3, 0, 4, 1, 2, 4])
    data = png16.encode_lines(lines, 7, 10, depth=16, colour=colour, level=6)
    np.testing.assert_array_equal(png16.decode(data), pixels)


def test_pillow_agrees_on_the_encoded_file():
    grey = RNG.integers(0, 65536, (6, 5, 1)).astype(np.uint16)
    with Image.open(io.BytesIO(png16.encode(grey))) as image:
        np.testing.assert_array_equal(np.asarray(image), grey[:, :, 0])
    colour = RNG.integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    with Image.open(io.BytesIO(png16.encode(colour))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colour >> 8)


def test_bit_depth():
    assert png16.bit_depth(png16.encode(np.zeros((2, 2, 1), np.uint16))) == 16
    assert png16.bit_depth(b"\xff\xd8\xff") is None
    assert png16.bit_depth(png16.SIGNATURE) is None


def test_wrong_sizes_and_interlacing_are_refused():
    lines = bytes(3 * (1 + 2 * 2))
    with pytest.raises(ValueError, match="another size"):
        png16.decode(png16.encode_lines(lines, 2, 4, depth=16, colour=0, level=6))
    data = bytearray(png16.encode(np.zeros((3, 2, 1), np.uint16)))
    data[28] = 1  # interlace method, inside the header chunk
    import zlib

    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(ValueError, match="interlaced"):
        png16.decode(bytes(data))
