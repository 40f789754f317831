"""Parts of one product on a few threads, for kernels that release Python's lock (the GIL)."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch

Range = tuple[int, int]


class _Pool:
    """Threads made at the first use and shared by all kernels of the process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        # After a fork neither the threads nor the owner of a locked lock exist.
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def get(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                # An upper limit: threads start one by one, when none is idle.
                self._executor = ThreadPoolExecutor(os.cpu_count() or 1, "gsp_unroll")
            return self._executor


_POOL = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def run_chunks(function: Callable[[int, int], object], ranges: Iterable[Range]) -> None:
    """Call ``function(start, stop)`` once for each range, on up to ``torch.get_num_threads()``.

    Chunks run in no given order and at the same time, so they must write to places of their own.
    The calling thread works too, from the last range backwards, and never waits for a thread that
    has not started: calls from several threads, or from within a chunk, cannot block each other.

    Args:
        function: Does the chunk ``[start, stop)``; it should release the GIL.
        ranges: The chunks. Who computes bit for bit the same on any number of threads lets them
            not depend on it, or computes each element from within one chunk only.

    Raises:
        BaseException: The first one that a chunk raised; chunks not yet begun are dropped.
    """
    todo = deque(ranges)
    helpers = min(torch.get_num_threads(), len(todo)) - 1
    if helpers <= 0:
        while todo:
            function(*todo.pop())
        return
    failures: list[BaseException] = []

    def work(take: Callable[[], Range]) -> None:
        while True:
            try:
                chunk = take()
            except IndexError:
                return
            try:
                function(*chunk)
            except BaseException as failure:  # handed over to the caller
                failures.append(failure)
                todo.clear()

    pool = _POOL.get()
    futures = [pool.submit(work, todo.popleft) for _ in range(helpers)]
    work(todo.pop)
    for future in futures:
        if not future.cancel():
            future.result()
    if failures:
        raise failures[0]


def even_ranges(length: int, smallest: int, for_each_thread: int = 4) -> list[Range]:
    """Split ``[0, length)`` in equal chunks, a few for each thread, of at least ``smallest``.

    For kernels that compute each element from within one chunk: boundaries follow the number of
    threads.
    """
    parts = max(1, min(for_each_thread * torch.get_num_threads(), length // max(smallest, 1)))
    bounds = [length * k // parts for k in range(parts + 1)]
    return [(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True) if a < b]
