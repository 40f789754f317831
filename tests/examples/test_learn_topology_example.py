"""The example of graph learning, run as a user runs it."""

from __future__ import annotations

import pytest
from helpers import EXAMPLES, run_example

TINY = ["graphs.nodes=8", "graphs.train=32", "graphs.validation=16", "graphs.test=8",
        "model.layers=4", "train.epochs=2"]  # fmt: skip


def test_it_prints_a_table_and_draws(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(EXAMPLES.parent)
    assert (
        run_example(
            monkeypatch, "learn_topology.py", "--out", tmp_path, "--tune", 2, "--set", *TINY
        )
        == 0
    )
    rows = [line for line in capsys.readouterr().out.splitlines() if "±" in line]
    assert [row[:14].strip() for row in rows[1:]] == [
        "PDS, 4 iterati", "PDS, converged", "unrolled", "L2G", "L2G-residual",
    ]  # fmt: skip
    assert (tmp_path / "graphs.png").stat().st_size > 10_000
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {
        "unrolled.safetensors", "l2g.safetensors", "l2g-residual.safetensors",
    }  # fmt: skip


def test_it_resumes_where_it_was(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(EXAMPLES.parent)
    tables = []
    for more in ([], ["--resume"]):
        options = ["--out", tmp_path, "--tune", 2, *more, "--set", *TINY]
        assert run_example(monkeypatch, "learn_topology.py", *options) == 0
        tables.append([line for line in capsys.readouterr().out.splitlines() if "±" in line])
    assert tables[0] == tables[1]


def test_it_names_what_is_wrong(monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLES.parent)
    assert run_example(monkeypatch, "learn_topology.py", "--set", "train.epoch=2") == 2
    assert "did you mean 'train.epochs'" in capsys.readouterr().err
    assert run_example(monkeypatch, "learn_topology.py", "--set", "graphs.attach=30") == 2
