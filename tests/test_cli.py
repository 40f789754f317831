from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
import torch

from gsp_unroll.cli import main
from gsp_unroll.data import read_image, write_image
from gsp_unroll.models import shipped_weights
from gsp_unroll.observe import CFA


@pytest.fixture
def photos(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name in ("a.png", "b.webp", "c.tif"):
        write_image(tmp_path / "photos" / name, torch.rand(3, 15, 12, generator=generator))
    return tmp_path / "photos"


def failure(capsys, *arguments):
    """Run, expect a user error, return its line."""
    try:
        code = main(arguments)
    except SystemExit as exit:  # argparse's own errors
        code = exit.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_evaluate_prints_the_table_and_writes_the_files(photos, tmp_path, capsys):
    out = tmp_path / "results"
    options = ["--methods", "bilinear, malvar,menon", "--protocol", "both", "--out", str(out)]
    code = main(
        ["evaluate", "--task", "demosaic", "--data", str(photos), "--cfa", "GRBG", *options]
    )
    text, err = capsys.readouterr()
    assert code == 0
    for word in ("GRBG", "3 images", "protocol paper:", "protocol usual:", "bilinear", "menon"):
        assert word in text
    assert err.count("wrote ") == 3
    content = json.loads((out / "demosaic_GRBG_photos.json").read_text())
    assert content["command"].startswith("python -m gsp_unroll evaluate --task demosaic")
    with (out / "demosaic_GRBG_photos_summary.csv").open(newline="") as file:
        summary = {(r["method"], r["protocol"]): r["psnr_db"] for r in csv.DictReader(file)}
    assert len(summary) == 6
    assert f"{float(summary['menon', 'paper']):.2f}" in text


def test_one_protocol_and_limit(photos, capsys):
    arguments = ["evaluate", "--task", "interpolate", "--data", str(photos), "--limit", "2"]
    assert main([*arguments, "--protocol", "usual", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert "2 images" in text
    assert "protocol paper" not in text
    assert "| bicubic_shifted |" in text


def test_noise_may_be_a_fraction(photos, capsys):
    arguments = ["evaluate", "--data", str(photos), "--methods", "bilinear"]
    assert main([*arguments, "--noise", "25/255"]) == 0
    assert "noise sigma 0.09804" in capsys.readouterr().out


def test_inpaint_and_other_arrays(photos, capsys):
    data = ["--data", str(photos), "--methods", "bilinear"]
    assert main(["evaluate", "--task", "inpaint", "--ratio", "0.3", *data]) == 0
    assert main(["evaluate", "--cfa", "xtrans", *data]) == 0
    assert main(["evaluate", "--cfa", "RGB/GBR", *data]) == 0
    text = capsys.readouterr().out
    assert "0.3 of the pixels" in text
    assert "CFA RGB/GBR" in text


def test_a_bad_file_does_not_stop_the_rest(photos, capsys):
    (photos / "bad.png").write_bytes(b"no image")
    assert main(["evaluate", "--data", str(photos), "--methods", "bilinear"]) == 0
    text = capsys.readouterr().out
    assert "3 images" in text
    assert "skipped 1 of 4 images" in text
    assert "bad.png" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "demosaik"], ["task must be one of", "did you mean 'demosaic'"]),
        (["--methods", "menno"], ["did you mean 'menon'"]),
        (["--methods", ","], ["at least one method"]),
        (["--methods", "gone.safetensors"], ["checkpoint not found: gone.safetensors"]),
        (["--cfa", "xtrans", "--methods", "menon"], ["menon", "Bayer mosaics only", "xtrans"]),
        (["--cfa", "RGGX"], ["cfa must be", "RGGX"]),
        (["--protocol", "best"], ["protocol must be one of", "'best'"]),
        (["--data", "no/such/folder"], ["no/such/folder does not exist"]),
        (["--split", "val"], ["split must be one of"]),
        (["--noise", "25"], ["noise_sigma", "25 / 255"]),
        (["--noise", "loud"], ["--noise", "25/255", "'loud'"]),
        (["--limit", "0"], ["limit must be at least 1"]),
        (["--limit", "some"], ["--limit", "some"]),
        (["--seed", "-1", "--methods", "bilinear"], ["seed must be at least 0"]),
        (["--device", "tpu9"], ["device must be", "tpu9"]),
        (["--device", "cuda:99"], ["cuda:99", "not there"]),
        (["--threads", "0"], ["threads must be at least 1"]),
        (["--method", "bilinear"], ["unrecognized", "--method"]),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(capsys, arguments, words):
    line = failure(capsys, "evaluate", *arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["restore", "photo.png"], ["output"]),
        (["restore", "none.png", "out.png"], ["none.png"]),
        (["restore", "none.dng", "out.png"], ["none.dng"]),
        (["restore", "a.png", "out.png", "--seed", "-1"], ["seed must be at least 0", "-1"]),
        (["restore", "a.png", "out.png", "--device", "tpu9"], ["device must be", "tpu9"]),
        (["restore", "a.png", "out.png", "--noise", "loud"], ["--noise", "'loud'"]),
        (["restore", "a.png", "out.png", "--ensemble", "3"], ["ensemble must be", "3"]),
        (["restore", "a.png", "out.png", "--mosaic"], ["1 channel", "has 3"]),
        (["restore", "a.png", "out.png", "--method", "iglr", "--denoise", "0.1"], ["--denoise"]),
        (
            ["restore", "a.png", "out.png", "--weights", "uglr-interpolate"],
            ["1 channel", "needs 3"],
        ),
        (["restore", "a.png", "out.gif"], ["must end in .png"]),
        (["restore", "a.png", "out.png", "--cfa", ""], ["cfa must be one of", "''"]),
        (["restore", "a.png", "a.png/out.png"], ["cannot write", "is a file"]),
        (["restore", "a.dng", "out.png", "--cfa", "RGGB"], ["a.dng is a raw file", "--cfa"]),
        (["restore", "a.dng", "out.png", "--mosaic"], ["a.dng is a raw file", "--mosaic"]),
        (["restore", "a.dng", "out.png", "--noise", "0.1"], ["--noise", "give --denoise"]),
        (["restore", "a.png", "out.png", "--mosaic", "--noise", "0"], ["give --denoise"]),
        (["restore", "a.png", "out.png", "--device", "meta"], ["device must be", "meta"]),
        (["enlarge", "a.png", "out.jpg", "--bits", "16"], ["must end in .png for 16 bits"]),
        (["enlarge", "a.png", "out.png", "--weights", "uglr-demosaic"], ["luma", "uglr-demosaic"]),
        (["enlarge", "a.png", "out.png", "--device", "cuda:99"], ["cuda:99", "not there"]),
        (["enlarge", "a.png", "out.png", "--weights", "gone"], ["gone"]),
    ],
)
def test_wrong_use_of_restore_and_enlarge_is_one_line_and_writes_nothing(
    monkeypatch, photos, capsys, arguments, words
):
    monkeypatch.chdir(photos)
    line = failure(capsys, *arguments)
    for word in words:
        assert word in line
    assert not list(photos.glob("out.*"))


