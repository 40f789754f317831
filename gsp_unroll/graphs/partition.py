"""Cut a graph into compact parts of equal size that few edges join."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, reverse_cuthill_mckee
from torch import Tensor

from gsp_unroll import checks


def partition(edge_index: Tensor, num_nodes: int, parts: int) -> Tensor:
    r"""Part of each node, by recursive bisection along the longest shortest path.

    A set of nodes is split in two between nodes :math:`a` and :math:`b` that lie far apart, by
    :math:`d(a,i)-d(b,i)`, the difference of the distances in edges, at the place that gives both
    sides their share of the nodes. The cut then runs about halfway between :math:`a` and :math:`b`,
    and the next one across it. Only a connected component in which that place lies is cut. Takes a
    time in proportion to edges times the logarithm of ``parts``.

    Args:
        edge_index: ``[2, E]`` int64, both directions of every edge.
        num_nodes: Number of nodes.
        parts: Number of parts, at least 1 and at most ``num_nodes``.

    Returns:
        ``[N]`` int64 in ``[0, parts)``, on the device of ``edge_index``. The sizes of parts differ
        by a node for each halving at most; neighbouring numbers are parts that lie near each other.

    Raises:
        TypeError: If ``edge_index`` is not an int64 tensor.
        ValueError: If ``edge_index`` has the wrong shape or range or lacks the reverse of an edge,
            or ``parts`` is out of range.

    Source: George and Liu, "An Implementation of a Pseudoperipheral Node Finder", ACM TOMS 1979,
    for the ends; level-structure bisection of graphs, Karypis and Kumar, SIAM J. Sci. Comput. 1998.

    Examples:
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> part = partition(path, num_nodes=4, parts=2)
        >>> bool(part[0] == part[1] and part[2] == part[3] and part[1] != part[2])
        True
    """
    checks.positive_int("num_nodes", num_nodes)
    checks.positive_int("parts", parts)
    if parts > num_nodes:
        raise ValueError(f"parts must be at most the number of nodes ({num_nodes}), got {parts}")
    checks.edges("edge_index", edge_index, num_nodes)
    rows, columns = (end.cpu().numpy().astype(np.int32) for end in edge_index)
    # Searches convert what is not float64.
    ones = np.ones(len(rows))
    adjacency = coo_array((ones, (rows, columns)), shape=(num_nodes, num_nodes)).tocsr()
    # The transpose holds the same entries if every edge has both directions.
    reverse = adjacency.T.tocsr()
    same = np.array_equal(adjacency.indptr, reverse.indptr)
    if not same or not np.array_equal(adjacency.indices, reverse.indices):
        raise ValueError(
            "edge_index must hold both directions of every edge, got one of some; "
            "torch_geometric.utils.to_undirected adds the other"
        )
    # Searches find neighbours in the cache.
    order = reverse_cuthill_mckee(adjacency, symmetric_mode=True)
    part = np.empty(num_nodes, dtype=np.int64)
    todo = [(order, adjacency[order][:, order], 0, parts)]
    while todo:
        nodes, inside, first, count = todo.pop()
        if count == 1:
            part[nodes] = first
            continue
        left = count // 2
        order = _halves(inside, len(nodes) * left // count)
        size = len(nodes) * left // count
        for half, start, share in ((order[:size], first, left),
                                   (order[size:], first + left, count - left)):  # fmt: skip
            half = np.sort(half)
            # The last halves need no edges.
            edges = inside[half][:, half] if share > 1 else None
            todo.append((nodes[half], edges, start, share))
    return torch.from_numpy(part).to(edge_index.device)


def cut_share(edge_index: Tensor, part: Tensor) -> float:
    """Share of the edges whose ends lie in different parts; ``1 - 1/parts`` for random parts."""
    if edge_index.shape[1] == 0:
        return 0.0
    return float((part[edge_index[0]] != part[edge_index[1]]).double().mean())


def _halves(adjacency: csr_array, size: int) -> np.ndarray:
    """Nodes in an order of which the first ``size`` are one half."""
    along = _along(adjacency)
    if along is not None:
        return np.argsort(along, kind="stable")
    label = connected_components(adjacency, directed=False)[1]
    order = np.argsort(label, kind="stable")
    ends = np.cumsum(np.bincount(label))
    # The component in which the halves meet.
    split = int(np.searchsorted(ends, size, side="right"))
    first, last = int(ends[split - 1]) if split else 0, int(ends[split])
    if first < size:
        inside = order[first:last]
        order[first:last] = inside[np.argsort(_along(adjacency[inside][:, inside]), kind="stable")]
    return order


def _along(adjacency: csr_array) -> np.ndarray | None:
    """Distance from one end of a connected graph less that from the other, of each node."""
    start = int(np.diff(adjacency.indptr).argmin())
    order, depth = _search(adjacency, start)
    if len(order) < len(depth):
        return None
    there = _search(adjacency, int(order[-1]))[1]
    return there - _search(adjacency, int(there.argmax()))[1]


def _search(adjacency: csr_array, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in the order of a breadth-first search, and the distance of each in edges."""
    order, before = breadth_first_order(adjacency, start, directed=True)
    place = np.empty(adjacency.shape[0], dtype=np.int64)
    place[order] = np.arange(len(order))
    # Nodes come in the order of those that they were found from: levels are ranges.
    found_from = place[before[order[1:]]]
    bounds = [0, 1]
    while bounds[-1] < len(order):
        bounds.append(1 + int(found_from.searchsorted(bounds[-1])))
    depth = np.empty(adjacency.shape[0], dtype=np.int32)
    depth[order] = np.repeat(np.arange(len(bounds) - 1, dtype=np.int32), np.diff(bounds))
    return order, depth
