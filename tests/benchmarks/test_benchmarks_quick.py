"""Every benchmark runs and writes what the report and the figures read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grid_operators", ["--operators", "laplacian", "edge_softmax"]),
        ("graph_operators", ["--operators", "laplacian", "difference"]),
        ("gtv_layer", []),
        ("saved_bytes", []),
        ("training_memory", ["--batch", "2"]),
        ("training_step", ["--batch", "2"]),
        ("several_processes", ["--batch", "2"]),
    ],
)
def test_it_runs_and_its_result_is_reported_and_drawn(load, tmp_path, name, options):
    out = tmp_path / f"{name}.json"
    load(name).main(["--quick", "--threads", "1", "--out", str(out), *options])
    result = json.loads(out.read_text())
    assert result["machine"]["packages"]["torch"] == torch.__version__
    assert load("report").TABLES[name](result).count("|") > 10
    plots = pytest.importorskip("matplotlib") and load("plots")
    figure = plots.DRAWINGS[name](result)
    figure.savefig(tmp_path / "figure.png")
    plots.plt.close(figure)
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["report", "plots"])
def test_measured_results_are_still_understood(load, name):
    if name == "plots":
        pytest.importorskip("matplotlib")
    script = load(name)
    understood = script.TABLES if name == "report" else script.DRAWINGS
    measured = {p.stem: json.loads(p.read_text()) for p in (FOLDER / "results").glob("*.json")}
    assert {"training_memory", "training_step", "grid_operators"} <= measured.keys()
    for stem in measured.keys() & understood.keys():
        shown = understood[stem](measured[stem])
        assert shown.count("|") > 10 if name == "report" else shown.axes
        if name == "plots":
            script.plt.close(shown)


def test_peak_memory_is_that_of_the_process_alone(load):
    measure = load("measure")
    ballast = bytearray(300_000_000)  # a child must not inherit the peak of its parent
    command = [sys.executable, "-c", "x = bytearray(100_000_000)"]
    memory = measure.peak_memory(command, [sys.executable, "-c", "pass"])
    assert len(ballast) > memory.peak
    assert memory.above_idle == pytest.approx(100e6, rel=0.05)


def test_candidates_take_turns(load):
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    timings = load("measure").measure_all(calls, warmup=0, repeats=4, min_seconds=0.0)
    assert [timing.repeats for timing in timings.values()] == [4, 4, 4]
    rounds = [order[k : k + 3] for k in range(3, len(order), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1


def test_the_report_says_what_has_not_been_measured(load, tmp_path, monkeypatch):
    report = load("report")
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table: saved_bytes -->\nold\n<!-- end -->\nb\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.main()
    text = page.read_text()
    assert "Not yet measured" in text
    assert "old" not in text
    assert text.startswith("a\n")
    assert text.endswith("\nb\n")
