"""Tiles of an image: windows of one size whose kept parts cover the image once.

A window sees ``halo`` pixels more than it keeps, except where the image ends. Windows start at
multiples of ``period``, so that a colour filter array has the same phase in all of them, and all
have the same size, so that one grid serves them all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Tile:
    """One window of an image ``[C, H, W]``, as indices.

    Attributes:
        seen: Pixels of the image that the window holds.
        kept: Pixels of the image that it is asked for.
        inner: Where ``kept`` lies in the window.
    """

    seen: tuple[slice, ...]
    kept: tuple[slice, ...]
    inner: tuple[slice, ...]


def tiles_by_area(
    height: int, width: int, halo: int, period: tuple[int, int], max_pixels: int
) -> list[Tile]:
    """The tiles of at most ``max_pixels`` pixels with the fewest pixels in all.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        halo: Pixels that a window sees around what it keeps.
        period: Rows and columns that starts are multiples of.
        max_pixels: Largest window.

    Returns:
        The tiles, row by row; empty if no window is small enough.
    """
    rows, columns = _sizes(height, halo, period[0]), _sizes(width, halo, period[1])
    best: tuple[int, int, int] | None = None
    for size in rows:
        # Sizes fall, so the first column size that fits needs the fewest columns.
        place = bisect_left(columns, -(max_pixels // size), key=lambda other: -other)
        if place == len(columns):
            continue
        other = columns[place]
        seen = _count(height, size, halo, period[0]) * size
        seen *= _count(width, other, halo, period[1]) * other
        if best is None or seen < best[0]:
            best = (seen, size, other)
    return [] if best is None else _grid(height, width, best[1], best[2], halo, period)


def tiles_by_side(
    height: int, width: int, halo: int, period: tuple[int, int], side: int
) -> list[Tile]:
    """Tiles that keep at most ``side`` pixels a side (rounded up to ``period``) inside the image.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        halo: Pixels that a window sees around what it keeps.
        period: Rows and columns that starts are multiples of.
        side: Largest side of what a window keeps; at a border it keeps its halo there as well.
    """
    size = []
    for length, p in ((height, period[0]), (width, period[1])):
        largest = _round_up(side, p) + 2 * halo + p - 1
        size.append(next(s for s in _sizes(length, halo, p) if s <= largest))
    return _grid(height, width, *size, halo, period)


def smallest_tile(height: int, width: int, halo: int, period: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the smallest window there is."""
    return _sizes(height, halo, period[0])[-1], _sizes(width, halo, period[1])[-1]


def _sizes(length: int, halo: int, period: int) -> list[int]:
    """Window sizes worth trying for one axis, falling: the smallest for 1, 2, 3, ... windows."""
    sizes = [length]
    for count in range(2, length // period + 2):
        size = _size(length, max(-(-(length - 2 * halo) // count), 1), halo, period)
        if size < sizes[-1]:
            sizes.append(size)
    return sizes


def _size(length: int, step: int, halo: int, period: int) -> int:
    """Smallest window that keeps ``step`` pixels, with the last start a multiple of ``period``."""
    size = _round_up(step, period) + 2 * halo
    return min(size + (length - size) % period, length)


def _count(length: int, size: int, halo: int, period: int) -> int:
    return len(_starts(length, size, halo, period))


def _starts(length: int, size: int, halo: int, period: int) -> range | list[int]:
    if size == length:
        return [0]
    step = (size - 2 * halo) // period * period
    return [*range(0, length - size, step), length - size]


def _axis(length: int, size: int, halo: int, period: int) -> list[tuple[slice, slice, slice]]:
    """Seen, kept and inner part of each window along one axis."""
    starts = _starts(length, size, halo, period)
    # Neighbours overlap by two halos at least and part in the middle.
    cuts = [0, *((after + before + size) // 2 for before, after in pairwise(starts)), length]
    return [
        (slice(start, start + size), slice(a, b), slice(a - start, b - start))
        for start, (a, b) in zip(starts, pairwise(cuts), strict=True)
    ]


def _grid(
    height: int, width: int, rows: int, columns: int, halo: int, period: Sequence[int]
) -> list[Tile]:
    across = _axis(width, columns, halo, period[1])
    return [
        Tile(*((slice(None), down, right) for down, right in zip(row, column, strict=True)))
        for row in _axis(height, rows, halo, period[0])
        for column in across
    ]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
