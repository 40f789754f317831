"""Edge lists: window grids, nearest neighbours, points within a radius. Undirected, no loops."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.topology import Grid

# Points whose neighbours are looked up at once.
_PART = 1 << 18


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
    tree = cKDTree(points)
    n = len(points)
    pairs = np.empty((n, k), dtype=np.int64)
    # In the order of the tree, and in parts: one part finds its neighbours in the cache, and only
    # one part is held with its distances.
    for part in np.array_split(tree.indices, -(-n // _PART)):
        near = tree.query(points[part], k=k + 1, workers=-1)[1]
        itself = near == part[:, None]
        # Among many equal points a point may not find itself: then its last neighbour is one too
        # many.
        itself[~itself.any(1), -1] = True
        pairs[part] = _pair(part[:, None], near[~itself].reshape(-1, k), n)
    return _undirected(pairs.ravel(), n, pos.device)


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
    source, target = pairs.T.astype(np.int64, copy=False)
    return _undirected(_pair(source, target, len(points)), len(points), pos.device)


def _points(pos: Tensor) -> np.ndarray:
    checks.floating("pos", pos)
    checks.shape("pos", pos, ["N", "D"])
    if not pos.shape[1]:
        raise ValueError(f"pos must have at least one coordinate, got shape {list(pos.shape)}")
    checks.finite("pos", pos)
    return pos.detach().cpu().double().numpy()


def _pair(source: np.ndarray, target: np.ndarray, num_nodes: int) -> np.ndarray:
    """One number for an undirected pair: ``low * num_nodes + high``."""
    return np.minimum(source, target) * np.int64(num_nodes) + np.maximum(source, target)


def _undirected(pairs: np.ndarray, num_nodes: int, device: torch.device) -> Tensor:
    """Both directions, sorted, of the pairs (see :func:`_pair`), which may come twice."""
    pairs.sort()
    first = np.ones(len(pairs), dtype=bool)
    np.not_equal(pairs[1:], pairs[:-1], out=first[1:])
    pairs = pairs[first]
    both = np.empty(2 * len(pairs), dtype=np.int64)
    both[: len(pairs)] = pairs
    low, high = np.divmod(pairs, num_nodes)
    np.add(high * num_nodes, low, out=both[len(pairs) :])
    del pairs, low, high, first
    both.sort()
    edges = np.empty((2, len(both)), dtype=np.int64)
    np.divmod(both, num_nodes, out=(edges[0], edges[1]))
    return torch.from_numpy(edges).to(device)
