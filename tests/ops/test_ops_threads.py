"""The shared threads: every chunk once, no blocking, failures come back."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gsp_unroll.ops.backends.threads import even_ranges, run_chunks


@pytest.fixture(params=[1, 2, 4])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_every_chunk_is_done_once(threads, count):
    done = []
    run_chunks(lambda a, b: done.append((a, b)), [(k, k + 1) for k in range(count)])
    assert sorted(done) == [(k, k + 1) for k in range(count)]


def test_no_more_threads_than_torch_has(threads):
    names = set()

    def chunk(a, b):
        time.sleep(0.002)
        names.add(threading.current_thread().name)

    run_chunks(chunk, [(k, k) for k in range(20)])
    assert 1 <= len(names) <= threads
    assert threading.current_thread().name in names


def test_a_failure_comes_back_and_stops_the_rest(threads):
    done, failed = [], threading.Event()

    def chunk(a, b):
        if a == 79:  # the calling thread begins with it
            failed.set()
            raise ValueError("chunk 79")
        # The others need seconds for all the rest, the failure far less to drop it.
        failed.wait(timeout=30)
        done.append(a)
        time.sleep(0.1)

    with pytest.raises(ValueError, match="chunk 79"):
        run_chunks(chunk, [(k, k) for k in range(80)])
    assert len(done) < 79
    run_chunks(lambda a, b: None, [(0, 1)] * 8)  # and the threads still work


def test_a_failure_in_any_thread_comes_back(threads):
    def chunk(a, b):
        if a == 0:  # the first one of the other threads
            raise ValueError("chunk 0")
        time.sleep(0.001)

    with pytest.raises(ValueError, match="chunk 0"):
        run_chunks(chunk, [(k, k) for k in range(8)])


def test_calls_from_many_threads_and_from_within_a_chunk_do_not_block(threads):
    total = []

    def outer(a, b):
        run_chunks(lambda c, d: total.append((a, c)), [(k, k) for k in range(5)])

    with ThreadPoolExecutor(6) as pool:
        for future in [
            pool.submit(run_chunks, outer, [(k, k) for k in range(6)]) for _ in range(6)
        ]:
            future.result(timeout=30)
    assert len(total) == 6 * 6 * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_chunks(lambda a, b: time.sleep(0.001), [(k, k) for k in range(4)])
        child = os.fork()
        if child == 0:  # pragma: no cover
            done = []
            run_chunks(lambda a, b: done.append(a), [(k, k) for k in range(4)])
            os._exit(0 if sorted(done) == [0, 1, 2, 3] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("length", "smallest"), [(0, 5), (1, 5), (17, 5), (1000, 1), (1000, 0)])
def test_even_ranges_cover_the_whole_length(threads, length, smallest):
    ranges = even_ranges(length, smallest)
    assert [k for a, b in ranges for k in range(a, b)] == list(range(length))
    assert len(ranges) <= 4 * threads
    assert all(b - a >= min(smallest, length) for a, b in ranges)
