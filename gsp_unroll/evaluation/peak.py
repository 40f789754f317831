"""How much memory a call takes at its peak, on the CPU and on CUDA."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable
from typing import TypeVar

import psutil
import torch

from gsp_unroll.ops.backends.memory import release

T = TypeVar("T")

_INTERVAL = 0.005


def peak_memory(function: Callable[[], T], device: torch.device) -> tuple[T, int]:
    """Call ``function`` and return its result and the bytes that it took beyond those before.

    On CUDA by its allocator; on the CPU by the resident memory of the process, looked at every
    5 ms from a thread of its own, after memory that was freed before has gone back to the system
    (where the C library can do that).
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        result = function()
        torch.cuda.synchronize(device)
        return result, torch.cuda.max_memory_allocated(device) - before
    _give_back()
    process = psutil.Process()
    before = process.memory_info().rss
    peak, done = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_INTERVAL):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = function()
    finally:
        done.set()
        watcher.join()
    # The result is alive here, in case that the call was over before the first look.
    return result, max(peak, process.memory_info().rss) - before


def _give_back() -> None:
    gc.collect()
    release()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if psutil.LINUX else None
    if trim is not None:
        trim(0)
