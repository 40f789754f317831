"""The example of inpainting-driven graph learning, run as a user runs it."""

from __future__ import annotations

from helpers import run_example


def test_it_finds_more_edges_than_nearest_rows_and_draws(monkeypatch, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    size = ["--nodes", 12, "--times", 150, "--repeats", 1, "--steps", 2, "--missing", 0.1]
    assert (
        run_example(
            monkeypatch, "inpainting_driven_graph.py", *size, "--skip-weather", "--out", picture
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    methods = lines[1].split()[1:5]
    values = [float(v) for v in next(row for row in lines if "10%" in row).split()[1:9]]
    score = dict(zip(methods, values[::2], strict=True))
    error = dict(zip(methods, values[1::2], strict=True))
    assert score["truth"] > 0.9 > score["nearest"]
    assert score["learned"] > score["nearest"]
    assert error["truth"] < error["nearest"] < 1
    assert picture.stat().st_size > 10_000


def test_bad_options_are_refused(monkeypatch, capsys):
    assert run_example(monkeypatch, "inpainting_driven_graph.py", "--missing", "1.5") == 2
    assert "between 0.005 and 0.9" in capsys.readouterr().err
