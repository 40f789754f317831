"""Restore an image of any size, in tiles where it is too large for one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from gsp_unroll import checks

Restorer = Callable[[Tensor, Tensor], Tensor]


@torch.inference_mode()
def restore(
    model: Restorer,
    y: Tensor,
    mask: Tensor,
    *,
    tile: int | None = 512,
    halo: int = 32,
    progress: bool = False,
) -> Tensor:
    """Restore one image.

    Images of at most ``tile`` pixels a side are restored in one piece. Larger ones are cut into
    tiles which are restored with ``halo`` more pixels on every side and cropped. Each tile takes
    its part of the mask along, so the phase of a colour filter array cannot shift. A tile sees
    nothing beyond its halo: results near tile borders differ slightly from those of one piece.

    Args:
        model: Network or method, called as ``model(y [1, C, H, W], mask)``.
        y: Samples ``[C, H, W]``, floating point; values outside ``mask`` are ignored.
        mask: Boolean ``[C, H, W]``, ``True`` = observed.
        tile: Largest side restored in one piece, ``None`` = no tiles (default: 512).
        halo: Pixels around each tile that it sees besides its own (default: 32).
        progress: Show a progress bar over the tiles (default: ``False``).

    Returns:
        ``[C, H, W]``; observed samples come back bit for bit.

    Raises:
        TypeError: If ``y`` is not floating point, ``mask`` not boolean, or a size not an ``int``.
        ValueError: If a shape does not fit or a size is too small.
    """
    checks.floating("y", y)
    checks.shape("y", y, ["C", "H", "W"])
    if checks.tensor("mask", mask).dtype != torch.bool:
        raise TypeError(f"mask must be a bool tensor (True = observed), got {mask.dtype}")
    checks.shape("mask", mask, list(y.shape))
    checks.positive_int("halo", halo, minimum=0)
    height, width = y.shape[1:]
    if tile is None or max(height, width) <= checks.positive_int("tile", tile):
        return model(y[None], mask[None])[0]
    out = torch.empty_like(y)
    tiles = list(_tiles(height, width, tile))
    for rows, cols in tqdm(tiles, desc="tiles", disable=not progress, leave=False):
        seen_rows, own_rows = _with_halo(rows, halo, height)
        seen_cols, own_cols = _with_halo(cols, halo, width)
        part = (slice(None), seen_rows, seen_cols)
        restored = model(y[part][None], mask[part][None])[0]
        out[:, rows, cols] = restored[:, own_rows, own_cols]
    return out


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of nearly equal size, at most ``tile`` a side, that cover the image once."""
    for rows in _pieces(height, tile):
        for cols in _pieces(width, tile):
            yield rows, cols


def _pieces(length: int, tile: int) -> list[slice]:
    count = -(-length // tile)
    ends = [round(k * length / count) for k in range(count + 1)]
    return [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]


def _with_halo(own: slice, halo: int, length: int) -> tuple[slice, slice]:
    """The slice with its halo inside the image, and the place of ``own`` within it."""
    start, stop = max(own.start - halo, 0), min(own.stop + halo, length)
    return slice(start, stop), slice(own.start - start, own.stop - start)
