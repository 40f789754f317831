from __future__ import annotations

import csv
import logging
import sys

import pytest

from gsp_unroll.training.log import CsvLog, Progress, TensorBoard, clock

COLUMNS = ["step", "loss"]


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_appended_and_a_new_run_starts_empty(tmp_path):
    path = tmp_path / "log.csv"
    log = CsvLog(path, COLUMNS, None)
    log.write({"step": 1, "loss": 0.5})
    log.write({"step": 2, "loss": 0.25})
    assert _rows(path) == [{"step": "1", "loss": "0.5"}, {"step": "2", "loss": "0.25"}]
    CsvLog(path, COLUMNS, None)
    assert _rows(path) == []


def test_a_resumed_run_drops_later_and_torn_rows(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n10,0.5\n20,0.4\n30,0.3\n1")
    log = CsvLog(path, COLUMNS, 20)
    log.write({"step": 30, "loss": 0.31})
    assert [row["step"] for row in _rows(path)] == ["10", "20", "30"]
    assert _rows(path)[-1]["loss"] == "0.31"
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.csv"]


def test_lines_replace_the_bar_where_there_is_no_terminal(monkeypatch, caplog):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    progress = Progress(seconds=0.0)
    assert progress.bar is None
    with caplog.at_level(logging.INFO, logger="gsp_unroll.training.log"):
        progress.update(5, 0.25, 30.0, {"loss": 0.5, "PSNR": 30.0})
    progress.close()
    assert caplog.messages == [" 25%  step 5  loss 0.5  PSNR 30  ETA 1:30"]
    caplog.clear()
    rare = Progress(seconds=1e6)
    rare.update(5, 0.25, 30.0, {"loss": 0.5})
    silent = Progress(seconds=0.0, enabled=False)
    silent.update(5, 0.25, 30.0, {"loss": 0.5})
    assert caplog.messages == []


def test_the_bar_shows_loss_psnr_and_remaining_time(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress()
    progress.update(5, 0.5, 60.0, {"loss": 0.5, "PSNR": 30.0})
    progress.close()
    shown = capsys.readouterr().err
    for part in ("50%", "step 5", "loss 0.5", "PSNR 30", "ETA 1:00"):
        assert part in shown


def test_missing_tensorboard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"gsp-unroll\[tensorboard\]"):
        TensorBoard(tmp_path, None)


def test_durations():
    assert [clock(s) for s in (0, 59.6, 61, 3723)] == ["0:00", "1:00", "1:01", "1:02:03"]
