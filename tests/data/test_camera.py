"""Raw files: a DNG is written here, and comes back as the picture that it was made from."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch

from gsp_unroll.data import camera
from gsp_unroll.data.camera import read_raw
from gsp_unroll.data.images import ImageError, builtin_images
from gsp_unroll.inference import restore
from gsp_unroll.models import IGLR
from gsp_unroll.observe import CFA

rawpy = pytest.importorskip("rawpy", reason="rawpy reads raw files")

BLACK, WHITE = 500, 15_000
GAINS = np.array([2.0, 1.0, 1.6])
XYZ_FROM_SRGB = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
CAMERA_FROM_SRGB = np.array([[0.7, 0.25, 0.05], [0.15, 0.75, 0.1], [0.05, 0.25, 0.7]])


def linear(image):
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def write_dng(path, picture, pattern, orientation=1):
    """What a camera of these colours records of ``picture [3, H, W]``, sRGB in [0, 1]."""
    camera = np.einsum("ij,jhw->ihw", CAMERA_FROM_SRGB, linear(picture)) / GAINS[:, None, None]
    mask = CFA(pattern).mask(*picture.shape[1:]).numpy()
    levels = (camera * mask).sum(0) * (WHITE - BLACK) + BLACK
    # The file says how the camera sees XYZ, and what it sees as neutral.
    seen = (CAMERA_FROM_SRGB / GAINS[:, None]) @ np.linalg.inv(XYZ_FROM_SRGB)

    def rationals(values):
        return [n for v in np.ravel(values) for n in (round(float(v) * 10_000), 10_000)]

    tifffile.imwrite(
        path,
        np.round(levels).astype(np.uint16),
        photometric="CFA",
        extratags=[
            (274, "H", 1, orientation, True),
            (33421, "H", 2, (2, 2), True),
            (33422, "B", 4, bytes("RGB".index(letter) for letter in pattern), True),
            (50706, "B", 4, bytes((1, 4, 0, 0)), True),
            (50708, "s", 0, "Test camera", True),
            (50714, "H", 1, BLACK, True),
            (50717, "H", 1, WHITE, True),
            (50721, "2i", 9, rationals(seen), True),
            (50728, "2I", 3, rationals(1 / GAINS), True),
            (50778, "H", 1, 21, True),
        ],
    )
    return path


@pytest.fixture(scope="module")
def picture():
    image = builtin_images("test")["coffee"][:, 100:196, 200:328].double()
    return image.numpy() * 0.9


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG"])
def test_the_samples_are_what_the_camera_saw(pattern, picture, tmp_path):
    photo = read_raw(write_dng(tmp_path / "photo.dng", picture, pattern))
    assert photo.cfa == CFA(pattern)
    assert photo.mosaic.shape == (1, *picture.shape[1:])
    assert photo.mosaic.dtype == torch.float32
    assert photo.exposure == pytest.approx(2)  # that of the largest gain, over that of green
    balanced = np.einsum("ij,jhw->ihw", CAMERA_FROM_SRGB, linear(picture)) / 2
    seen = (balanced * photo.cfa.mask(*picture.shape[1:]).numpy()).sum(0)
    np.testing.assert_allclose(linear(photo.mosaic[0].double().numpy()), seen, atol=3e-4)


def test_a_developed_photograph_is_the_picture(picture, tmp_path):
    photo = read_raw(write_dng(tmp_path / "photo.dng", picture, "RGGB"))
    restored = restore(photo.mosaic, IGLR(), photo.cfa)
    developed = photo.develop(restored).double().numpy()
    error = (developed - picture)[:, 4:-4, 4:-4]
    # Not better than demosaicking is, and far from what a wrong curve, matrix or gain gives.
    assert -10 * np.log10(np.mean(error**2)) > 30
    assert np.abs(error.mean((1, 2))).max() < 0.004


def test_a_turned_camera(picture, tmp_path):
    photo = read_raw(write_dng(tmp_path / "photo.dng", picture, "RGGB", orientation=6))
    upright = photo.develop(torch.rand(3, *picture.shape[1:]))
    assert upright.shape == (3, picture.shape[2], picture.shape[1])


def fake_raw(**changes):
    """What rawpy gives for a camera of LibRaw's table, which is no DNG."""
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 100
    pattern = np.array([[0, 1], [3, 2]], dtype=np.uint8)
    values = {
        "color_desc": b"RGBG",
        "raw_pattern": pattern,
        "raw_colors_visible": np.tile(pattern, (2, 2)),
        "raw_image_visible": pixels,
        "black_level_per_channel": [0, 0, 0, 0],
        "white_level": 2000,
        "camera_whitebalance": [2.0, 1.0, 1.5, 0.0],
        "color_matrix": np.zeros((3, 4)),
        "rgb_xyz_matrix": np.vstack([CAMERA_FROM_SRGB @ np.linalg.inv(XYZ_FROM_SRGB), [[0] * 3]]),
        "sizes": SimpleNamespace(flip=6),
    }
    return SimpleNamespace(**{**values, **changes})


def test_a_camera_of_the_table_has_its_matrix(caplog):
    photo = camera._photo(Path("photo.nef"), fake_raw())
    expected = np.linalg.inv(CAMERA_FROM_SRGB / CAMERA_FROM_SRGB.sum(1, keepdims=True))
    np.testing.assert_allclose(photo.matrix.numpy(), expected, rtol=1e-3, atol=1e-4)
    assert photo.turns == 3
    assert photo.exposure == 2
    assert not caplog.messages
    unknown = fake_raw(rgb_xyz_matrix=np.zeros((4, 3)), camera_whitebalance=[0.0] * 4)
    photo = camera._photo(Path("photo.nef"), unknown)
    assert torch.equal(photo.matrix, torch.eye(3))
    assert photo.exposure == 1
    assert "photo.nef is not known" in caplog.text


def test_what_the_sensor_did_not_clip_is_not_clipped():
    raw = fake_raw(raw_image_visible=np.full((4, 4), 1900, dtype=np.uint16))
    photo = camera._photo(Path("photo.nef"), raw)
    assert float(photo.mosaic.max()) < 1
    white = photo.develop(torch.ones(3, 4, 4))
    torch.testing.assert_close(white, torch.ones(3, 4, 4))


def test_bad_files_and_a_missing_package_are_named(tmp_path, monkeypatch):
    bad = tmp_path / "bad.dng"
    bad.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"cannot read the raw file .*bad\.dng"):
        read_raw(bad)
    with pytest.raises(ImageError, match=r"raw file not found: .*none\.dng"):
        read_raw(tmp_path / "none.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageError, match=r"needs the package rawpy: pip install rawpy"):
        read_raw(bad)
