"""Any undirected graph: validated once, held as undirected ends and as CSR with int32 indices."""

from __future__ import annotations

from functools import cached_property
from typing import NoReturn

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.topology.base import Topology, check_backend

# Nodes get an internal order if the ends of an edge are farther apart than this on average:
# about what a second-level cache holds between them.
_FAR = 8192

# Directed edges looked up at once.
_PART = 1 << 22


class Graph(Topology):
    """Undirected graph given by both directions of every edge, as PyG holds it.

    Args:
        edge_index: ``[2, E]`` int64 (source, target); both directions of every edge, once each, no
            self-loops, in any order.
        num_nodes: Number of nodes; at least one more than the largest index.
        batch: Graph number of each node ``[N]`` as in a PyG ``Batch``, non-decreasing
            (default: one graph).
        backend: Kernels to compute with (default: ``"native"``).

    Raises:
        TypeError: If ``edge_index`` or ``batch`` is not an integer tensor.
        ValueError: If ``edge_index`` has the wrong shape, an index out of range, a self-loop, a
            duplicate or a missing reverse edge (the message says which one), or ``batch`` does
            not fit.

    Examples:
        >>> ring = torch.tensor([[0, 1, 1, 2, 2, 0], [1, 0, 2, 1, 0, 2]])
        >>> Graph(ring, num_nodes=3)
        Graph(num_nodes=3, num_edges=3, num_graphs=1, backend='native')
    """

    def __init__(
        self,
        edge_index: Tensor,
        num_nodes: int,
        batch: Tensor | None = None,
        *,
        backend: str = "native",
    ) -> None:
        self.num_nodes = checks.positive_int("num_nodes", num_nodes)
        self.backend = check_backend(backend)
        _check_edge_index(edge_index, num_nodes)
        self._batch, self.num_graphs = _checked_batch(batch, edge_index, num_nodes)
        self._edge_index = edge_index
        pairs = _checked_pairs(edge_index, num_nodes)
        order, indptr, indices = _local_order(pairs, num_nodes)
        self.num_edges = len(indices)
        device = edge_index.device
        self._indptr, self._indices = (torch.from_numpy(a).to(device) for a in (indptr, indices))
        self._order = None if order is None else torch.from_numpy(order).to(device)
        self._cache: dict[str, Tensor] = {}

    def __repr__(self) -> str:
        return (
            f"Graph(num_nodes={self.num_nodes}, num_edges={self.num_edges}, "
            f"num_graphs={self.num_graphs}, backend={self.backend!r})"
        )

    @property
    def edge_index(self) -> Tensor:
        if self._edge_index is None:
            u, v = self.ends
            self._edge_index = torch.stack([torch.cat([u, v]), torch.cat([v, u])])
        return self._edge_index

    @property
    def edge_slot(self) -> Tensor:
        if "edge_slot" not in self._cache:
            self._cache["edge_slot"] = self._find_slots()
        return self._cache["edge_slot"]

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        count = self._indptr.diff().long()
        u = torch.arange(self.num_nodes, device=self.device)
        u = torch.repeat_interleave(u, count, output_size=self.num_edges)
        v = self._indices.long()
        if self._order is None:
            return u, v
        order = self._order.long()
        return order[u], order[v]

    @property
    def node_order(self) -> Tensor | None:
        """Node at each place of the internal order ``[N]`` int32, ``None`` if as numbered.

        Nodes are put in the reverse Cuthill-McKee order where their own numbers join nodes that lie
        far apart in memory, so that kernels find neighbours in the cache. Signals keep the numbers
        of the user; edge slots follow the internal order.
        """
        return self._order

    def upper(self) -> tuple[Tensor, Tensor]:
        """Compressed rows ``(indptr [N + 1], indices [M])`` of each edge once, both int32.

        Row and index are places in :attr:`node_order`, the index is the larger one, and edge slot
        ``e`` is entry ``e``.
        """
        return self._indptr, self._indices

    @property
    def used_slots(self) -> None:
        return None

    @property
    def batch(self) -> Tensor | None:
        """Graph number of each node ``[N]``, or ``None`` for a single graph."""
        return self._batch

    @property
    def device(self) -> torch.device:
        return self._indptr.device

    def repeat(self, copies: int) -> Graph:
        """``copies`` of this graph side by side, as a PyG ``Batch`` of them would be.

        Signals ``[copies, C, N]`` on a small graph are then one signal ``[1, C, copies * N]``, for
        which a kernel is called once.
        """
        checks.positive_int("copies", copies)
        step = torch.arange(copies, device=self.device).repeat_interleave(self.edge_index.shape[1])
        edges = self.edge_index.repeat(1, copies) + step * self.num_nodes
        graphs = torch.arange(copies, device=self.device).repeat_interleave(self.num_nodes)
        if self._batch is not None:
            graphs = graphs * self.num_graphs + self._batch.repeat(copies)
        return Graph(edges, copies * self.num_nodes, graphs, backend=self.backend)

    def in_node_order(self) -> Graph:
        """The same edges in the same slots, nodes renumbered by :attr:`node_order`.

        For many products on one graph: bring signals in order once, ``x[..., node_order]``, and no
        kernel has to.
        """
        if self._order is None:
            return self
        if self._batch is not None:
            raise ValueError("in_node_order is for a single graph, got a batch")
        other = self._copy()
        other._order = other._edge_index = None
        other._cache = {}
        return other

    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        """Compressed rows ``(indptr [N + 1], indices [2M], slot [2M])``; the first two int32.

        ``slot`` is the undirected edge of each entry.
        """
        if "csr_indptr" not in self._cache:
            rows = _numpy(torch.cat(self.ends).int()), _numpy(torch.cat(self.ends[::-1]).int())
            slot = np.tile(np.arange(self.num_edges, dtype=np.int32), 2)
            matrix = _sorted_rows(slot, *rows, self.num_nodes)
            self._cache["csr_indptr"] = torch.from_numpy(matrix.indptr).to(self.device)
            self._cache["csr_indices"] = torch.from_numpy(matrix.indices).to(self.device)
            self._cache["csr_slot"] = torch.from_numpy(matrix.data).to(self.device).long()
        return tuple(self._cache[name] for name in ("csr_indptr", "csr_indices", "csr_slot"))

    def to(self, device: torch.device | str) -> Graph:
        if torch.device(device) == self.device:
            return self
        moved = self._copy()
        for name in ("_edge_index", "_indptr", "_indices", "_order", "_batch"):
            value = getattr(self, name)
            setattr(moved, name, None if value is None else value.to(device))
        moved._cache = {name: value.to(device) for name, value in self._cache.items()}
        return moved

    def with_backend(self, backend: str) -> Graph:
        copy = self._copy()
        copy.backend = check_backend(backend)
        return copy

    @cached_property
    def kernels(self):  # noqa: ANN201 (typed by the base class; the import would be circular)
        from gsp_unroll.ops.backends import graph_kernels

        return graph_kernels(self)

    def graph_sum(self, value: Tensor) -> Tensor:
        if self._batch is None:
            return value.sum(-1, keepdim=True)
        return self._segment_sum(value, self._batch)

    def graph_sum_edges(self, value: Tensor) -> Tensor:
        if self._batch is None:
            return value.sum(-1, keepdim=True)
        return self._segment_sum(value, self._edge_batch())

    def graph_spread(self, value: Tensor) -> Tensor:
        return value if self._batch is None else value.index_select(-1, self._batch)

    def graph_spread_edges(self, value: Tensor) -> Tensor:
        return value if self._batch is None else value.index_select(-1, self._edge_batch())

    def components(self) -> Tensor:
        if "components" not in self._cache:
            indptr, indices = _numpy(self._indptr), _numpy(self._indices)
            ones = np.ones(len(indices), dtype=np.int8)
            upper = csr_array((ones, indices, indptr), shape=(self.num_nodes, self.num_nodes))
            at_place = torch.from_numpy(connected_components(upper, directed=False)[1])
            label = torch.empty(self.num_nodes, dtype=torch.int64)
            order = slice(None) if self._order is None else self._order.cpu().long()
            label[order] = at_place.long()
            self._cache["components"] = label.to(self.device)
        return self._cache["components"]

    def _segment_sum(self, value: Tensor, segment: Tensor) -> Tensor:
        out = value.new_zeros(*value.shape[:-1], self.num_graphs)
        return out.index_add(-1, segment, value)

    def _edge_batch(self) -> Tensor:
        if "edge_batch" not in self._cache:
            self._cache["edge_batch"] = self._batch[self.ends[0]]
        return self._cache["edge_batch"]

    def _find_slots(self) -> Tensor:
        """Slot ``[E]`` of each directed edge by binary search among the sorted edges."""
        n, m = self.num_nodes, self.num_edges
        count = self._indptr.diff().long()
        key = torch.repeat_interleave(
            torch.arange(0, n * n, n, device=self.device), count, output_size=m
        ).add_(self._indices)
        place = None
        if self._order is not None:
            place = torch.empty_like(self._order, dtype=torch.int64)
            place[self._order.long()] = torch.arange(n, device=self.device)
        slot = torch.empty(self.edge_index.shape[1], dtype=torch.int64, device=self.device)
        for part, found in zip(self.edge_index.split(_PART, dim=1), slot.split(_PART), strict=True):
            source, target = part if place is None else place[part]
            wanted = torch.minimum(source, target).mul_(n).add_(torch.maximum(source, target))
            torch.searchsorted(key, wanted, out=found)
            # An edge v -> u feeds row u: the entry W[u, v], the first half of the directed layout.
            found += (source < target) * m
        return slot

    def _copy(self) -> Graph:
        """A copy that skips the checks and shares the tensors."""
        copy = object.__new__(Graph)
        copy.__dict__.update(self.__dict__)
        copy._cache = dict(self._cache)
        copy.__dict__.pop("kernels", None)  # bound to the original
        return copy


