from __future__ import annotations

import threading

import pytest
import torch

from gsp_unroll.training.feed import batches, step_indices


class Numbers(torch.utils.data.Dataset):
    def __init__(self, broken=None):
        self.broken = broken

    def __getitem__(self, index):
        if index == self.broken:
            raise ValueError(f"item {index} is broken")
        return {"i": torch.tensor(index)}


def _indices(**options):
    return [batch["i"].tolist() for batch in batches(Numbers(), 4, 2, 9, **options)]


@pytest.mark.parametrize("workers", [0, 1, 3, 20])
def test_threads_change_neither_content_nor_order(workers):
    assert _indices(workers=workers) == [list(range(4 * t, 4 * t + 4)) for t in range(2, 9)]


def test_slices_of_several_processes_make_up_the_joint_batch():
    joint = _indices()
    parts = [_indices(rank=rank, world=2, workers=2) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == joint


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(
        ValueError, match=r"train\.batch.*multiple of the number of processes 3, got 4"
    ):
        step_indices(0, 4, 0, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_arrives_with_its_batch(workers):
    feed = batches(Numbers(broken=9), 4, 0, 9, workers=workers)
    assert next(feed)["i"].tolist() == [0, 1, 2, 3]
    assert next(feed)["i"].tolist() == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="item 9 is broken"):
        next(feed)


def test_an_abandoned_feed_leaves_no_thread():
    before = threading.active_count()
    feed = batches(Numbers(), 4, 0, 1000, workers=3)
    next(feed)
    feed.close()
    assert threading.active_count() == before
