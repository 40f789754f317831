from __future__ import annotations

import time

import pytest
import torch

from gsp_unroll.evaluation.peak import peak_memory

CPU = torch.device("cpu")


def test_the_peak_counts_what_is_freed_before_the_end():
    def work():
        big = torch.ones(50_000_000)
        time.sleep(0.05)
        return float(big[:3].sum())

    result, peak = peak_memory(work, CPU)
    assert result == 3
    assert 190e6 < peak < 260e6


def test_memory_from_before_does_not_count():
    kept = torch.ones(50_000_000)
    _, peak = peak_memory(lambda: time.sleep(0.05), CPU)
    assert peak < 20e6
    assert float(kept[0]) == 1


def test_an_error_comes_through():
    def fail():
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        peak_memory(fail, CPU)