def _check_edge_index(edge_index: Tensor, num_nodes: int) -> None:
    """Check all but the pairing of the directions."""
    checks.edges("edge_index", edge_index, num_nodes)
    if max(num_nodes, edge_index.shape[1] // 2) >= 2**31:
        raise ValueError(
            "a graph must have fewer than 2**31 nodes and edges, got "
            f"{num_nodes} nodes and {edge_index.shape[1] // 2} edges"
        )
    loop = edge_index[0] == edge_index[1]
    if bool(loop.any()):
        raise ValueError(
            "edge_index must not contain self-loops, got one in "
            f"{checks.first_edge(edge_index, loop)}; "
            "torch_geometric.utils.remove_self_loops removes them"
        )


def _checked_pairs(edge_index: Tensor, num_nodes: int) -> np.ndarray:
    """Check that both directions of every edge are there once; ``low * N + high`` of each, sorted.

    One sort in place does it all: with the direction as last bit, the two directions of an edge are
    an even number and its successor.
    """
    source, target = (_numpy(end) for end in edge_index)
    key = np.minimum(source, target)
    key *= num_nodes
    key += np.maximum(source, target)
    key *= 2
    key += source > target
    key.sort()
    even = key[::2]
    paired = (
        len(key) % 2 == 0
        and bool((key[1::2] == even + 1).all())
        and not bool((even & 1).any())
        and bool((even[1:] > even[:-1]).all())
    )
    if not paired:
        _explain_pairs(edge_index, num_nodes)
    return even >> 1


def _explain_pairs(edge_index: Tensor, num_nodes: int) -> NoReturn:
    """Name the duplicate, else the edge without its reverse."""
    source, target = edge_index
    key = source * num_nodes + target
    ordered, order = key.sort()
    twice = torch.zeros_like(key, dtype=torch.bool)
    twice[order[1:]] = ordered[1:] == ordered[:-1]
    if bool(twice.any()):
        raise ValueError(
            "edge_index must hold every edge once, got a duplicate in "
            f"{checks.first_edge(edge_index, twice)}; "
            "torch_geometric.utils.coalesce merges duplicates"
        )
    missing = ~torch.isin(target * num_nodes + source, ordered)
    raise ValueError(
        "edge_index must hold both directions of every edge, the reverse is missing of "
        f"{checks.first_edge(edge_index, missing)}; torch_geometric.utils.to_undirected adds it"
    )


def _local_order(
    pairs: np.ndarray, num_nodes: int
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Internal order of the nodes and, in that order, each edge once as compressed rows.

    Returns:
        ``(order, indptr, indices)`` in int32; ``order`` is ``None`` if the nodes stay as they are.
    """
    low, high = _split(pairs, num_nodes)
    far = _mean_distance(low, high)
    if far > _FAR:
        ones = np.ones(2 * len(low), dtype=np.int8)
        both = np.concatenate([low, high]), np.concatenate([high, low])
        adjacency = coo_array((ones, both), shape=(num_nodes, num_nodes)).tocsr()
        del ones, both
        order = np.ascontiguousarray(reverse_cuthill_mckee(adjacency, symmetric_mode=True))
        del adjacency
        place = np.empty(num_nodes, dtype=np.int32)
        place[order] = np.arange(num_nodes, dtype=np.int32)
        low, high = place[low], place[high]
        # An expander has no order with near neighbours.
        if _mean_distance(low, high) < far / 2:
            np.minimum(low, high, out=pairs)
            pairs *= num_nodes
            pairs += np.maximum(low, high)
            pairs.sort()
            low, high = _split(pairs, num_nodes)
            return order, _row_starts(low, num_nodes), high
        low, high = _split(pairs, num_nodes)
    return None, _row_starts(low, num_nodes), high


def _split(pairs: np.ndarray, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.divmod(pairs, num_nodes)
    return low.astype(np.int32), high.astype(np.int32)


def _mean_distance(low: np.ndarray, high: np.ndarray) -> float:
    return float(np.abs(high - low).mean()) if len(low) else 0.0


def _row_starts(rows: np.ndarray, num_nodes: int) -> np.ndarray:
    indptr = np.zeros(num_nodes + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=num_nodes), out=indptr[1:])
    return indptr


def _sorted_rows(data: np.ndarray, row: np.ndarray, col: np.ndarray, size: int) -> csr_array:
    """Compressed rows with sorted columns."""
    matrix = coo_array((data, (row, col)), shape=(size, size)).tocsr()
    matrix.sort_indices()
    return matrix


def _numpy(value: Tensor) -> np.ndarray:
    return value.cpu().numpy()


def _checked_batch(
    batch: Tensor | None, edge_index: Tensor, num_nodes: int
) -> tuple[Tensor | None, int]:
    if batch is None:
        return None, 1
    checks.tensor("batch", batch)
    if batch.dtype != torch.int64:
        raise TypeError(f"batch must be an int64 tensor, got {batch.dtype}")
    checks.shape("batch", batch, [num_nodes])
    checks.same_device(edge_index=edge_index, batch=batch)
    if int(batch[0]) != 0 or bool((batch.diff() < 0).any()) or bool((batch.diff() > 1).any()):
        raise ValueError("batch must count up from 0 without gaps, as in a PyG Batch")
    crossing = batch[edge_index[0]] != batch[edge_index[1]]
    if bool(crossing.any()):
        place = int(crossing.nonzero()[0])
        raise ValueError(
            f"edges must stay inside one graph of the batch, column {place} of edge_index joins "
            f"graphs {int(batch[edge_index[0, place]])} and {int(batch[edge_index[1, place]])}"
        )
    count = int(batch[-1]) + 1
    return (None, 1) if count == 1 else (batch, count)
