"""Compiled loops over the edges of a general graph; what they compute is said in `numba_graph`.

Nodes are in the internal order of the graph, cut into chunks of neighbouring places that do not
depend on the number of threads. Edges inside a chunk are visited once and serve both ends; an edge
between two chunks is visited by the chunk of either end (`Edges.cut`). So a chunk writes to nodes
of its own only, in an order of its own, and results do not depend on how many threads there are.

Two layouts. *Rows*: the columns of a node lie side by side in lanes of four, ``[N, 4 B]``; an edge
then touches one or two cache lines for all heads and channels, four numbers for an instruction.
*Planes*: one column after the other, ``[K, N]``, for a single column or one number for each edge
and channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import config, njit
from numba.core.compiler_lock import global_compiler_lock

# No fused multiply-adds: a compiler makes them in one layout and not in the other, and a signal
# would get other rounding errors alone than among others.
_jit = njit(nogil=True, cache=True)

LANES = 4


class Edges(NamedTuple):
    """Each edge once, sorted by the place of its first end, and the chunks of the places.

    Attributes:
        start: First edge of each place ``[N + 1]`` int32.
        end: Second end of each edge ``[M]`` int32, the larger place.
        inner: Where the edges of a place begin to leave its chunk ``[N]`` int32.
        bound: First place of each chunk ``[chunks + 1]`` int64.
        cut: For each chunk where its part of the next three begins ``[chunks + 1]`` int64.
        cut_edge: Edges that come in from earlier chunks, sorted by their second end; int32.
        cut_first: Their first ends.
        cut_second: Their second ends.
    """

    start: np.ndarray
    end: np.ndarray
    inner: np.ndarray
    bound: np.ndarray
    cut: np.ndarray
    cut_edge: np.ndarray
    cut_first: np.ndarray
    cut_second: np.ndarray


class Vectorized:
    """A loop compiled with LLVM's superword-level vectorizer, which Numba leaves off by default.

    It makes one instruction of four equal ones on neighbouring numbers: two to three times faster
    here. The switch is global, so the first call for a dtype holds Numba's own lock.
    """

    def __init__(self, function) -> None:
        self._loop = function
        self._compiled: set[np.dtype] = set()

    def __call__(self, dtype: np.dtype, *arguments: object) -> None:
        """Run the loop, whose numbers are of ``dtype``."""
        if dtype in self._compiled:
            self._loop(*arguments)
            return
        with global_compiler_lock:
            before = config.SLP_VECTORIZE
            config.SLP_VECTORIZE = 1
            try:
                self._loop(*arguments)
            finally:
                config.SLP_VECTORIZE = before
        self._compiled.add(dtype)


# --- between the layouts ------------------------------------------------------------------------


@_jit
def to_rows(place, columns, planes, rows, first, last):
    """``rows[place[i], k] = planes[columns[k], i]``; column -1 is zero."""
    zero = rows.dtype.type(0)
    for i in range(first, last):
        p = place[i] if place.size else i
        for k in range(columns.size):
            rows[p, k] = planes[columns[k], i] if columns[k] >= 0 else zero


@_jit
def from_rows(place, columns, rows, planes, first, last):
    """``planes[columns[k], i] = rows[place[i], k]``; column -1 is dropped."""
    for i in range(first, last):
        p = place[i] if place.size else i
        for k in range(columns.size):
            if columns[k] >= 0:
                planes[columns[k], i] = rows[p, k]


@_jit
def reorder(order, source, target, first, last):
    """``target[k, i] = source[k, order[i]]``."""
    for k in range(source.shape[0]):
        for i in range(first, last):
            target[k, i] = source[k, order[i]]


# --- rows: four lanes at once -------------------------------------------------------------------


@njit(nogil=True)
def _add_flow(w, h0, h1, h2, h3, x, y, e, u, v):
    """``y_u += w_e (x_u - x_v)``."""
    w0, w1, w2, w3 = w[h0, e], w[h1, e], w[h2, e], w[h3, e]
    for k in range(x.shape[1]):
        f0 = w0 * (x[u, k, 0] - x[v, k, 0])
        f1 = w1 * (x[u, k, 1] - x[v, k, 1])
        f2 = w2 * (x[u, k, 2] - x[v, k, 2])
        f3 = w3 * (x[u, k, 3] - x[v, k, 3])
        a0, a1, a2, a3 = y[u, k, 0], y[u, k, 1], y[u, k, 2], y[u, k, 3]
        y[u, k, 0], y[u, k, 1], y[u, k, 2], y[u, k, 3] = a0 + f0, a1 + f1, a2 + f2, a3 + f3


@njit(nogil=True)
def _write_lanes(out, h0, h1, h2, h3, together, e, t0, t1, t2, t3):
    out[h0, e] = t0
    if not together:
        if h1 >= 0:
            out[h1, e] = t1
        if h2 >= 0:
            out[h2, e] = t2
        if h3 >= 0:
            out[h3, e] = t3


@_jit
def _laplacian_rows(edges, heads, w, x, y, chunk):
    h0, h1, h2, h3 = heads[0], heads[1], heads[2], heads[3]
    start, inner, end = edges.start, edges.inner, edges.end
    low, high = edges.bound[chunk], edges.bound[chunk + 1]
    blocks = x.shape[1]
    zero = x.dtype.type(0)
    for u in range(low, high):
        for k in range(blocks):
            y[u, k, 0] = y[u, k, 1] = y[u, k, 2] = y[u, k, 3] = zero
    for u in range(low, high):
        for e in range(start[u], inner[u]):
            v = end[e]
            w0, w1, w2, w3 = w[h0, e], w[h1, e], w[h2, e], w[h3, e]
            for k in range(blocks):
                f0 = w0 * (x[u, k, 0] - x[v, k, 0])
                f1 = w1 * (x[u, k, 1] - x[v, k, 1])
                f2 = w2 * (x[u, k, 2] - x[v, k, 2])
                f3 = w3 * (x[u, k, 3] - x[v, k, 3])
                a0, a1, a2, a3 = y[u, k, 0], y[u, k, 1], y[u, k, 2], y[u, k, 3]
                b0, b1, b2, b3 = y[v, k, 0], y[v, k, 1], y[v, k, 2], y[v, k, 3]
                y[u, k, 0], y[u, k, 1], y[u, k, 2], y[u, k, 3] = a0 + f0, a1 + f1, a2 + f2, a3 + f3
                y[v, k, 0], y[v, k, 1], y[v, k, 2], y[v, k, 3] = b0 - f0, b1 - f1, b2 - f2, b3 - f3
        for e in range(inner[u], start[u + 1]):
            _add_flow(w, h0, h1, h2, h3, x, y, e, u, end[e])
    for j in range(edges.cut[chunk], edges.cut[chunk + 1]):
        _add_flow(w, h0, h1, h2, h3, x, y, edges.cut_edge[j], edges.cut_second[j],
                  edges.cut_first[j])  # fmt: skip


laplacian_rows = Vectorized(_laplacian_rows)


@_jit
def _inner_rows(edges, heads, x, g, out, chunk):
    """``heads``: row of ``out`` of each lane; -1: none. Lanes of one row are added up."""
    h0, h1, h2, h3 = heads[0], heads[1], heads[2], heads[3]
    together = h0 == h1 == h2 == h3
    zero = x.dtype.type(0)
    for u in range(edges.bound[chunk], edges.bound[chunk + 1]):
        for e in range(edges.start[u], edges.start[u + 1]):
            v = edges.end[e]
            t0 = t1 = t2 = t3 = zero
            for k in range(x.shape[1]):
                p0 = (x[u, k, 0] - x[v, k, 0]) * (g[u, k, 0] - g[v, k, 0])
                p1 = (x[u, k, 1] - x[v, k, 1]) * (g[u, k, 1] - g[v, k, 1])
                p2 = (x[u, k, 2] - x[v, k, 2]) * (g[u, k, 2] - g[v, k, 2])
                p3 = (x[u, k, 3] - x[v, k, 3]) * (g[u, k, 3] - g[v, k, 3])
                if together:
                    # Channel by channel, as in a lane of its own.
                    t0 = (((t0 + p0) + p1) + p2) + p3
                else:
                    t0, t1, t2, t3 = t0 + p0, t1 + p1, t2 + p2, t3 + p3
            _write_lanes(out, h0, h1, h2, h3, together, e, t0, t1, t2, t3)


inner_rows = Vectorized(_inner_rows)


@_jit
def _dot_rows(edges, heads, columns, x, flow, out, chunk):
    """``heads`` as in `inner_rows`; ``columns``: row of ``flow`` of each entry, none is -1."""
    h0, h1, h2, h3 = heads[0], heads[1], heads[2], heads[3]
    together = h0 == h1 == h2 == h3
    zero = x.dtype.type(0)
    for u in range(edges.bound[chunk], edges.bound[chunk + 1]):
        for e in range(edges.start[u], edges.start[u + 1]):
            v = edges.end[e]
            t0 = t1 = t2 = t3 = zero
            for k in range(x.shape[1]):
                p0 = (x[u, k, 0] - x[v, k, 0]) * flow[columns[k, 0], e]
                p1 = (x[u, k, 1] - x[v, k, 1]) * flow[columns[k, 1], e]
                p2 = (x[u, k, 2] - x[v, k, 2]) * flow[columns[k, 2], e]
                p3 = (x[u, k, 3] - x[v, k, 3]) * flow[columns[k, 3], e]
                if together:
                    t0 = (((t0 + p0) + p1) + p2) + p3
                else:
                    t0, t1, t2, t3 = t0 + p0, t1 + p1, t2 + p2, t3 + p3
            _write_lanes(out, h0, h1, h2, h3, together, e, t0, t1, t2, t3)


dot_rows = Vectorized(_dot_rows)


@_jit
def _difference_rows(edges, heads, columns, w, x, out, chunk):
    """``columns``: row of ``out`` of each entry; -1: none."""
    h0, h1, h2, h3 = heads[0], heads[1], heads[2], heads[3]
    for u in range(edges.bound[chunk], edges.bound[chunk + 1]):
        for e in range(edges.start[u], edges.start[u + 1]):
            v = edges.end[e]
            w0, w1, w2, w3 = w[h0, e], w[h1, e], w[h2, e], w[h3, e]
            for k in range(x.shape[1]):
                f0 = w0 * (x[u, k, 0] - x[v, k, 0])
                f1 = w1 * (x[u, k, 1] - x[v, k, 1])
                f2 = w2 * (x[u, k, 2] - x[v, k, 2])
                f3 = w3 * (x[u, k, 3] - x[v, k, 3])
                out[columns[k, 0], e] = f0
                if columns[k, 1] >= 0:
                    out[columns[k, 1], e] = f1
                if columns[k, 2] >= 0:
                    out[columns[k, 2], e] = f2
                if columns[k, 3] >= 0:
                    out[columns[k, 3], e] = f3


difference_rows = Vectorized(_difference_rows)


@_jit
def _divergence_rows(edges, heads, columns, w, flow, y, chunk):
    """``columns``: row of ``flow`` of each entry."""
    h0, h1, h2, h3 = heads[0], heads[1], heads[2], heads[3]
    low, high = edges.bound[chunk], edges.bound[chunk + 1]
    zero = y.dtype.type(0)
    for u in range(low, high):
        for k in range(y.shape[1]):
            y[u, k, 0] = y[u, k, 1] = y[u, k, 2] = y[u, k, 3] = zero
    for u in range(low, high):
        for e in range(edges.start[u], edges.start[u + 1]):
            v = edges.end[e]
            w0, w1, w2, w3 = w[h0, e], w[h1, e], w[h2, e], w[h3, e]
            for k in range(y.shape[1]):
                f0, f1 = w0 * flow[columns[k, 0], e], w1 * flow[columns[k, 1], e]
                f2, f3 = w2 * flow[columns[k, 2], e], w3 * flow[columns[k, 3], e]
                a0, a1, a2, a3 = y[u, k, 0], y[u, k, 1], y[u, k, 2], y[u, k, 3]
                y[u, k, 0], y[u, k, 1], y[u, k, 2], y[u, k, 3] = a0 + f0, a1 + f1, a2 + f2, a3 + f3
                if v < high:
                    b0, b1, b2, b3 = y[v, k, 0], y[v, k, 1], y[v, k, 2], y[v, k, 3]
                    y[v, k, 0], y[v, k, 1] = b0 - f0, b1 - f1
                    y[v, k, 2], y[v, k, 3] = b2 - f2, b3 - f3
    for j in range(edges.cut[chunk], edges.cut[chunk + 1]):
        e, v = edges.cut_edge[j], edges.cut_second[j]
        for k in range(y.shape[1]):
            for lane in range(LANES):
                y[v, k, lane] -= w[heads[lane], e] * flow[columns[k, lane], e]


divergence_rows = Vectorized(_divergence_rows)


# --- planes: one column after the other ---------------------------------------------------------
# Work is numbered plane by plane, chunk by chunk.


@njit(nogil=True)
def _plane_and_chunk(edges, number):
    chunks = edges.bound.size - 1
    return number // chunks, number % chunks


@_jit
def laplacian_planes(edges, w, x, y, number):
    k, chunk = _plane_and_chunk(edges, number)
    weight, xk, yk = w[k // (x.shape[0] // w.shape[0])], x[k], y[k]
    low, high = edges.bound[chunk], edges.bound[chunk + 1]
    for u in range(low, high):
        yk[u] = 0
    for u in range(low, high):
        total = yk[u]
        for e in range(edges.start[u], edges.inner[u]):
            v = edges.end[e]
            flow = weight[e] * (xk[u] - xk[v])
            total += flow
            yk[v] -= flow
        for e in range(edges.inner[u], edges.start[u + 1]):
            total += weight[e] * (xk[u] - xk[edges.end[e]])
        yk[u] = total
    for j in range(edges.cut[chunk], edges.cut[chunk + 1]):
        u, v = edges.cut_first[j], edges.cut_second[j]
        yk[v] += weight[edges.cut_edge[j]] * (xk[v] - xk[u])


@_jit
def dot_planes(edges, x, flow, out, number):
    k, chunk = _plane_and_chunk(edges, number)
    xk, fk, yk = x[k], flow[k], out[k]
    for u in range(edges.bound[chunk], edges.bound[chunk + 1]):
        for e in range(edges.start[u], edges.start[u + 1]):
            yk[e] = fk[e] * (xk[u] - xk[edges.end[e]])


@_jit
def difference_planes(edges, w, x, out, number):
    k, chunk = _plane_and_chunk(edges, number)
    weight, xk, yk = w[k // (x.shape[0] // w.shape[0])], x[k], out[k]
    for u in range(edges.bound[chunk], edges.bound[chunk + 1]):
        for e in range(edges.start[u], edges.start[u + 1]):
            yk[e] = weight[e] * (xk[u] - xk[edges.end[e]])


@_jit
def divergence_planes(edges, w, flow, y, number):
    k, chunk = _plane_and_chunk(edges, number)
    weight, fk, yk = w[k // (flow.shape[0] // w.shape[0])], flow[k], y[k]
    low, high = edges.bound[chunk], edges.bound[chunk + 1]
    for u in range(low, high):
        yk[u] = 0
    for u in range(low, high):
        total = yk[u]
        for e in range(edges.start[u], edges.inner[u]):
            value = weight[e] * fk[e]
            total += value
            yk[edges.end[e]] -= value
        for e in range(edges.inner[u], edges.start[u + 1]):
            total += weight[e] * fk[e]
        yk[u] = total
    for j in range(edges.cut[chunk], edges.cut[chunk + 1]):
        e = edges.cut_edge[j]
        yk[edges.cut_second[j]] -= weight[e] * fk[e]


@_jit
def ends_planes(edges, value, at_first, at_second, number):
    k, chunk = _plane_and_chunk(edges, number)
    for u in range(edges.bound[chunk], edges.bound[chunk + 1]):
        for e in range(edges.start[u], edges.start[u + 1]):
            at_first[k, e] = value[k, u]
            at_second[k, e] = value[k, edges.end[e]]


@_jit
def sum_planes(edges, at_first, at_second, y, number):
    k, chunk = _plane_and_chunk(edges, number)
    first, second, yk = at_first[k], at_second[k], y[k]
    low, high = edges.bound[chunk], edges.bound[chunk + 1]
    for u in range(low, high):
        yk[u] = 0
    for u in range(low, high):
        total = yk[u]
        for e in range(edges.start[u], edges.inner[u]):
            total += first[e]
            yk[edges.end[e]] += second[e]
        for e in range(edges.inner[u], edges.start[u + 1]):
            total += first[e]
        yk[u] = total
    for j in range(edges.cut[chunk], edges.cut[chunk + 1]):
        yk[edges.cut_second[j]] += second[edges.cut_edge[j]]


@_jit
def max_planes(edges, w, y, number):
    k, chunk = _plane_and_chunk(edges, number)
    weight, yk = w[k], y[k]
    low, high = edges.bound[chunk], edges.bound[chunk + 1]
    for u in range(low, high):
        yk[u] = -np.inf
    for u in range(low, high):
        for e in range(edges.start[u], edges.start[u + 1]):
            yk[u] = max(yk[u], weight[e])
        for e in range(edges.start[u], edges.inner[u]):
            yk[edges.end[e]] = max(yk[edges.end[e]], weight[e])
    for j in range(edges.cut[chunk], edges.cut[chunk + 1]):
        v = edges.cut_second[j]
        yk[v] = max(yk[v], weight[edges.cut_edge[j]])