@pytest.mark.parametrize(("command", "task"), [("restore", "demosaic"), ("enlarge", "interpolate")])
def test_help_names_the_weights_that_ship(command, task, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert [name for name in shipped_weights(task) if name not in text] == []


def test_restore_as_an_installed_package_is_used(photos, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert (
        main(["restore", str(photos / "a.png"), str(out), "--noise", "5/255", "--seed", "3"]) == 0
    )
    noisy = read_image(out)
    assert main(["restore", str(photos / "a.png"), str(out)]) == 0
    assert "12 x 15, RGGB, uglr-plus-demosaic" in capsys.readouterr().out
    mask = CFA("RGGB").mask(15, 12)
    photo = read_image(photos / "a.png")
    assert torch.equal(read_image(out)[mask], photo[mask])
    assert not torch.equal(noisy[mask], photo[mask])


def test_enlarge_keeps_16_bits(tmp_path):
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    grey = torch.rand(1, 9, 8, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1)
    write_image(small, grey, bits=16)
    assert main(["enlarge", str(small), str(large), "--bits", "16"]) == 0
    kept = read_image(large)[:, ::2, ::2]
    assert float((kept - read_image(small)).abs().max()) < 2 / 65535


def test_too_little_memory_is_one_line(monkeypatch, photos, capsys):
    def full(*_, **__):
        raise MemoryError("cannot allocate 3 TB")

    monkeypatch.setattr("gsp_unroll.data.images.read_image", full)
    line = failure(capsys, "restore", str(photos / "a.png"), str(photos / "out.png"))
    assert "cannot allocate 3 TB" in line


def test_folders_without_usable_images(tmp_path, capsys):
    line = failure(capsys, "evaluate", "--data", str(tmp_path))
    assert "holds no image file" in line
    (tmp_path / "a.png").write_bytes(b"junk")
    line = failure(capsys, "evaluate", "--data", str(tmp_path), "--methods", "bilinear")
    assert "none of the 1 images could be evaluated" in line
    assert "a.png" in line


def test_out_that_cannot_be_made_is_a_user_error(photos, tmp_path, capsys):
    (tmp_path / "file").touch()
    options = ["--data", str(photos), "--methods", "bilinear", "--out", str(tmp_path / "file")]
    assert main(["evaluate", *options]) == 2
    out, err = capsys.readouterr()
    assert "bilinear" in out  # the numbers are not lost
    assert "file" in err
    assert "Traceback" not in err


def test_no_command_and_unknown_command(capsys):
    assert "COMMAND" in failure(capsys)
    assert "evalute" in failure(capsys, "evalute")


def test_interrupt_exits_130(monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gsp_unroll.evaluation.evaluate", interrupt)
    assert main(["evaluate", "--methods", "bilinear"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_help_as_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "gsp_unroll", "evaluate", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for word in ("--methods", "--protocol", "menon", "PATH.safetensors", "xtrans", "25/255"):
        assert word in done.stdout
    assert done.stderr == ""


def test_model_based_and_checkpoint_side_by_side(photos, tmp_path, capsys):
    from gsp_unroll.models import UGTV, save_pretrained

    size = {"blocks": 1, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    path = tmp_path / "tiny.safetensors"
    save_pretrained(UGTV(in_channels=3, **size), path)
    names = f"bilinear,iglr,igtv,{path}"
    assert main(["evaluate", "--data", str(photos), "--limit", "1", "--methods", names]) == 0
    text = capsys.readouterr().out
    for name in ("bilinear", "iglr", "igtv", "tiny"):
        assert f"\n{name} " in text


@pytest.mark.parametrize("cfa", ["RGGB", "xtrans", "quad_bayer"])
def test_default_methods_are_those_that_can_do_the_task(cfa, photos, capsys):
    assert main(["evaluate", "--task", "demosaic", "--cfa", cfa, "--data", str(photos)]) == 0
    table = capsys.readouterr().out
    assert "bilinear" in table
    assert ("menon" in table) == (cfa == "RGGB")
