from __future__ import annotations

import io
import re

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from gsp_unroll.data import (
    ImageError,
    builtin_images,
    find_images,
    read_image,
    read_image_raw,
    write_image,
)

RNG = np.random.default_rng(0)


def pixels(*shape, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (8, 6)])
@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_8_bit_formats_round_trip(tmp_path, height, width, suffix, channels):
    truth = pixels(height, width, channels)
    image = torch.from_numpy(truth.astype(np.float32) / 255).permute(2, 0, 1)
    path = write_image(tmp_path / f"a.{suffix}", image)
    raw = read_image_raw(path)
    expected = np.repeat(truth, 3, axis=2) if raw.shape[2] > channels else truth
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(raw, expected)
    assert torch.equal(read_image(path, channels=None), read_image(path, raw.shape[2]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (16, 9)])
def test_16_bit_png_round_trips(tmp_path, height, width, channels):
    truth = pixels(height, width, channels, dtype=np.uint16)
    image = torch.from_numpy(truth.astype(np.float64) / 65535).permute(2, 0, 1)
    path = write_image(tmp_path / "a.png", image, bits=16)
    raw = read_image_raw(path)
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, truth)
    read = read_image(path, channels=None)
    assert read.dtype == torch.float32
    torch.testing.assert_close(read.double(), image, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 4)])
def test_16_bit_tiff_is_not_cut_to_8_bits(tmp_path, shape):
    truth = pixels(*shape, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tiff", truth)
    raw = read_image_raw(tmp_path / "a.tiff")
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, truth.reshape(5, 4, -1)[:, :, :3])


def test_alpha_is_dropped(tmp_path):
    rgba, grey_alpha = pixels(4, 5, 4), pixels(4, 5, 2)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(grey_alpha).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image_raw(tmp_path / "rgba.png"), rgba[:, :, :3])
    np.testing.assert_array_equal(read_image_raw(tmp_path / "la.png"), grey_alpha[:, :, :1])


def test_palette_becomes_rgb_and_black_and_white_becomes_grey(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    index = RNG.integers(0, 3, (6, 7)).astype(np.uint8)
    palette = Image.fromarray(index)
    palette.putpalette(colours.tobytes())
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image_raw(tmp_path / "p.png"), colours[index])
    bits = RNG.integers(0, 2, (6, 7)).astype(bool)
    Image.fromarray(bits).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_image_raw(tmp_path / "1.png")[:, :, 0], bits * 255)


def test_channels_convert(tmp_path):
    write_image(tmp_path / "grey.png", torch.rand(1, 4, 5))
    write_image(tmp_path / "rgb.png", torch.rand(3, 4, 5))
    grey = read_image(tmp_path / "grey.png", channels=1)
    assert torch.equal(read_image(tmp_path / "grey.png"), grey.repeat(3, 1, 1))
    rgb = read_image(tmp_path / "rgb.png")
    weighted = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    torch.testing.assert_close(read_image(tmp_path / "rgb.png", channels=1)[0], weighted)
    with pytest.raises(ValueError, match="channels must be 1, 3 or None, got 4"):
        read_image(tmp_path / "rgb.png", channels=4)


def test_exif_orientation_is_applied(tmp_path):
    truth = pixels(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    Image.fromarray(truth).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image_raw(tmp_path / "a.png"), np.rot90(truth, -1))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.9])
def test_truncated_file_is_named(tmp_path, format, kept):
    buffer = io.BytesIO()
    Image.fromarray(pixels(40, 40, 3)).save(buffer, format)
    data = buffer.getvalue()
    path = tmp_path / f"cut.{format.lower()}"
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(ImageError, match=re.escape(str(path))):
        read_image(path)


def test_truncated_or_damaged_16_bit_png_is_named(tmp_path):
    path = write_image(tmp_path / "a.png", torch.rand(3, 20, 20), bits=16)
    data = path.read_bytes()
    for bad in (data[:-6], data[:100], data[:30]):
        path.write_bytes(bad)
        with pytest.raises(ImageError, match=r"a\.png: PNG is truncated"):
            read_image(path)
    path.write_bytes(data[:60] + bytes([data[60] ^ 255]) + data[61:])
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ImageError, match=r"cannot read image .*text\.png"):
        read_image(tmp_path / "text.png")
    with pytest.raises(ImageError, match=r"not found: .*missing\.png"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="cannot read image"):
        read_image(tmp_path)
    tifffile.imwrite(tmp_path / "float.tif", RNG.random((4, 4)).astype(np.float32))
    with pytest.raises(ImageError, match="8- or 16-bit integers, got float32"):
        read_image(tmp_path / "float.tif")


def test_write_clips_rounds_and_leaves_no_temporary_file(tmp_path):
    image = torch.tensor([[-0.5, 0.5 / 255 + 1e-4], [1.7, 100 / 255]])
    path = write_image(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(read_image_raw(path)[:, :, 0], [[0, 1], [255, 100]])
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_jpeg_is_close(tmp_path):
    image = torch.linspace(0, 1, 64 * 64).view(1, 64, 64).repeat(3, 1, 1)
    path = write_image(tmp_path / "a.jpg", image)
    assert (read_image(path) - image).abs().max() < 0.03


def test_write_errors_name_the_argument(tmp_path):
    image = torch.rand(3, 4, 4)
    with pytest.raises(ValueError, match=r"image must have shape .* got \[2, 4, 4\]"):
        write_image(tmp_path / "a.png", image[:2])
    with pytest.raises(ValueError, match=r"path must end in .* got 'a.xyz'"):
        write_image(tmp_path / "a.xyz", image)
    with pytest.raises(ValueError, match=r"path must end in \.png for 16 bits"):
        write_image(tmp_path / "a.jpg", image, bits=16)
    with pytest.raises(ValueError, match="bits must be 8 or 16"):
        write_image(tmp_path / "a.png", image, bits=12)
    with pytest.raises(ValueError, match="image must be finite"):
        write_image(tmp_path / "a.png", image / 0 * 0)
    with pytest.raises(TypeError, match="floating-point"):
        write_image(tmp_path / "a.png", image.to(torch.uint8))
    assert not list(tmp_path.iterdir())


def test_find_images_sorts_recurses_and_ignores_the_rest(tmp_path):
    for name in ("b.PNG", "a.webp", "sub/c.jpg", ".hidden.png", "notes.txt", "d.png/inside.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)]
    assert names == ["a.webp", "b.PNG", "d.png/inside.tif", "sub/c.jpg"]
    assert [p.name for p in find_images(tmp_path, recursive=False)] == ["a.webp", "b.PNG"]


def test_folder_without_images_is_named(tmp_path):
    with pytest.raises(ImageError, match="holds no image file"):
        find_images(tmp_path)
    with pytest.raises(ImageError, match="missing does not exist"):
        find_images(tmp_path / "missing")
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match=r"a\.png is a file"):
        find_images(tmp_path / "a.png")


def test_builtin_splits_share_no_scene():
    train, test = builtin_images("train"), builtin_images("test")
    assert {"astronaut", "rocket", "motorcycle_left", "motorcycle_right"} <= set(train)
    assert set(test) == {"chelsea", "coffee"}
    for image in test.values():
        assert image.shape[0] == 3
        assert image.dtype == torch.float32
        assert 0 <= image.min() < image.max() <= 1
    with pytest.raises(ValueError, match=r"split must be one of.*did you mean 'train'"):
        builtin_images("trian")
