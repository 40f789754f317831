"""Runs that are killed, and runs of several processes: both need real child processes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_helpers import tiny_config

from gsp_unroll.training import load_state, save_config, train

CHILD = Path(__file__).with_name("run_tiny.py")
ROOT = Path(__file__).parents[2]


def _environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}


def _state(folder):
    return load_state(folder / "state.pt")


def _steps(path):
    if not path.exists():
        return [0]
    with path.open(newline="") as file:
        return [int(row["step"] or 0) for row in csv.DictReader(file)] or [0]


def _kill_when(process, reached):
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run never got that far"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(photos, tmp_path):
    config = tiny_config(photos, train={"steps": 150, "save_every": 7, "validate_every": 40})
    save_config(tmp_path / "tiny.yaml", config)
    train(config, tmp_path / "whole")
    out = tmp_path / "killed"
    command = [sys.executable, str(CHILD), str(tmp_path / "tiny.yaml"), str(out)]
    for step in (20, 60):
        process = subprocess.Popen(command, env=_environment())
        _kill_when(process, lambda step=step: _steps(out / "train.csv")[-1] >= step)
    killed_at = _state(out)["counters"]["step"]
    assert 20 < killed_at < 150
    subprocess.run(command, env=_environment(), check=True, timeout=120)
    whole, killed = _state(tmp_path / "whole"), _state(out)
    for key in ("model", "rng", "optimizer", "ema"):
        _assert_identical(whole[key], killed[key])
    assert whole["counters"]["best_psnr"] == killed["counters"]["best_psnr"]
    assert _steps(out / "train.csv") == list(range(2, 151, 2))
    assert _steps(out / "validation.csv") == [40, 80, 120, 150]


def _assert_identical(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            _assert_identical(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            _assert_identical(left, right)
    else:
        assert a == b


def _torchrun(config, out, *extra):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(CHILD), str(config), str(out), *extra]
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def joint(photos, tmp_path):
    """One process on the joint batch of 4, and the configuration of the same run as a file."""
    train_section = {"steps": 5, "batch": 4, "lr": 1e-3, "clip": 0.01, "warmup": 0}
    config = tiny_config(photos, train=train_section)
    save_config(tmp_path / "tiny.yaml", config)
    train(config, tmp_path / "one")
    return tmp_path


def _assert_close_states(a, b):
    for name, value in a["model"].items():
        torch.testing.assert_close(b["model"][name], value, rtol=1e-5, atol=1e-7)
    # The first moments are a fixed mix of the gradients of all steps. Some gradients are zero but
    # for rounding (the bias of the last convolution), so the largest one sets the scale.
    moments = [[s["exp_avg"] for s in x["optimizer"]["state"].values()] for x in (a, b)]
    scale = max(float(m.abs().max()) for m in moments[0])
    for one, two in zip(*moments, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-7 * scale)
    best = a["counters"]["best_psnr"]
    assert b["counters"]["best_psnr"] == pytest.approx(best, abs=1e-4)


def test_two_processes_equal_one_on_the_joint_batch(joint):
    _torchrun(joint / "tiny.yaml", joint / "two")
    one, two = _state(joint / "one"), _state(joint / "two")
    _assert_close_states(one, two)
    assert len(two["rng"]) == 2
    with (joint / "one" / "train.csv").open() as a, (joint / "two" / "train.csv").open() as b:
        for left, right in zip(csv.DictReader(a), csv.DictReader(b), strict=True):
            assert float(left["loss"]) == pytest.approx(float(right["loss"]), rel=1e-4)


def test_a_signal_to_one_process_stops_both_and_any_number_resumes(joint):
    # Rank 1 is told; rank 0, which writes the files, must stop at the same step and save.
    said = _torchrun(joint / "tiny.yaml", joint / "two", "1", "3")
    assert said.count("stopped by SIGTERM after step 3") == 2
    assert _state(joint / "two")["counters"]["step"] == 3
    config = tiny_config(
        joint / "photos", train={"steps": 5, "batch": 4, "lr": 1e-3, "clip": 0.01, "warmup": 0}
    )
    train(config, joint / "two", resume=True)
    _assert_close_states(_state(joint / "one"), _state(joint / "two"))
