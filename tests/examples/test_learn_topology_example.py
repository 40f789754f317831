"""The example of graph learning, run as a user runs it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "learn_topology.py"
TINY = ["graphs.nodes=8", "graphs.train=32", "graphs.validation=16", "graphs.test=8",
        "model.layers=4", "train.epochs=2"]  # fmt: skip


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return stop.value.code or 0


def test_it_prints_a_table_and_draws(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(SCRIPT.parents[1])
    assert run(monkeypatch, "--out", tmp_path, "--tune", 2, "--set", *TINY) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "±" in line]
    assert [row[:14].strip() for row in rows[1:]] == [
        "PDS, 4 iterati", "PDS, converged", "unrolled", "L2G", "L2G-residual",
    ]  # fmt: skip
    assert (tmp_path / "graphs.png").stat().st_size > 10_000
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {
        "unrolled.safetensors", "l2g.safetensors", "l2g-residual.safetensors",
    }  # fmt: skip


def test_it_names_what_is_wrong(monkeypatch, capsys):
    monkeypatch.chdir(SCRIPT.parents[1])
    assert run(monkeypatch, "--set", "train.epoch=2") == 2
    assert "did you mean 'train.epochs'" in capsys.readouterr().err
    assert run(monkeypatch, "--set", "graphs.attach=30") == 2
