"""examples/classify.py, run as a user runs it."""

from __future__ import annotations

import pytest
from helpers import run_example


@pytest.fixture(autouse=True)
def _needs_scikit_learn():
    pytest.importorskip("sklearn")


def test_the_club_is_classified_and_drawn(monkeypatch, tmp_path, capsys):
    picture = tmp_path / "club.png"
    options = ["--data", "karate", "--labels", "1", "3", "--repeats", "3", "--choose", "1"]
    assert run_example(monkeypatch, "classify.py", *options, "--gtv", "--out", picture) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "34 nodes" in lines[0]
    assert lines[1].split()[-1] == "LabelSpreading"
    table = {line.split()[0]: line.split()[1::3] for line in lines if "±" in line[:40]}
    table = {labels: [float(value) for value in row] for labels, row in table.items()}
    assert set(table) == {"1", "3"}
    assert all(len(row) == 5 for row in table.values())
    # Half of the club is of the largest class; one label of each of the four does better.
    assert table["3"][0] > 50
    assert picture.stat().st_size > 10_000


def test_options_are_checked(monkeypatch, capsys):
    assert run_example(monkeypatch, "classify.py", "--labels", "0") == 2
    assert "must be at least 1" in capsys.readouterr().err
