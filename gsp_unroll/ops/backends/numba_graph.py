"""Graph kernels compiled by Numba: nodes in an order with near neighbours, each edge once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from gsp_unroll.ops.backends import numba_graph_loops as loops
from gsp_unroll.ops.backends.base import Kernels
from gsp_unroll.ops.backends.csr import CSRKernels
from gsp_unroll.ops.backends.memory import compiled_for, empty
from gsp_unroll.ops.backends.threads import even_ranges, run_chunks

if TYPE_CHECKING:
    from gsp_unroll.topology import Graph

# Fewer edges, or copied numbers, than this are not worth a chunk or a thread of their own.
_CHUNK_EDGES, _CHUNK_NUMBERS = 1 << 15, 1 << 16
_LANES = loops.LANES


class NumbaGraphKernels(Kernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of a graph, float32 and float64 on the CPU.

    Signals are copied to the internal order of the graph (:attr:`Graph.node_order`), where the
    neighbours of a node are in the cache, and back. `numba_graph_loops` says what happens there.
    Other dtypes are left to :class:`CSRKernels`. Results do not depend on the number of threads.
    Nothing is compiled before the first call, and then once: the machine code is kept on disk by
    Numba (``NUMBA_CACHE_DIR``).
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.graph = graph
        self._edges = _chunked(*(a.numpy() for a in graph.upper()))
        self._chunks = len(self._edges.bound) - 1
        order = graph.node_order
        self._order = None if order is None else order.numpy()
        # Place of each node; empty if nodes are where their numbers say.
        self._place = np.empty(0 if order is None else len(order), np.int32)
        if order is not None:
            self._place[self._order] = np.arange(len(order), dtype=np.int32)

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        if not self._compiled_for(w, x):
            return self._others.laplacian(w, x)
        planes, weight = _planes(x), _planes(w)
        out = empty(*x.shape, like=x)
        if len(planes) == 1:
            self._on_planes(loops.laplacian_planes, weight, self._in_order(planes), out)
            return out
        for heads, columns in _lanes(len(weight), len(planes) // len(weight)):
            rows = self._to_rows(planes, columns)
            result = np.empty_like(rows)
            self._on_rows(loops.laplacian_rows, _valid(heads), weight, rows, result)
            self._from_rows(result, columns, _planes(out))
        return out

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        if not self._compiled_for(x, g):
            return self._others.edge_inner(x, g)
        x_planes, g_planes = _planes(x), _planes(g)
        out = empty(*x.shape[:-2], self.graph.num_edges, like=x)
        weight = _planes(out)
        for heads, columns in _lanes(len(weight), len(x_planes) // len(weight)):
            rows = self._to_rows(x_planes, columns)
            others = rows if g is x else self._to_rows(g_planes, columns)
            self._on_rows(loops.inner_rows, heads, rows, others, weight)
        return out

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        if not self._compiled_for(x, e):
            return self._others.edge_dot(x, e)
        out = empty(*x.shape[:-2], self.graph.num_edges, like=x)
        planes, flow, systems = _planes(x), _planes(e), _planes(out)
        if len(planes) == 1:
            self._run(loops.dot_planes, 1, self._in_order(planes), flow, systems)
            return out
        for heads, columns in _lanes(len(systems), len(planes) // len(systems)):
            rows = self._to_rows(planes, columns)
            self._on_rows(
                loops.dot_rows, heads, _valid(columns).reshape(-1, _LANES), rows, flow, systems
            )
        return out

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        if not self._compiled_for(w, x):
            return self._others.difference(w, x)
        out = empty(*x.shape[:-1], self.graph.num_edges, like=x)
        planes, weight, flow = _planes(x), _planes(w), _planes(out)
        if len(planes) == 1:
            self._run(loops.difference_planes, 1, weight, self._in_order(planes), flow)
            return out
        for heads, columns in _lanes(len(weight), len(planes) // len(weight)):
            rows, blocks = self._to_rows(planes, columns), columns.reshape(-1, _LANES)
            self._on_rows(loops.difference_rows, _valid(heads), blocks, weight, rows, flow)
        return out

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        if not self._compiled_for(w, e):
            return self._others.divergence(w, e)
        out = empty(*e.shape[:-1], self.graph.num_nodes, like=e)
        flow, weight = _planes(e), _planes(w)
        if len(flow) == 1:
            self._on_planes(loops.divergence_planes, weight, flow, out)
            return out
        for heads, columns in _lanes(len(weight), len(flow) // len(weight)):
            rows = np.empty((self.graph.num_nodes, len(columns) // _LANES, _LANES), flow.dtype)
            self._on_rows(
                loops.divergence_rows,
                _valid(heads),
                _valid(columns).reshape(-1, _LANES),
                weight,
                flow,
                rows,
            )
            self._from_rows(rows, columns, _planes(out))
        return out

    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        if not self._compiled_for(s):
            return self._others.at_ends(s)
        shape = (*s.shape[:-1], self.graph.num_edges)
        at_u, at_v = (empty(*shape, like=s) for _ in range(2))
        first, second = _planes(at_u), _planes(at_v)
        self._run(loops.ends_planes, len(first), self._in_order(_planes(s)), first, second)
        return at_u, at_v

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        if not self._compiled_for(at_u, at_v):
            return self._others.sum_ends(at_u, at_v)
        out = empty(*at_u.shape[:-1], self.graph.num_nodes, like=at_u)
        self._on_planes(loops.sum_planes, _planes(at_u), _planes(at_v), out)
        return out

    def max_ends(self, w: Tensor) -> Tensor:
        if not self._compiled_for(w):
            return self._others.max_ends(w)
        out = empty(*w.shape[:-1], self.graph.num_nodes, like=w)
        self._on_planes(loops.max_planes, _planes(w), out)
        return out

    @cached_property
    def _others(self) -> Kernels:
        """For what the loops are not compiled for."""
        return CSRKernels(self.graph)

    def _compiled_for(self, *values: Tensor) -> bool:
        """Whether the loops can compute with ``values``."""
        return self.graph.num_edges > 0 and compiled_for(*values)

    def _run(self, loop: Callable[..., None], planes: int, *arrays: np.ndarray) -> None:
        """Call ``loop`` for every chunk of every plane."""
        run_chunks(
            lambda number, _: loop(self._edges, *arrays, number),
            ((number, number + 1) for number in range(planes * self._chunks)),
        )

    def _on_planes(self, loop: Callable[..., None], *arguments: np.ndarray | Tensor) -> None:
        """Run ``loop``, whose last argument is a signal to write, and bring that back in order."""
        *arrays, out = arguments
        planes = _planes(out)
        target = planes if self._order is None else np.empty_like(planes)
        self._run(loop, len(planes), *arrays, target)
        if target is not planes:
            self._reorder(self._place, target, planes)

    def _on_rows(self, loop: loops.Vectorized, heads: np.ndarray, *arrays: np.ndarray) -> None:
        dtype = arrays[-1].dtype
        run_chunks(
            lambda chunk, _: loop(dtype, self._edges, heads, *arrays, chunk),
            ((chunk, chunk + 1) for chunk in range(self._chunks)),
        )

    def _in_order(self, planes: np.ndarray) -> np.ndarray:
        """Signals ``[K, N]`` in the internal order."""
        if self._order is None:
            return planes
        out = np.empty_like(planes)
        self._reorder(self._order, planes, out)
        return out

    def _reorder(self, order: np.ndarray, source: np.ndarray, target: np.ndarray) -> None:
        run_chunks(
            lambda first, last: loops.reorder(order, source, target, first, last),
            even_ranges(source.shape[1], _CHUNK_NUMBERS // len(source)),
        )

    def _to_rows(self, planes: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Some columns of ``[K, N]`` as rows ``[N, B, lanes]`` in the internal order."""
        n = planes.shape[1]
        rows = np.empty((n, len(columns)), planes.dtype)
        run_chunks(
            lambda first, last: loops.to_rows(self._place, columns, planes, rows, first, last),
            even_ranges(n, _CHUNK_NUMBERS // len(columns)),
        )
        return rows.reshape(n, -1, _LANES)

    def _from_rows(self, rows: np.ndarray, columns: np.ndarray, planes: np.ndarray) -> None:
        rows = rows.reshape(len(rows), -1)
        run_chunks(
            lambda first, last: loops.from_rows(self._place, columns, rows, planes, first, last),
            even_ranges(len(rows), _CHUNK_NUMBERS // len(columns)),
        )


def _planes(value: Tensor) -> np.ndarray:
    """``[*, L]`` as a contiguous array ``[K, L]``."""
    return value.detach().contiguous().numpy().reshape(-1, value.shape[-1])


def _valid(lanes: np.ndarray) -> np.ndarray:
    """Some lane or column, whose values are not used, for those that are -1."""
    return np.maximum(lanes, 0)


def _lanes(systems: int, channels: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Share the columns of all systems out to lanes; -1 is a lane without a column.

    Lanes are four systems, or four channels of one system, whichever leaves fewer lanes idle.

    Yields:
        For each pass over the edges the system of each lane ``[lanes]`` and the column of each
        entry of a row ``[blocks * lanes]``, numbered ``system * channels + channel``.
    """
    by_system = -(-systems // _LANES) * channels
    by_channel = systems * -(-channels // _LANES)
    lane = np.arange(_LANES)
    if by_system <= by_channel:
        for first in range(0, systems, _LANES):
            heads = np.where(first + lane < systems, first + lane, -1)
            columns = heads * channels + np.arange(channels)[:, None]
            yield heads, np.where(heads < 0, -1, columns).ravel()
    else:
        channel = np.arange(-(-channels // _LANES) * _LANES)
        for system in range(systems):
            columns = np.where(channel < channels, system * channels + channel, -1)
            yield np.full(_LANES, system), columns


def _chunked(start: np.ndarray, end: np.ndarray) -> loops.Edges:
    """Cut the places into chunks of about equally many edges; see `loops.Edges`."""
    nodes, edges = len(start) - 1, len(end)
    chunks = max(1, min(edges // _CHUNK_EDGES, 16 + (edges >> 20), 128))
    bound = np.searchsorted(start, np.arange(chunks + 1) * edges // chunks)
    bound[0], bound[-1] = 0, nodes
    inner = start[1:].copy()
    crossing = []
    for low, high in zip(bound[:-1], bound[1:], strict=True):
        leaves = np.flatnonzero(end[start[low] : start[high]] >= high) + start[low]
        rows = np.searchsorted(start, leaves, side="right") - 1
        inner[low:high] -= np.bincount(rows - low, minlength=high - low).astype(np.int32)
        crossing.append(leaves.astype(np.int32))
    cut_edge = np.concatenate(crossing)
    cut_edge = cut_edge[np.argsort(end[cut_edge], kind="stable")]
    cut_second = end[cut_edge]
    cut_first = (np.searchsorted(start, cut_edge, side="right") - 1).astype(np.int32)
    cut = np.searchsorted(cut_second, bound)
    return loops.Edges(start, end, inner, bound, cut, cut_edge, cut_first, cut_second)
