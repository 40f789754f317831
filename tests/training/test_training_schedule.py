from __future__ import annotations

import itertools

import pytest

from gsp_unroll.training.schedule import learning_rate, progress


def test_progress_is_the_larger_of_steps_and_time():
    assert progress(5, 10) == 0.5
    assert progress(5, 10, elapsed=30, budget=100) == 0.5
    assert progress(5, 10, elapsed=70, budget=100) == 0.7
    assert progress(5, 10, elapsed=1e9, budget=None) == 0.5
    assert progress(12, 10) == 1.0
    assert progress(1, 10, elapsed=200, budget=100) == 1.0


def test_warm_up_then_cosine():
    def rate(step):
        return learning_rate(step, step / 100, peak=2.0, final=0.1, warmup=10)

    ramp = [rate(step) for step in range(10)]
    assert ramp[0] == pytest.approx(0.2)
    assert all(a < b for a, b in itertools.pairwise(ramp))
    tail = [rate(step) for step in range(10, 101)]
    assert all(a > b for a, b in itertools.pairwise(tail))
    assert rate(50) == pytest.approx(2.0 * 0.55)
    assert rate(100) == pytest.approx(0.2)
    assert learning_rate(0, 0.0, peak=2.0, final=0.1, warmup=0) == 2.0


def test_a_slow_machine_leaves_warm_up_after_five_percent_of_its_time():
    slow = learning_rate(3, 0.05, peak=1.0, final=1.0, warmup=1000, budgeted=True)
    assert slow == pytest.approx(1.0)
    assert learning_rate(3, 0.05, peak=1.0, final=1.0, warmup=1000) == pytest.approx(0.004)
