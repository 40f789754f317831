"""The training scripts as a user runs them, on a tiny network."""

from __future__ import annotations

import csv
import logging
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
TINY = [
    *["model.blocks=1", "model.layers=1", "model.cg_steps=2", "model.heads=1", "model.maps=4"],
    *["model.features=2", "data.patch=12", "data.holdout=1", "data.validation_crop=16"],
    *["train.steps=4", "train.batch=2", "train.validate_every=2"],
]


def _write_photos(folder: Path) -> Path:
    folder.mkdir()
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def _run(monkeypatch, tmp_path, script, *arguments):
    """Run a script in this process: a new one would spend seconds on imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    # Python puts the folder of a script there, runpy does not.
    monkeypatch.syspath_prepend(ROOT / "examples")
    runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")


@pytest.mark.parametrize(
    ("script", "config", "baselines"),
    [
        ("train_demosaic.py", "uglr.yaml", {"bilinear", "malvar", "menon"}),
        # The task is that of the configuration.
        ("train_interpolation.py", "ugtv.yaml", {"bilinear", "malvar", "menon"}),
        (
            "train_interpolation.py",
            "ugtv_interpolate.yaml",
            {"bilinear", "bicubic", "bicubic_shifted"},
        ),
    ],
)
def test_folder_in_table_and_picture_out(tmp_path, monkeypatch, capsys, script, config, baselines):
    photos = _write_photos(tmp_path / "photos")
    _run(
        monkeypatch,
        tmp_path,
        script,
        *["--config", ROOT / "configs" / config, "--data", photos, "--test", photos],
        *["--out", "run", "--set", *TINY],
    )
    assert "protocol paper: PSNR of the mean MSE" in capsys.readouterr().out
    with (tmp_path / "run" / "metrics_summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == baselines | {config[:4]}
    assert {row["protocol"] for row in rows} == {"paper", "usual"}
    assert all(row["images"] == "3" for row in rows)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"best.safetensors", "state.pt", "config.yaml", "0.png", "metrics.json"} <= names


@pytest.mark.parametrize(
    ("script", "config", "extra", "says"),
    [
        ("train_demosaic.py", "ugtv.yaml", ["--test", "empty"], "empty"),
        ("train_interpolation.py", "ugtv_interpolate.yaml", ["--test", "nowhere"], "nowhere"),
    ],
)
def test_what_the_report_needs_is_checked_before_the_training(
    tmp_path, monkeypatch, caplog, script, config, extra, says
):
    photos = _write_photos(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stop:
        _run(
            monkeypatch,
            tmp_path,
            script,
            *["--config", ROOT / "configs" / config, "--data", photos, "--out", "run", *extra],
            *["--set", *TINY],
        )
    assert stop.value.code == 2
    assert says in caplog.text
    assert not (tmp_path / "run").exists()


def test_sigterm_saves_says_so_and_resumes(tmp_path, monkeypatch, caplog):
    photos = _write_photos(tmp_path / "photos")
    arguments = ["--config", ROOT / "configs" / "ugtv.yaml", "--data", photos, "--out", "run"]
    arguments += ["--set", *TINY, "train.steps=100_000", "train.log_every=1"]
    script = "train_demosaic.py"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "run" / "train.csv"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "override (set): model.blocks = 1 (was 5)" in said
    assert "stopped by SIGTERM after step" in said
    assert "--resume continues from it" in said
    assert "Traceback" not in said
    with caplog.at_level(logging.INFO):
        _run(monkeypatch, tmp_path, script, *arguments, "--resume", "--max-minutes", "0.001")
    assert "resumed run at step" in caplog.text
