"""Memory of large results is used again, and never while someone still looks at it."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

from gsp_unroll.ops.backends import memory
from gsp_unroll.ops.backends.memory import empty, empty_to_keep

LARGE = (3, 1 << 20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3), LARGE, (0, 5), (1 << 21,)])
def test_shape_and_dtype_are_as_asked(shape, dtype):
    value = empty(*shape, like=torch.zeros((), dtype=dtype))
    assert value.shape == shape
    assert value.dtype == dtype
    assert value.is_contiguous()


def test_freed_memory_is_used_again():
    first = empty(*LARGE, like=torch.zeros(()))
    place = first.data_ptr()
    del first
    gc.collect()
    assert empty(*LARGE, like=torch.zeros(())).data_ptr() == place


def test_memory_in_use_is_not_given_away():
    first = empty(*LARGE, like=torch.zeros(())).fill_(1)
    views = [first[1:], first.detach(), first.numpy()]
    del first
    gc.collect()
    for _ in range(3):
        empty(*LARGE, like=torch.zeros(())).fill_(2)
    assert all(bool((view == 1).all()) for view in views)


def test_free_memory_is_limited():
    limit = memory._POOL._limit
    assert limit == 1 << 28
    values = [empty(*LARGE, like=torch.zeros(())) for _ in range(limit // (4 * 3 << 20) + 5)]
    del values
    gc.collect()
    assert 0 < memory._POOL.kept() <= limit


def test_memory_to_keep_is_apart_and_given_back_when_asked():
    like, before = torch.zeros(()), memory._POOL.kept()
    first = empty_to_keep(*LARGE, like=like)
    place = first.data_ptr()
    del first
    gc.collect()
    assert memory._POOL.kept() == before
    assert memory._POOL_TO_KEEP.kept() >= 4 * 3 << 20
    assert empty_to_keep(*LARGE, like=like).data_ptr() == place
    gc.collect()
    memory.release()
    assert memory._POOL.kept() == memory._POOL_TO_KEEP.kept() == 0


def test_threads_never_share_a_block():
    wrong = []

    def work(number):
        for _ in range(50):
            value = empty(*LARGE, like=torch.zeros(()))
            value[:, ::4096] = number
            if bool((value[:, ::4096] != number).any()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
