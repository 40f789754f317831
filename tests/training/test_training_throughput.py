"""The throughput that a run reports."""

import logging

from training_helpers import tiny_config

from gsp_unroll.training import loop, train


def test_throughput_counts_the_joint_batch_without_the_first_step(
    photos, tmp_path, monkeypatch, caplog
):
    clock, durations, original = [0.0], iter([100.0, 1.0, 2.0, 1.0]), loop._Trainer._step

    def step(self, batch, done):
        original(self, batch, done)
        clock[0] += next(durations)

    def validate(self):
        clock[0] += 1000.0

    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(loop._Trainer, "_step", step)
    monkeypatch.setattr(loop._Trainer, "_validate", validate)
    with caplog.at_level(logging.INFO):
        result = train(tiny_config(photos, train={"steps": 4, "batch": 2}), tmp_path / "run")
    assert result.patches_per_second == 2 * 3 / 4
    assert "1.50 patches/s" in caplog.text


def test_a_run_of_one_step_has_no_throughput(photos, tmp_path):
    result = train(tiny_config(photos, train={"steps": 1}), tmp_path / "run")
    assert result.patches_per_second == 0
