"""Tensors of compiled kernels: which ones they take, and memory for large results, used again."""

from __future__ import annotations

import weakref

import numpy as np
import torch
from torch import Tensor

# Results below this size come from PyTorch.
_LARGE = 1 << 22
# Bytes of a cache line.
_LINE = 64


class _Pool:
    """Free blocks of memory by size, ``limit`` bytes at most: above it they go back to the system.

    A block may come back at any time, in any thread. So there is no lock (the thread that holds it
    could be the one that frees): pushing to and popping from a list are atomic.
    """

    def __init__(self, limit: int) -> None:
        self._blocks: dict[int, list[np.ndarray]] = {}
        self._limit = limit

    def take(self, size: int) -> np.ndarray:
        """A block of ``size`` bytes from a cache line on, used before if there is one."""
        try:
            return self._blocks[size].pop()
        except LookupError:
            memory = np.empty(size + _LINE, np.uint8)
            start = -memory.ctypes.data % _LINE
            return memory[start : start + size]

    def put(self, block: np.ndarray) -> None:
        """Keep ``block`` for the next one who needs its size; too much is all given up."""
        if block.nbytes > self._limit:
            return
        if self.kept() + block.nbytes > self._limit:
            self._blocks = {}
        self._blocks.setdefault(block.nbytes, []).append(block)

    def clear(self) -> None:
        """Give up all free blocks."""
        self._blocks = {}

    def kept(self) -> int:
        """Bytes in free blocks."""
        return sum(size * len(blocks) for size, blocks in list(self._blocks.items()))


_POOL = _Pool(1 << 28)
# What is kept for backward is a few times as much, and is asked for in so many words.
_POOL_TO_KEEP = _Pool(1 << 31)


def empty(*shape: int, like: Tensor) -> Tensor:
    """An uninitialised CPU tensor of the dtype of ``like``, float32 or float64.

    The first touch of new memory costs a page fault for every 4 KiB, several times as long as
    computing what is written there, and the iterations of a solver or of a training make results of
    the same few sizes again and again. So the memory of freed results is kept, up to 256 MB.
    """
    return _empty(_POOL, shape, like)


def empty_to_keep(*shape: int, like: Tensor) -> Tensor:
    """As :func:`empty`, for what a whole network keeps for backward: up to 2 GB more."""
    return _empty(_POOL_TO_KEEP, shape, like)


def _empty(pool: _Pool, shape: tuple[int, ...], like: Tensor) -> Tensor:
    number = np.dtype(np.float32 if like.dtype == torch.float32 else np.float64)
    size = int(np.prod(shape, dtype=np.int64)) * number.itemsize
    if size < _LARGE:
        return torch.empty(shape, dtype=like.dtype)
    block = pool.take(size)
    values = block.view(number).reshape(shape)
    # The tensor keeps `values`; when its storage is freed, so are they.
    weakref.finalize(values, pool.put, block).atexit = False
    return torch.from_numpy(values)


def release() -> None:
    """Give the memory of freed results back, e.g. before what a process takes is measured."""
    _POOL.clear()
    _POOL_TO_KEEP.clear()


def compiled_for(*values: Tensor) -> bool:
    """Whether ``values`` are on the CPU, not empty, and all float32 or all float64."""
    first = values[0].dtype
    return first in (torch.float32, torch.float64) and all(
        v.dtype == first and v.device.type == "cpu" and v.numel() for v in values
    )
