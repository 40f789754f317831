"""The examples of large graphs, small."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def table(text: str) -> dict[str, float]:
    """Errors by method."""
    rows = [line.removesuffix(" °C").rsplit(maxsplit=1) for line in text.splitlines()
            if line.startswith("  ")]  # fmt: skip
    return {name.strip().removesuffix(" RMSE").strip(): float(error) for name, error in rows}


def test_million_nodes_prints_a_table_and_draws(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "field.png"
    arguments = ["--nodes", "1500", "--piece", "300", "--steps", "2", "--predict-pieces", "2"]
    monkeypatch.setattr(sys, "argv", ["million_nodes.py", *arguments, "--out", str(picture)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "examples" / "million_nodes.py"), run_name="__main__")
    assert not stop.value.code
    out = capsys.readouterr().out
    errors = table(out)
    assert set(errors) == {"mean", "nearest", "GLR", "regression + GLR", "learned"}
    assert errors["GLR"] < errors["mean"]
    assert "5 pieces" in out
    assert picture.stat().st_size > 10_000


def test_two_processes_learn_one_model():
    command = [sys.executable, str(ROOT / "examples" / "distributed_graph.py")]
    done = subprocess.run(
        [*command, "--nodes", "600", "--pieces", "4", "--steps", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert "2 processes, 600 nodes in 4 pieces" in done.stdout
    assert "largest difference of a weight between processes: 0.0e+00" in done.stdout
    assert set(table(done.stdout)) == {"GLR", "learned"}
