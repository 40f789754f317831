"""examples/restore_mesh.py, run as a user runs it."""

from __future__ import annotations

import pytest
from helpers import run_example

pytest.importorskip("matplotlib")


def test_a_small_surface_is_restored_and_drawn(monkeypatch, tmp_path, capsys):
    picture = tmp_path / "mesh.png"
    options = ["--vertices", "300", "--observed", "0.3", "--out", picture]
    assert run_example(monkeypatch, "restore_mesh.py", *options) == 0
    out = capsys.readouterr().out
    assert "300 vertices, 596 triangles" in out
    smooth = [line.split() for line in out.partition("smooth")[2].splitlines()]
    rmse = {row[0]: float(row[1]) for row in smooth if "/" in row}
    assert rmse["glr"] < rmse["nearest"] < rmse["mean"]
    assert picture.stat().st_size > 10_000


def test_a_broken_file_and_none(monkeypatch, tmp_path, capsys):
    tetrahedron = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"
    flat = tetrahedron.replace("0 0 1\n3", "0 1 0\n3")
    bad = tmp_path / "bad.off"
    bad.write_text(flat)
    assert (
        run_example(monkeypatch, "restore_mesh.py", "--mesh", bad, "--out", tmp_path / "m.png") == 2
    )
    assert "triangles with an area" in capsys.readouterr().err
    bad.write_text(tetrahedron[:40])
    assert run_example(monkeypatch, "restore_mesh.py", "--mesh", bad) == 2
    assert "bad.off: " in capsys.readouterr().err
    assert run_example(monkeypatch, "restore_mesh.py", "--vertices", 300, "--observed", 1e-4) == 2
    assert "is 0 of 300 vertices" in capsys.readouterr().err
    assert run_example(monkeypatch, "restore_mesh.py", "--mesh", tmp_path / "none.off") == 2
    assert "none.off" in capsys.readouterr().err
