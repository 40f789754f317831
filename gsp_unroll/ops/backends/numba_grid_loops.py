"""Compiled loops over the rows of a grid; what they compute is said in `numba_grid`.

Arrays are ``x [S, C, H, W]``, ``w [S, K, H, W]``, ``e [S, C, K, H, W]`` with ``S`` independent
systems and ``K`` offsets of the half window. Work is cut by rows: the rows of all systems are
numbered ``0 .. S H``, and each call does ``first <= row < last``. A row of a node quantity gathers
from both ends of each offset and is written by one call only; nothing is added up across calls, so
results do not depend on how the work was cut.

A developer who edits `numba_rows` also touches this file: Numba's cache on disk looks at the file
of the compiled function only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from gsp_unroll.ops.backends.numba_rows import (
    FAST,
    add,
    add_flow,
    add_four_flows,
    add_half_product,
    add_inner,
    add_other_half,
    add_product,
    average_shares,
    clear_outside,
    copy,
    exp_of_nonpositive,
    fill,
    inner,
    larger,
    softmax_row_gradient,
    subtract,
    subtract_product,
    weighted_difference,
)

_jit = njit(nogil=True, cache=True, fastmath=FAST)


@inner
def _columns(row, dr, dc, height, width):
    """Columns ``a <= j < b`` of ``row`` whose pixel ``(row + dr, j + dc)`` is inside the image."""
    if row + dr < 0 or row + dr >= height:
        return 0, 0
    a, b = max(0, -dc), min(width, width - dc)
    return (a, b) if a < b else (0, 0)


@_jit
def laplacian(offsets, w, x, y, first, last):
    height, width = x.shape[2], x.shape[3]
    reach = offsets[-1, 0]
    # Where all neighbours exist: columns left <= j < right of the rows that are not at a border.
    left, right = reach, max(reach, width - reach)
    for number in range(first, last):
        s, r = number // height, number % height
        inner = reach <= r < height - reach and left < right
        for c in range(x.shape[1]):
            clear_outside(y[s, c, r], 0, 0)
            if inner:
                yy, xx = y[s, c, r, left:right], x[s, c, r, left:right]
                # The half window has an even number of offsets, whatever its size.
                for k in range(0, offsets.shape[0], 2):
                    dr, dc = offsets[k, 0], offsets[k, 1]
                    er, ec = offsets[k + 1, 0], offsets[k + 1, 1]
                    add_four_flows(
                        yy, xx,
                        w[s, k, r, left:right], x[s, c, r + dr, left + dc : right + dc],
                        w[s, k, r - dr, left - dc : right - dc],
                        x[s, c, r - dr, left - dc : right - dc],
                        w[s, k + 1, r, left:right], x[s, c, r + er, left + ec : right + ec],
                        w[s, k + 1, r - er, left - ec : right - ec],
                        x[s, c, r - er, left - ec : right - ec],
                    )  # fmt: skip
            for k in range(offsets.shape[0]):
                dr, dc = offsets[k, 0], offsets[k, 1]
                a, b = _columns(r, dr, dc, height, width)
                if not inner and a < b:
                    add_flow(
                        y[s, c, r, a:b], w[s, k, r, a:b],
                        x[s, c, r, a:b], x[s, c, r + dr, a + dc : b + dc],
                    )  # fmt: skip
                elif inner:
                    for j in range(a, min(b, left)):
                        y[s, c, r, j] += w[s, k, r, j] * (x[s, c, r, j] - x[s, c, r + dr, j + dc])
                    for j in range(max(a, right), b):
                        y[s, c, r, j] += w[s, k, r, j] * (x[s, c, r, j] - x[s, c, r + dr, j + dc])
                a, b = _columns(r, -dr, -dc, height, width)
                if not inner and a < b:
                    add_flow(
                        y[s, c, r, a:b], w[s, k, r - dr, a - dc : b - dc],
                        x[s, c, r, a:b], x[s, c, r - dr, a - dc : b - dc],
                    )  # fmt: skip
                elif inner:
                    for j in range(a, min(b, left)):
                        y[s, c, r, j] += w[s, k, r - dr, j - dc] * (
                            x[s, c, r, j] - x[s, c, r - dr, j - dc]
                        )
                    for j in range(max(a, right), b):
                        y[s, c, r, j] += w[s, k, r - dr, j - dc] * (
                            x[s, c, r, j] - x[s, c, r - dr, j - dc]
                        )


@_jit
def difference(offsets, w, x, e, first, last):
    height, width = x.shape[2], x.shape[3]
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            for c in range(x.shape[1]):
                clear_outside(e[s, c, k, r], a, b)
                if a < b:
                    weighted_difference(
                        e[s, c, k, r, a:b], w[s, k, r, a:b],
                        x[s, c, r, a:b], x[s, c, r + dr, a + dc : b + dc],
                    )  # fmt: skip


@_jit
def divergence(offsets, w, e, y, first, last):
    height, width = y.shape[2], y.shape[3]
    for number in range(first, last):
        s, r = number // height, number % height
        for c in range(y.shape[1]):
            clear_outside(y[s, c, r], 0, 0)
            for k in range(offsets.shape[0]):
                dr, dc = offsets[k, 0], offsets[k, 1]
                a, b = _columns(r, dr, dc, height, width)
                if a < b:
                    add_product(y[s, c, r, a:b], w[s, k, r, a:b], e[s, c, k, r, a:b])
                a, b = _columns(r, -dr, -dc, height, width)
                if a < b:
                    subtract_product(
                        y[s, c, r, a:b],
                        w[s, k, r - dr, a - dc : b - dc],
                        e[s, c, k, r - dr, a - dc : b - dc],
                    )


@_jit
def edge_inner(offsets, x, g, out, first, last):
    height, width = x.shape[2], x.shape[3]
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            clear_outside(out[s, k, r], 0, 0)
            if a < b:
                for c in range(x.shape[1]):
                    add_inner(
                        out[s, k, r, a:b],
                        x[s, c, r, a:b], x[s, c, r + dr, a + dc : b + dc],
                        g[s, c, r, a:b], g[s, c, r + dr, a + dc : b + dc],
                    )  # fmt: skip


@_jit
def edge_dot(offsets, x, e, out, first, last):
    height, width = x.shape[2], x.shape[3]
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            clear_outside(out[s, k, r], 0, 0)
            if a < b:
                for c in range(x.shape[1]):
                    add_flow(
                        out[s, k, r, a:b], e[s, c, k, r, a:b],
                        x[s, c, r, a:b], x[s, c, r + dr, a + dc : b + dc],
                    )  # fmt: skip


@_jit
def at_ends(offsets, values, at_u, at_v, first, last):
    height, width = values.shape[1], values.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            clear_outside(at_u[s, k, r], a, b)
            clear_outside(at_v[s, k, r], a, b)
            if a < b:
                copy(at_u[s, k, r, a:b], values[s, r, a:b])
                copy(at_v[s, k, r, a:b], values[s, r + dr, a + dc : b + dc])


@_jit
def sum_ends(offsets, at_u, at_v, y, first, last):
    height, width = y.shape[1], y.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        clear_outside(y[s, r], 0, 0)
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            if a < b:
                add(y[s, r, a:b], at_u[s, k, r, a:b])
            a, b = _columns(r, -dr, -dc, height, width)
            if a < b:
                add(y[s, r, a:b], at_v[s, k, r - dr, a - dc : b - dc])


@_jit
def max_ends(offsets, w, y, first, last):
    height, width = y.shape[1], y.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        fill(y[s, r], -np.inf)
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            if a < b:
                larger(y[s, r, a:b], w[s, k, r, a:b])
            a, b = _columns(r, -dr, -dc, height, width)
            if a < b:
                larger(y[s, r, a:b], w[s, k, r - dr, a - dc : b - dc])


@_jit
def softmax_parts(offsets, score, top, integers, at_u, at_v, first, last):
    """``exp(score - top)`` for the top of either end."""
    height, width = top.shape[1], top.shape[2]
    bits = np.empty(width, integers.dtype)
    power = bits.view(score.dtype)
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            clear_outside(at_u[s, k, r], a, b)
            clear_outside(at_v[s, k, r], a, b)
            if a < b:
                u, v, row = at_u[s, k, r, a:b], at_v[s, k, r, a:b], score[s, k, r, a:b]
                subtract(u, row, top[s, r, a:b])
                exp_of_nonpositive(u, bits, power)
                subtract(v, row, top[s, r + dr, a + dc : b + dc])
                exp_of_nonpositive(v, bits, power)


@_jit
def softmax_finish(offsets, share, p_u, w, first, last):
    """``p_u`` from the part at ``u``; ``w`` from the part at ``v`` that it holds at first."""
    height, width = share.shape[1], share.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            if a < b:
                average_shares(
                    w[s, k, r, a:b], p_u[s, k, r, a:b],
                    share[s, r, a:b], share[s, r + dr, a + dc : b + dc],
                )  # fmt: skip


@_jit
def softmax_back(offsets, g, w, p_u, back, first, last):
    """Per node the sum of ``g p / 2``, with ``p_v = 2 w - p_u``."""
    height, width = back.shape[1], back.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        clear_outside(back[s, r], 0, 0)
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            if a < b:
                add_half_product(back[s, r, a:b], g[s, k, r, a:b], p_u[s, k, r, a:b])
            a, b = _columns(r, -dr, -dc, height, width)
            if a < b:
                q, aa, bb = r - dr, a - dc, b - dc
                add_other_half(
                    back[s, r, a:b], g[s, k, q, aa:bb], w[s, k, q, aa:bb], p_u[s, k, q, aa:bb]
                )


@_jit
def softmax_gradient(offsets, g, w, p_u, back, out, first, last):
    """``p_u (g / 2 - back_u) + p_v (g / 2 - back_v)``."""
    height, width = back.shape[1], back.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = _columns(r, dr, dc, height, width)
            clear_outside(out[s, k, r], a, b)
            if a < b:
                softmax_row_gradient(
                    out[s, k, r, a:b], g[s, k, r, a:b], w[s, k, r, a:b], p_u[s, k, r, a:b],
                    back[s, r, a:b], back[s, r + dr, a + dc : b + dc],
                )  # fmt: skip
