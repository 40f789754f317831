"""Edge lists: window grids, nearest neighbours, points within a radius. Undirected, no loops."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.topology import Grid


def grid_edge_index(height: int, width: int, window: int = 5) -> Tensor:
    """Edges of an image graph: each pixel with all others in a square window around it.

    Args:
        height: Rows.
        width: Columns.
        window: Odd side of the window (default: 5, which gives 24 neighbours).

    Returns:
        ``[2, E]`` int64, both directions, sorted by source, then target. Pixel ``(r, c)`` is node
        ``r * width + c``.

    Raises:
        ValueError: If a size is below 1, or ``window`` is even or below 3.

    Examples:
        >>> grid_edge_index(1, 3, window=3)
        tensor([[0, 1, 1, 2],
                [1, 0, 2, 1]])
    """
    return Grid(height, width, window).edge_index


def knn_edge_index(pos: Tensor, k: int) -> Tensor:
    """Symmetrised k-nearest-neighbour graph: joined if either end is near the other.

    Args:
        pos: Coordinates ``[N, D]``.
        k: Neighbours of each point, at least 1 and below ``N``.

    Returns:
        ``[2, E]`` int64, both directions, sorted by source, then target, on the device of ``pos``.

    Raises:
        TypeError: If ``pos`` is not a floating-point tensor.
        ValueError: If ``pos`` has the wrong shape or is not finite, or ``k`` is out of range.
    """
    points = _points(pos)
    checks.positive_int("k", k)
    if k >= len(points):
        raise ValueError(f"k must be below the number of points ({len(points)}), got {k}")
    near = cKDTree(points).query(points, k=k + 1, workers=-1)[1]
    itself = near == np.arange(len(points))[:, None]
    # Among many equal points a point may not find itself: then its last neighbour is one too many.
    itself[~itself.any(1), -1] = True
    source, column = np.nonzero(~itself)
    near = near[source, column]
    return _undirected(source, near, len(points), pos.device)


def radius_edge_index(pos: Tensor, radius: float) -> Tensor:
    """Graph of all pairs of points at most ``radius`` apart.

    Args:
        pos: Coordinates ``[N, D]``.
        radius: Largest distance, positive, in the unit of ``pos``.

    Returns:
        ``[2, E]`` int64, both directions, sorted by source, then target, on the device of ``pos``.

    Raises:
        TypeError: If ``pos`` is not a floating-point tensor.
        ValueError: If ``pos`` has the wrong shape or is not finite, or ``radius`` is not positive.
    """
    points = _points(pos)
    radius = checks.in_range("radius", radius, 0, open_low=True)
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    return _undirected(pairs[:, 0], pairs[:, 1], len(points), pos.device)


def _points(pos: Tensor) -> np.ndarray:
    checks.floating("pos", pos)
    checks.shape("pos", pos, ["N", "D"])
    checks.finite("pos", pos)
    return pos.detach().cpu().double().numpy()


def _undirected(
    source: np.ndarray, target: np.ndarray, num_nodes: int, device: torch.device
) -> Tensor:
    source, target = source.astype(np.int64), target.astype(np.int64)
    key = np.unique(np.concatenate([source * num_nodes + target, target * num_nodes + source]))
    return torch.from_numpy(np.stack([key // num_nodes, key % num_nodes])).to(device)
