"""Any undirected graph: validated once, held as undirected ends and as CSR with int32 indices."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.topology.base import Topology, check_backend


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
        key = _checked_keys(edge_index, num_nodes)
        source, target = edge_index
        self._edge_index = edge_index
        upward = source < target
        undirected = key[upward].sort().values
        self._u = undirected // num_nodes
        self._v = undirected % num_nodes
        self.num_edges = undirected.numel()
        place = torch.searchsorted(
            undirected, torch.minimum(source, target) * num_nodes + torch.maximum(source, target)
        )
        # An edge v -> u feeds row u: the entry W[u, v], the first half of the directed layout.
        self._slot = torch.where(upward, place + self.num_edges, place)
        self._batch, self.num_graphs = _checked_batch(batch, edge_index, num_nodes)
        self._cache: dict[str, Tensor] = {}

    def __repr__(self) -> str:
        return (
            f"Graph(num_nodes={self.num_nodes}, num_edges={self.num_edges}, "
            f"num_graphs={self.num_graphs}, backend={self.backend!r})"
        )

    @property
    def edge_index(self) -> Tensor:
        return self._edge_index

    @property
    def edge_slot(self) -> Tensor:
        return self._slot

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        return self._u, self._v

    @property
    def used_slots(self) -> None:
        return None

    @property
    def batch(self) -> Tensor | None:
        """Graph number of each node ``[N]``, or ``None`` for a single graph."""
        return self._batch

    @property
    def device(self) -> torch.device:
        return self._edge_index.device

    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        """Compressed rows ``(indptr [N + 1], indices [2M], slot [2M])``; the first two int32.

        ``slot`` is the undirected edge of each entry.
        """
        if "indptr" not in self._cache:
            row = torch.cat([self._u, self._v])
            col = torch.cat([self._v, self._u])
            order = torch.argsort(row * self.num_nodes + col)
            count = torch.bincount(row, minlength=self.num_nodes)
            indptr = torch.zeros(self.num_nodes + 1, dtype=torch.int32, device=self.device)
            indptr[1:] = count.cumsum(0)
            self._cache["indptr"] = indptr
            self._cache["indices"] = col[order].to(torch.int32)
            self._cache["slot"] = order % max(self.num_edges, 1)
        return self._cache["indptr"], self._cache["indices"], self._cache["slot"]

    def to(self, device: torch.device | str) -> Graph:
        if torch.device(device) == self.device:
            return self
        moved = self._copy()
        for name in ("_edge_index", "_u", "_v", "_slot", "_batch"):
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
        """Number of the connected component of each node ``[N]``."""
        if "components" not in self._cache:
            from scipy.sparse import coo_array
            from scipy.sparse.csgraph import connected_components

            u, v = self._u.cpu().numpy(), self._v.cpu().numpy()
            adjacency = coo_array(
                (np.ones(len(u), dtype=np.int8), (u, v)), shape=(self.num_nodes, self.num_nodes)
            )
            label = connected_components(adjacency, directed=False)[1]
            self._cache["components"] = torch.from_numpy(label).long().to(self.device)
        return self._cache["components"]

    def unobserved_component(self, mask: Tensor) -> Tensor | None:
        label = self.components()
        seen = torch.zeros(int(label.max()) + 1, dtype=torch.bool, device=label.device)
        seen[label[mask]] = True
        if bool(seen.all()):
            return None
        return (label == int((~seen).nonzero()[0])).nonzero().squeeze(1)

    def _segment_sum(self, value: Tensor, segment: Tensor) -> Tensor:
        out = value.new_zeros(*value.shape[:-1], self.num_graphs)
        return out.index_add(-1, segment, value)

    def _edge_batch(self) -> Tensor:
        if "edge_batch" not in self._cache:
            self._cache["edge_batch"] = self._batch[self._u]
        return self._cache["edge_batch"]

    def _copy(self) -> Graph:
        """A copy that skips the checks and shares the tensors."""
        copy = object.__new__(Graph)
        copy.__dict__.update(self.__dict__)
        copy._cache = dict(self._cache)
        copy.__dict__.pop("kernels", None)  # bound to the original
        return copy


def _checked_keys(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Check ``edge_index`` and return ``source * num_nodes + target`` of each edge."""
    checks.tensor("edge_index", edge_index)
    if edge_index.dtype != torch.int64:
        raise TypeError(f"edge_index must be an int64 tensor, got {edge_index.dtype}")
    checks.shape("edge_index", edge_index, [2, "E"])
    source, target = edge_index

    def first(bad: Tensor) -> str:
        place = int(bad.nonzero()[0])
        return f"column {place}: ({int(source[place])}, {int(target[place])})"

    outside = (edge_index < 0).any(0) | (edge_index >= num_nodes).any(0)
    if bool(outside.any()):
        raise ValueError(
            f"edge_index must lie in [0, num_nodes) = [0, {num_nodes}), got {first(outside)}"
        )
    loop = source == target
    if bool(loop.any()):
        raise ValueError(
            f"edge_index must not contain self-loops, got one in {first(loop)}; "
            "torch_geometric.utils.remove_self_loops removes them"
        )
    key = source * num_nodes + target
    ordered, order = key.sort()
    twice = torch.zeros_like(loop)
    twice[order[1:]] = ordered[1:] == ordered[:-1]
    if bool(twice.any()):
        raise ValueError(
            f"edge_index must hold every edge once, got a duplicate in {first(twice)}; "
            "torch_geometric.utils.coalesce merges duplicates"
        )
    reverse = target * num_nodes + source
    if key.numel():
        near = torch.searchsorted(ordered, reverse).clamp_(max=key.numel() - 1)
        missing = ordered[near] != reverse
        if bool(missing.any()):
            raise ValueError(
                "edge_index must hold both directions of every edge, the reverse is missing of "
                f"{first(missing)}; torch_geometric.utils.to_undirected adds it"
            )
    return key


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
