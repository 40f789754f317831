"""The weights between one pixel and its window: what a learned graph looks like from inside."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll.topology import Grid


def neighbour_weights(grid: Grid, weight: Tensor, row: int, column: int) -> Tensor:
    """Return the weights of the edges between pixel ``(row, column)`` and its neighbours.

    Args:
        grid: Structure of the graph.
        weight: Planar weights ``[heads, M]``, or directed ones ``[heads, 2, M]``.
        row: Row of the pixel.
        column: Column of the pixel.

    Returns:
        ``[heads, window, window]`` with the pixel in the middle; NaN at the pixel itself and
        outside the image.

    Raises:
        ValueError: The pixel is outside the image.
    """
    if not (0 <= row < grid.height and 0 <= column < grid.width):
        raise ValueError(
            f"pixel must lie inside {grid.height} x {grid.width}, got ({row}, {column})"
        )
    # [heads, direction, offset, row, column]; symmetric weights are the same in both directions.
    planes = weight.unsqueeze(1).expand(-1, 2, -1) if weight.dim() == 2 else weight
    planes = planes.unflatten(-1, (-1, grid.height, grid.width))
    reach = grid.window // 2
    out = planes.new_full((planes.shape[0], grid.window, grid.window), torch.nan)
    for k, (dr, dc) in enumerate(grid.offsets):
        # Slot k of a pixel is its edge to the offset: the pixel itself is the first end ...
        if row + dr < grid.height and 0 <= column + dc < grid.width:
            out[:, reach + dr, reach + dc] = planes[:, 0, k, row, column]
        # ... and it is the second end of the edge that starts at the opposite offset.
        if row - dr >= 0 and 0 <= column - dc < grid.width:
            out[:, reach - dr, reach - dc] = planes[:, 1, k, row - dr, column - dc]
    return out
