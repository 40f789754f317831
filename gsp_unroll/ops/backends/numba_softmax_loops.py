"""Compiled softmax of the edges of a grid, in one pass over its rows.

Arrays and ranges are those of `numba_grid_loops`. What a row needs of the rows before it waits in
rings of ``reach + 1`` lines, which stay in the cache; lines have ``reach`` places on either side
for the neighbours of border pixels. Rows that the next range needs as well are computed by both.

Indices are unsigned: a signed one may be negative, count from the end, and prevent SIMD.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from gsp_unroll.ops.backends.numba_exp import exp_of_nonpositive
from gsp_unroll.ops.backends.numba_rows import FAST, columns, fill, inlined
from gsp_unroll.ops.backends.numba_stream import stream, streams

# Numba's cache on disk looks at this file only: it has to change with what it compiles, see
# tests/ops/test_ops_numba_cache.py.
HELPERS = "70fe655a7268"

_jit = njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")


@_jit
def softmax(offsets, score, w, p_u, first, last):
    """Weights ``w = (p_u + p_v) / 2``, and ``p_u`` if it is not empty.

    With ``p_u = exp(score) / (sum of exp(score) over the edges of u)``, ``p_v`` likewise.
    """
    height, width = score.shape[2:]
    size, reach = offsets.shape[0], offsets[-1, 0]
    ring = reach + 1
    keep = p_u.shape[0] > 0
    past_cache = streams(w) and (streams(p_u) or not keep)
    score, w, p_u = score.reshape(-1), w.reshape(-1), p_u.reshape(-1)
    lowest = np.finfo(w.dtype).min  # finite: without an edge, exp(-inf - top) is 0
    row_w, row_p = np.empty(width, w.dtype), np.empty(width, w.dtype)
    # Whole registers: what is left of a row would be computed one by one.
    wide = (width + 31) // 32 * 32
    line = wide + 2 * reach
    top, share = np.zeros(ring * line, w.dtype), np.zeros(ring * line, w.dtype)
    # One line more, for rows above the image: it has no edges, as what is beside the image.
    lines = ring * size
    none = lines * line + reach
    scores = np.full((lines + 1) * line, -np.inf, w.dtype)
    at_u, at_v = np.zeros((lines + 1) * line, w.dtype), np.zeros((lines + 1) * line, w.dtype)
    while first < last:
        s, begin = first // height, first % height
        end = min(height, begin + last - first)
        first += end - begin
        before = max(0, begin - reach)
        for q in range(max(0, begin - 2 * reach), end + 2 * reach):
            if q < height:
                for k in range(size):
                    a, b = columns(q, offsets[k, 0], offsets[k, 1], height, width)
                    e = ((s * size + k) * height + q) * width
                    i = _edges(q, k, ring, size, line, reach)
                    _load(scores, i, score, e, a, b, wide, -np.inf)
            if before <= q < height:
                i = _node(q, ring, line, reach)
                fill(top[i - reach : i - reach + line], lowest)
                # The half window has an even number of offsets, whatever its size.
                for k in range(0, size, 2):
                    e = _edges(q, k, ring, size, line, reach)
                    a = _other_end(q, k, offsets, ring, line, reach, none)
                    b = _other_end(q, k + 1, offsets, ring, line, reach, none)
                    _largest(top, i, scores, e, e + line, a, b, width)
            r = q - reach
            if before <= r < height:
                i = _node(r, ring, line, reach)
                for k in range(size):
                    e = _edges(r, k, ring, size, line, reach)
                    j = _node(r + offsets[k, 0], ring, line, reach) + offsets[k, 1]
                    _parts(at_u, at_v, scores, e, top, i, j, wide)
            if begin <= r < height:
                i = _node(r, ring, line, reach)
                fill(share[i - reach : i - reach + line], 0)
                for k in range(0, size, 2):
                    e = _edges(r, k, ring, size, line, reach)
                    a = _other_end(r, k, offsets, ring, line, reach, none)
                    b = _other_end(r, k + 1, offsets, ring, line, reach, none)
                    _add_four(share, i, at_u, e, e + line, at_v, a, b, width)
                _one_over(share, i - reach, line)
            r -= reach
            if begin <= r < end:
                i = _node(r, ring, line, reach)
                for k in range(size):
                    out = ((s * size + k) * height + r) * width
                    e = _edges(r, k, ring, size, line, reach)
                    j = _node(r + offsets[k, 0], ring, line, reach) + offsets[k, 1]
                    # Written out for both: a row chosen before the loop takes a tenth more time.
                    if past_cache:
                        _average(row_w, 0, row_p, 0, at_u, at_v, e, share, i, j, width)
                        stream(w, out, row_w)
                        if keep:
                            stream(p_u, out, row_p)
                    else:
                        # The same code whether or not `p_u` is wanted, so that the weights are the
                        # same bit for bit.
                        p, at = (p_u, out) if keep else (row_p, 0)
                        _average(w, out, p, at, at_u, at_v, e, share, i, j, width)


@_jit
def softmax_backward(offsets, g, w, p_u, out, first, last):
    """``(g p_u / 2 - p_u back_u) + (g p_v / 2 - p_v back_v)``.

    With ``p_v = 2 w - p_u`` and, for each node, ``back`` the sum of ``g p / 2`` over its edges.
    """
    height, width = g.shape[2:]
    size, reach = offsets.shape[0], offsets[-1, 0]
    ring, line = reach + 1, width + 2 * reach
    past_cache, row = streams(out), np.empty(width, g.dtype)
    g, w, p_u, out = g.reshape(-1), w.reshape(-1), p_u.reshape(-1), out.reshape(-1)
    back = np.zeros(ring * line, g.dtype)
    # One line more, as in `softmax`.
    lines = ring * size
    none = lines * line + reach
    at_u, at_v = np.zeros((lines + 1) * line, g.dtype), np.zeros((lines + 1) * line, g.dtype)
    while first < last:
        s, begin = first // height, first % height
        end = min(height, begin + last - first)
        first += end - begin
        for q in range(max(0, begin - reach), end + reach):
            if q < height:
                for k in range(size):
                    a, b = columns(q, offsets[k, 0], offsets[k, 1], height, width)
                    i = _edges(q, k, ring, size, line, reach)
                    e = ((s * size + k) * height + q) * width
                    _shares(at_u, at_v, i, g, w, p_u, e, a, b, width)
            if begin <= q < height:
                i = _node(q, ring, line, reach)
                fill(back[i - reach : i - reach + line], 0)
                for k in range(0, size, 2):
                    e = _edges(q, k, ring, size, line, reach)
                    a = _other_end(q, k, offsets, ring, line, reach, none)
                    b = _other_end(q, k + 1, offsets, ring, line, reach, none)
                    _add_four(back, i, at_u, e, e + line, at_v, a, b, width)
            r = q - reach
            if begin <= r < end:
                i = _node(r, ring, line, reach)
                for k in range(size):
                    e = ((s * size + k) * height + r) * width
                    j = _node(r + offsets[k, 0], ring, line, reach) + offsets[k, 1]
                    t = _edges(r, k, ring, size, line, reach)
                    if past_cache:
                        _gradient(row, 0, at_u, at_v, t, w, p_u, e, back, i, j, width)
                        stream(out, e, row)
                    else:
                        _gradient(out, e, at_u, at_v, t, w, p_u, e, back, i, j, width)


@_jit
def softmax_parts(offsets, score, top, at_u, at_v, first, last):
    """``exp(score - top)`` for the top of either end, zero where there is no edge."""
    height, width = top.shape[1:]
    size = offsets.shape[0]
    score, top, at_u, at_v = score.reshape(-1), top.reshape(-1), at_u.reshape(-1), at_v.reshape(-1)
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(size):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = columns(r, dr, dc, height, width)
            e = ((s * size + k) * height + r) * width
            fill(at_u[e : e + width], 0)
            fill(at_v[e : e + width], 0)
            i = number * width + a
            _parts(at_u, at_v, score, e + a, top, i, i + dr * width + dc, b - a)


@inlined
def _node(r, ring, line, reach):
    """Where row ``r`` begins in a ring of lines."""
    return r % ring * line + reach


@inlined
def _edges(r, k, ring, size, line, reach):
    """Where the edges of row ``r`` and offset ``k`` begin in a ring of lines for each offset."""
    return (r % ring * size + k) * line + reach


@inlined
def _load(y, i, x, e, a, b, wide, outside):
    """Copy the columns ``a <= j < b``; ``outside`` elsewhere, whatever is stored there."""
    fill(y[i : i + a], outside)
    fill(y[i + b : i + wide], outside)
    i, e = np.uint64(i + a), np.uint64(e + a)
    for j in range(np.uint64(b - a)):
        y[i + j] = x[e + j]


@inlined
def _other_end(r, k, offsets, ring, line, reach, none):
    """Where the edges of offset ``k`` that end in row ``r`` begin: at the first of these ends."""
    dr, dc = offsets[k, 0], offsets[k, 1]
    return _edges(r - dr, k, ring, offsets.shape[0], line, reach) - dc if r >= dr else none


@inlined
def _largest(y, i, x, a, b, c, d, count):
    """``y = max(y, x_a, x_b, x_c, x_d)``."""
    i, a, b, c, d = np.uint64(i), np.uint64(a), np.uint64(b), np.uint64(c), np.uint64(d)
    for j in range(np.uint64(count)):
        # Unlike `max`, it is vectorised.
        y[i + j] = np.maximum(
            y[i + j],
            np.maximum(np.maximum(x[a + j], x[b + j]), np.maximum(x[c + j], x[d + j])),
        )


@inlined
def _add_four(y, i, u, a, b, v, c, d, count):
    """``y += u_a + u_b + v_c + v_d``."""
    i, a, b, c, d = np.uint64(i), np.uint64(a), np.uint64(b), np.uint64(c), np.uint64(d)
    for j in range(np.uint64(count)):
        y[i + j] += (u[a + j] + u[b + j]) + (v[c + j] + v[d + j])


@inlined
def _one_over(y, i, count):
    """``1 / y``, and 1 where ``y = 0``."""
    i, one = np.uint64(i), y.dtype.type(1)
    for j in range(np.uint64(count)):
        y[i + j] = one / (one if y[i + j] == 0 else y[i + j])


@inlined
def _parts(at_u, at_v, score, e, top, u, v, count):
    e, u, v = np.uint64(e), np.uint64(u), np.uint64(v)
    for j in range(np.uint64(count)):
        at_u[e + j] = exp_of_nonpositive(score[e + j] - top[u + j])
        at_v[e + j] = exp_of_nonpositive(score[e + j] - top[v + j])


@inlined
def _average(w, out, p_u, kept, at_u, at_v, e, share, u, v, count):
    """``p_u = at_u share_u`` and ``w = (p_u + at_v share_v) / 2``."""
    out, kept, e = np.uint64(out), np.uint64(kept), np.uint64(e)
    u, v, half = np.uint64(u), np.uint64(v), w.dtype.type(0.5)
    for j in range(np.uint64(count)):
        p_u[kept + j] = at_u[e + j] * share[u + j]
        w[out + j] = half * (p_u[kept + j] + at_v[e + j] * share[v + j])


@inlined
def _shares(at_u, at_v, i, g, w, p_u, e, a, b, count):
    """``g p_u / 2`` and ``g p_v / 2`` in the columns ``a <= j < b``, zero elsewhere."""
    for y in (at_u, at_v):
        fill(y[i : i + a], 0)
        fill(y[i + b : i + count], 0)
    i, e, half = np.uint64(i + a), np.uint64(e + a), at_u.dtype.type(0.5)
    for j in range(np.uint64(b - a)):
        share = half * p_u[e + j]
        at_u[i + j] = g[e + j] * share
        at_v[i + j] = g[e + j] * (w[e + j] - share)


@inlined
def _gradient(y, i, at_u, at_v, t, w, p_u, e, back, u, v, count):
    i, t, e, u, v = np.uint64(i), np.uint64(t), np.uint64(e), np.uint64(u), np.uint64(v)
    for j in range(np.uint64(count)):
        p = p_u[e + j]
        p_v = w[e + j] + (w[e + j] - p)
        y[i + j] = (at_u[t + j] - p * back[u + j]) + (at_v[t + j] - p_v * back[v + j])
