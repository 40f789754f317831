"""Graph kernels in Triton: a program gathers into a few rows of the adjacency, without atomics.

Rows are read as tiles of nodes by neighbours; quantities on edges take one thread each. Programs of
one place and different leading indices (heads, samples) run side by side and share the indices in
the cache. Rows follow the order of the edge slots, so that weights are read nearly in sequence.
"""

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsp_unroll.ops.backends.base import Kernels
from gsp_unroll.ops.backends.rows import rows_of
from gsp_unroll.ops.backends.triton_launch import (
    by_role,
    channels_at_once,
    launch,
    new,
    softmax_results,
)
from gsp_unroll.ops.backends.triton_softmax import finite_or_zero, inverse_or_one, pointers
from gsp_unroll.topology import Graph


class TritonGraphKernels(Kernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of a :class:`~gsp_unroll.topology.Graph`.

    Attributes:
        rows: Nodes of a program (default: 32).
        neighbours: Neighbours of each that are read at once (default: 16).
        edges: Edges of a program (default: 256).
    """

    rows = 32
    neighbours = 16
    edges = 256

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.graph = graph
        index = torch.int32 if 2 * max(graph.num_edges, graph.num_nodes) < 2**31 else torch.int64
        self.ends = tuple(end.to(index) for end in graph.ends)
        rows = rows_of(graph, graph.node_order)
        # Twice the edge, plus one where the node of the row is its second end.
        code = 2 * rows.edge + rows.is_second
        parts = (rows.indptr, rows.node, rows.neighbour, code)
        self.adjacency = tuple(part.to(index) for part in parts)

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        y = new(x.shape, w, x)
        self._rows(_laplacian, x.shape[:-2], w, x, y, x.shape[-2], CHANNELS=channels_at_once(x))
        return y

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        out = new((*x.shape[:-2], self.graph.num_edges), x, g)
        self._edges(_edge_inner, x.shape[:-2], x, g, out, x.shape[-2], ON_EDGES=False)
        return out

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        out = new((*x.shape[:-2], self.graph.num_edges), x, e)
        self._edges(_edge_inner, x.shape[:-2], x, e, out, x.shape[-2], ON_EDGES=True)
        return out

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        out = new((*x.shape[:-1], self.graph.num_edges), w, x)
        self._edges(_difference, x.shape[:-2], w, x, out, x.shape[-2])
        return out

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        y = new((*e.shape[:-1], self.graph.num_nodes), w, e)
        self._rows(_divergence, e.shape[:-2], w, e, y, e.shape[-2], CHANNELS=channels_at_once(e))
        return y

    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        # Plain gathers: torch has the kernel.
        return s.index_select(-1, self.ends[0]), s.index_select(-1, self.ends[1])

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        y = new((*at_u.shape[:-1], self.graph.num_nodes), at_u, at_v)
        self._rows(_sum_ends, at_u.shape[:-1], at_u, at_v, y)
        return y

    def max_ends(self, w: Tensor) -> Tensor:
        y = new((*w.shape[:-1], self.graph.num_nodes), w)
        self._rows(_max_ends, w.shape[:-1], w, y)
        return y

    def edge_softmax(self, score: Tensor, norm: str, keep: bool = True) -> tuple[Tensor, ...]:
        lead = score.shape[:-1]
        top, share = (new((*lead, self.graph.num_nodes), score) for _ in range(2))
        self._rows(_softmax_sums, lead, score, top, share)
        results = softmax_results(score, norm)
        self._edges(_softmax_shares, lead, score, top, share, *by_role(*results), NORM=norm)
        return results

    def edge_softmax_backward(self, g: Tensor, norm: str, w: Tensor, *shares: Tensor) -> Tensor:
        lead = g.shape[: -2 if norm == "directed" else -1]
        back, out = new((*lead, self.graph.num_nodes), g, w), new((*lead, g.shape[-1]), g, w)
        saved = by_role(w, *shares)
        self._rows(_softmax_back, lead, g, *saved, back, NORM=norm)
        self._edges(_softmax_gradient, lead, g, *saved, back, out, NORM=norm)
        return out

    def _rows(
        self,
        kernel: triton.JITFunction,
        lead: Sequence[int],
        *arguments: Tensor | int,
        **constants: int | str,
    ) -> None:
        count, nodes, edges = math.prod(lead), self.graph.num_nodes, self.graph.num_edges
        programs = count * triton.cdiv(nodes, self.rows)
        launch(
            kernel, programs, *self.adjacency, *arguments, count, nodes, edges, ROWS=self.rows,
            NEIGHBOURS=self.neighbours, **constants,
        )  # fmt: skip

    def _edges(
        self,
        kernel: triton.JITFunction,
        lead: Sequence[int],
        *arguments: Tensor | int,
        **constants: int | str,
    ) -> None:
        count, nodes, edges = math.prod(lead), self.graph.num_nodes, self.graph.num_edges
        programs = count * triton.cdiv(edges, self.edges)
        launch(
            kernel, programs, *self.ends, *arguments, count, nodes, edges, EDGES=self.edges,
            **constants,
        )  # fmt: skip


_sizes = ["leads", "nodes", "edges", "channels"]


# --- sums into nodes ------------------------------------------------------------------------------


@triton.jit
def _place(indptr, row_node, leads, nodes, ROWS: tl.constexpr):
    """Leading index, nodes, whether they exist, and where their neighbours start and stop."""
    program = tl.program_id(0)
    row = (program // leads) * ROWS + tl.arange(0, ROWS)
    inside = row < nodes
    node = tl.load(row_node + row, mask=inside, other=0)
    start = tl.load(indptr + row, mask=inside, other=0)
    stop = tl.load(indptr + row + 1, mask=inside, other=0)
    return (program % leads).to(tl.int64), node, inside, start, stop


@triton.jit
def _entries(codes, start, stop, first, NEIGHBOURS: tl.constexpr):
    """Entries from number ``first`` on of each row, ``[ROWS, NEIGHBOURS]``.

    Returns their place, whether they exist, their edge, and whether the node is its second end.
    """
    entry = start[:, None] + first + tl.arange(0, NEIGHBOURS)[None, :]
    used = entry < stop[:, None]
    code = tl.load(codes + entry, mask=used, other=0)
    return entry, used, code >> 1, (code & 1) == 1


@triton.jit(do_not_specialize=_sizes)
def _laplacian(
    indptr, row_node, neighbours, codes, w, x, y, channels, leads, nodes, edges,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, NEIGHBOURS: tl.constexpr,
):  # fmt: skip
    lead, node, inside, start, stop = _place(indptr, row_node, leads, nodes, ROWS)
    longest = tl.max(stop - start)
    w += lead * edges
    for chunk in range(0, channels, CHANNELS):
        # The last chunk may overlap the one before: it computes the same values again.
        plane = (lead * channels + tl.minimum(chunk, channels - CHANNELS)) * nodes
        here, sums = (), ()
        for c in tl.static_range(CHANNELS):
            here += (tl.load(x + plane + c * nodes + node, mask=inside, other=0.0),)
            sums += (tl.zeros([ROWS, NEIGHBOURS], y.dtype.element_ty),)
        for first in range(0, longest, NEIGHBOURS):
            entry, used, slot, _ = _entries(codes, start, stop, first, NEIGHBOURS)
            neighbour = tl.load(neighbours + entry, mask=used, other=0)
            weight = tl.load(w + slot, mask=used, other=0.0)
            more = ()
            for c in tl.static_range(CHANNELS):
                there = tl.load(x + plane + c * nodes + neighbour, mask=used, other=0.0)
                more += (sums[c] + weight * (here[c][:, None] - there),)
            sums = more
        for c in tl.static_range(CHANNELS):
            tl.store(y + plane + c * nodes + node, tl.sum(sums[c], 1), mask=inside)


@triton.jit(do_not_specialize=_sizes)
def _divergence(
    indptr, row_node, neighbours, codes, w, e, y, channels, leads, nodes, edges,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, NEIGHBOURS: tl.constexpr,
):  # fmt: skip
    lead, node, inside, start, stop = _place(indptr, row_node, leads, nodes, ROWS)
    longest = tl.max(stop - start)
    w += lead * edges
    for chunk in range(0, channels, CHANNELS):
        plane = lead * channels + tl.minimum(chunk, channels - CHANNELS)
        sums = ()
        for _ in tl.static_range(CHANNELS):
            sums += (tl.zeros([ROWS, NEIGHBOURS], y.dtype.element_ty),)
        for first in range(0, longest, NEIGHBOURS):
            _entry, used, slot, is_second = _entries(codes, start, stop, first, NEIGHBOURS)
            weight = tl.load(w + slot, mask=used, other=0.0)
            weight = tl.where(is_second, -weight, weight)
            more = ()
            for c in tl.static_range(CHANNELS):
                value = tl.load(e + (plane + c) * edges + slot, mask=used, other=0.0)
                more += (sums[c] + weight * value,)
            sums = more
        for c in tl.static_range(CHANNELS):
            tl.store(y + (plane + c) * nodes + node, tl.sum(sums[c], 1), mask=inside)


@triton.jit(do_not_specialize=_sizes)
def _sum_ends(
    indptr, row_node, neighbours, codes, at_u, at_v, y, leads, nodes, edges, ROWS: tl.constexpr,
    NEIGHBOURS: tl.constexpr,
):  # fmt: skip
    lead, node, inside, start, stop = _place(indptr, row_node, leads, nodes, ROWS)
    total = tl.zeros([ROWS, NEIGHBOURS], y.dtype.element_ty)
    for first in range(0, tl.max(stop - start), NEIGHBOURS):
        _, used, slot, is_second = _entries(codes, start, stop, first, NEIGHBOURS)
        value = tl.load(at_u + lead * edges + slot, mask=used & (is_second == 0), other=0.0)
        value += tl.load(at_v + lead * edges + slot, mask=used & is_second, other=0.0)
        total += value
    tl.store(y + lead * nodes + node, tl.sum(total, 1), mask=inside)


@triton.jit
def _largest(
    codes, w, start, stop, ROWS: tl.constexpr, NEIGHBOURS: tl.constexpr,
    DTYPE: tl.constexpr,
):  # fmt: skip
    """Largest value on the edges of each node."""
    top = tl.full([ROWS, NEIGHBOURS], -float("inf"), DTYPE)
    for first in range(0, tl.max(stop - start), NEIGHBOURS):
        _, used, slot, _ = _entries(codes, start, stop, first, NEIGHBOURS)
        top = tl.maximum(top, tl.load(w + slot, mask=used, other=-float("inf")))
    return tl.max(top, 1)


@triton.jit(do_not_specialize=_sizes)
def _max_ends(
    indptr, row_node, neighbours, codes, w, y, leads, nodes, edges, ROWS: tl.constexpr,
    NEIGHBOURS: tl.constexpr,
):  # fmt: skip
    lead, node, inside, start, stop = _place(indptr, row_node, leads, nodes, ROWS)
    w += lead * edges
    top = _largest(codes, w, start, stop, ROWS, NEIGHBOURS, y.dtype.element_ty)
    tl.store(y + lead * nodes + node, top, mask=inside)


# --- values on edges ------------------------------------------------------------------------------


@triton.jit
def _edge_place(u, v, leads, edges, EDGES: tl.constexpr):
    """Leading index, edges, whether they exist, and their ends."""
    program = tl.program_id(0)
    edge = (program // leads) * EDGES + tl.arange(0, EDGES)
    used = edge < edges
    end_u = tl.load(u + edge, mask=used, other=0)
    end_v = tl.load(v + edge, mask=used, other=0)
    return (program % leads).to(tl.int64), edge, used, end_u, end_v


@triton.jit
def _step(x, u, v, used):
    """``x_u - x_v``."""
    return tl.load(x + u, mask=used, other=0.0) - tl.load(x + v, mask=used, other=0.0)


@triton.jit(do_not_specialize=_sizes)
def _edge_inner(
    u, v, x, g, out, channels, leads, nodes, edges, ON_EDGES: tl.constexpr, EDGES: tl.constexpr
):
    """``sum_c (x_u - x_v) (g_u - g_v)``, or ``sum_c (x_u - x_v) g_c`` if ``g`` is ``ON_EDGES``."""
    lead, edge, used, u, v = _edge_place(u, v, leads, edges, EDGES)
    total = tl.zeros([EDGES], out.dtype.element_ty)
    for c in range(channels):
        plane = lead * channels + c
        if ON_EDGES:
            other = tl.load(g + plane * edges + edge, mask=used, other=0.0)
        else:
            other = _step(g + plane * nodes, u, v, used)
        total += _step(x + plane * nodes, u, v, used) * other
    tl.store(out + lead * edges + edge, total, mask=used)


@triton.jit(do_not_specialize=_sizes)
def _difference(u, v, w, x, out, channels, leads, nodes, edges, EDGES: tl.constexpr):
    lead, edge, used, u, v = _edge_place(u, v, leads, edges, EDGES)
    weight = tl.load(w + lead * edges + edge, mask=used, other=0.0)
    for c in range(channels):
        plane = lead * channels + c
        value = weight * _step(x + plane * nodes, u, v, used)
        tl.store(out + plane * edges + edge, value, mask=used)


# --- edge softmax ---------------------------------------------------------------------------------


@triton.jit(do_not_specialize=_sizes)
def _softmax_sums(
    indptr, row_node, neighbours, codes, score, top, share, leads, nodes, edges, ROWS: tl.constexpr,
    NEIGHBOURS: tl.constexpr,
):  # fmt: skip
    lead, node, inside, start, stop = _place(indptr, row_node, leads, nodes, ROWS)
    score += lead * edges
    most = _largest(codes, score, start, stop, ROWS, NEIGHBOURS, top.dtype.element_ty)
    most = finite_or_zero(most)
    total = tl.zeros([ROWS, NEIGHBOURS], top.dtype.element_ty)
    for first in range(0, tl.max(stop - start), NEIGHBOURS):
        _, used, slot, _ = _entries(codes, start, stop, first, NEIGHBOURS)
        value = tl.load(score + slot, mask=used, other=-float("inf"))
        total += tl.exp(value - most[:, None])
    tl.store(top + lead * nodes + node, most, mask=inside)
    tl.store(share + lead * nodes + node, inverse_or_one(tl.sum(total, 1)), mask=inside)


@triton.jit(do_not_specialize=_sizes)
def _softmax_shares(
    u, v, score, top, share, w, p_u, p_v, leads, nodes, edges, NORM: tl.constexpr,
    EDGES: tl.constexpr,
):  # fmt: skip
    lead, edge, used, u, v = _edge_place(u, v, leads, edges, EDGES)
    top += lead * nodes
    share += lead * nodes
    value = tl.load(score + lead * edges + edge, mask=used, other=0.0)
    at_u = tl.exp(value - tl.load(top + u, mask=used, other=0.0))
    at_u *= tl.load(share + u, mask=used, other=0.0)
    at_v = tl.exp(value - tl.load(top + v, mask=used, other=0.0))
    at_v *= tl.load(share + v, mask=used, other=0.0)
    w, p_u, p_v = pointers(w, p_u, p_v, lead, edges, NORM)
    tl.store(p_u + edge, at_u, mask=used)
    if NORM != "softmax":
        tl.store(p_v + edge, at_v, mask=used)
    if NORM == "softmax":
        tl.store(w + edge, (at_u + at_v) / 2, mask=used)
    if NORM == "symmetric":
        tl.store(w + edge, tl.sqrt(at_u) * tl.sqrt(at_v), mask=used)


@triton.jit
def _parts(g, w, p_u, p_v, slot, used, edges, NORM: tl.constexpr):
    """``(p_u, p_v, part_u, part_v)`` of an edge.

    The parts are the derivatives of the loss along minus the log-sum of either end.
    """
    at_u = tl.load(p_u + slot, mask=used, other=0.0)
    grad = tl.load(g + slot, mask=used, other=0.0)
    if NORM == "softmax":
        at_v = 2 * tl.load(w + slot, mask=used, other=0.0) - at_u
        part_u = grad * at_u / 2
        part_v = grad * at_v / 2
    elif NORM == "symmetric":
        at_v = tl.load(p_v + slot, mask=used, other=0.0)
        part_u = grad * tl.load(w + slot, mask=used, other=0.0) / 2
        part_v = part_u
    else:
        at_v = tl.load(p_v + slot, mask=used, other=0.0)
        part_u = grad * at_u
        part_v = tl.load(g + edges + slot, mask=used, other=0.0) * at_v
    return at_u, at_v, part_u, part_v


@triton.jit(do_not_specialize=_sizes)
def _softmax_back(
    indptr, row_node, neighbours, codes, g, w, p_u, p_v, back, leads, nodes, edges,
    NORM: tl.constexpr, ROWS: tl.constexpr, NEIGHBOURS: tl.constexpr,
):  # fmt: skip
    """Sum of the parts of all edges of each node."""
    lead, node, inside, start, stop = _place(indptr, row_node, leads, nodes, ROWS)
    g += lead * edges * (2 if NORM == "directed" else 1)
    w, p_u, p_v = pointers(w, p_u, p_v, lead, edges, NORM)
    total = tl.zeros([ROWS, NEIGHBOURS], back.dtype.element_ty)
    for first in range(0, tl.max(stop - start), NEIGHBOURS):
        _, used, slot, is_second = _entries(codes, start, stop, first, NEIGHBOURS)
        _, _, part_u, part_v = _parts(g, w, p_u, p_v, slot, used, edges, NORM)
        total += tl.where(is_second, part_v, part_u)
    tl.store(back + lead * nodes + node, tl.sum(total, 1), mask=inside)


@triton.jit(do_not_specialize=_sizes)
def _softmax_gradient(
    u, v, g, w, p_u, p_v, back, out, leads, nodes, edges, NORM: tl.constexpr,
    EDGES: tl.constexpr,
):  # fmt: skip
    lead, edge, used, u, v = _edge_place(u, v, leads, edges, EDGES)
    g += lead * edges * (2 if NORM == "directed" else 1)
    back += lead * nodes
    w, p_u, p_v = pointers(w, p_u, p_v, lead, edges, NORM)
    at_u, at_v, part_u, part_v = _parts(g, w, p_u, p_v, edge, used, edges, NORM)
    total = part_u + part_v - at_u * tl.load(back + u, mask=used, other=0.0)
    total -= at_v * tl.load(back + v, mask=used, other=0.0)
    tl.store(out + lead * edges + edge, total, mask=used)
