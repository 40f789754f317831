"""Compiled pieces of unrolled solvers on a grid: weights with borders, ``L x``, CG, gradients.

The image is one long row here, with zeros around it: the neighbour at ``(dr, dc)`` of pixel ``i``
is ``i + dr width + dc``, and weights are zero where that is not a neighbour.

Names: ``w [K, pad + N]`` weights, ``x, p [C, pad + N + pad]`` signals with borders, ``r, f [C, N]``
signals without (``f`` is 1 on free and 0 on observed pixels), ``work [C * CHUNK]`` memory.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from gsp_unroll.ops.backends.numba_rows import (
    FAST,
    add_scaled,
    at_least,
    clear_outside,
    columns,
    copy,
    dot,
    fill,
    inner,
)

jit = njit(nogil=True, cache=True, fastmath=FAST)

# Pixels at a time: their rows of x, w and the result fit in the first-level cache.
CHUNK = 1024
# Numbers (float32) in a cache line.
LINE = 16


@inner
def border(shifts):
    """Zeros around the image, in whole cache lines: its first pixel starts one if memory does."""
    return -(-shifts[-1] // LINE) * LINE


@inner
def own(system, kept):
    """What was kept for ``system``, or the only one if that is memory to work in."""
    return kept[min(system, kept.shape[0] - 1)]


@inner
def in_turns(index, places):
    """The place of what comes ``index``-th: its own, or one of fewer that are used in turns."""
    return places[index % places.shape[0]]


@inner
def _clear_borders(xs, pad, n):
    """Zeros around signals ``xs [., C, pad + n + pad]``."""
    for k in range(xs.shape[0]):
        for c in range(xs.shape[1]):
            fill(xs[k, c, :pad], 0)
            fill(xs[k, c, pad + n :], 0)


@inner
def begin(x, pad, xs, directions):
    """Put the signal ``x [C, N]`` before the first layer, and zeros around all signals."""
    n = x.shape[1]
    _clear_borders(xs, pad, n)
    for l in range(directions.shape[0]):
        _clear_borders(directions[l], pad, n)
    for c in range(x.shape[0]):
        copy(xs[0, c, pad : pad + n], x[c])


@inner
def carry(l, xs):
    """What layer ``l`` changes: the signal before it, in the place of the one after it."""
    before, after = in_turns(l, xs), in_turns(l + 1, xs)
    if xs.shape[0] > 1:
        for c in range(before.shape[0]):
            copy(after[c], before[c])
    return after


@inner
def load_weights(offsets, weights, height, width, pad, floor, w):
    """Copy ``weights [K, N]`` behind the border; zero where there is no edge, else >= floor."""
    for k in range(offsets.shape[0]):
        fill(w[k, :pad], 0)
        for r in range(height):
            a, b = columns(r, offsets[k, 0], offsets[k, 1], height, width)
            row = w[k, pad + r * width : pad + (r + 1) * width]
            clear_outside(row, a, b)
            at_least(row[a:b], weights[k, r * width + a : r * width + b], floor)


@inner
def laplacian(shifts, pad, w, x, c, first, last, out):
    """``out = (L x)_c`` for the pixels ``first <= i < last``."""
    y = out[: last - first]
    fill(y, 0)
    # The half window has 4, 12, 24, ... offsets, a multiple of four whatever its size. In a grid
    # narrower than the window a shift may be negative, and what is read behind the weights of one
    # offset is the border of the next: zero.
    for k in range(0, shifts.shape[0], 4):
        _add_flows_of_one(
            y, w, x, k, c, pad + first, shifts[k], shifts[k + 1], shifts[k + 2], shifts[k + 3]
        )


@inner
def _flows(wa, wb, x, a, b):
    """Flow from the neighbours at both ends of an offset."""
    return wa * (x - a) + wb * (x - b)


@inner
def _add_flows_of_one(y, w, x, k, c, start, s0, s1, s2, s3):
    """Flow along offsets ``k`` to ``k + 3`` from the neighbours at both ends.

    Unsigned indices: a signed one may be negative, count from the end, and prevent SIMD.
    """
    r0, r1, r2, r3 = np.uint64(k), np.uint64(k + 1), np.uint64(k + 2), np.uint64(k + 3)
    here, channel = np.uint64(start), np.uint64(c)
    a0, b0 = np.uint64(start + s0), np.uint64(start - s0)
    a1, b1 = np.uint64(start + s1), np.uint64(start - s1)
    a2, b2 = np.uint64(start + s2), np.uint64(start - s2)
    a3, b3 = np.uint64(start + s3), np.uint64(start - s3)
    for j in range(np.uint64(y.shape[0])):
        v = x[channel, here + j]
        y[j] += (
            _flows(w[r0, here + j], w[r0, b0 + j], v, x[channel, a0 + j], x[channel, b0 + j])
            + _flows(w[r1, here + j], w[r1, b1 + j], v, x[channel, a1 + j], x[channel, b1 + j])
            + _flows(w[r2, here + j], w[r2, b2 + j], v, x[channel, a2 + j], x[channel, b2 + j])
            + _flows(w[r3, here + j], w[r3, b3 + j], v, x[channel, a3 + j], x[channel, b3 + j])
        )


@inner
def laplacians(shifts, pad, w, x, first, last, out):
    """As `laplacian` for all channels; channel ``c`` of ``out [C * CHUNK]`` from ``c CHUNK`` on."""
    if x.shape[0] == 3:
        fill(out, 0)
        for k in range(0, shifts.shape[0], 4):
            _add_flows_of_three(
                out, w, x, k, pad + first, shifts[k], shifts[k + 1], shifts[k + 2], shifts[k + 3],
                last - first,
            )  # fmt: skip
    else:
        for c in range(x.shape[0]):
            laplacian(shifts, pad, w, x, c, first, last, part(out, c, last - first))


@inner
def part(out, c, count):
    """Channel ``c`` of what `laplacians` returns."""
    return out[c * CHUNK : c * CHUNK + count]


@inner
def _add_flows_of_three(y, w, x, k, start, s0, s1, s2, s3, count):
    """As `_add_flows_of_one` for three channels: each weight is read once.

    The channels of ``y`` are at constant distances, which LLVM needs not compare.
    """
    r0, r1, r2, r3 = np.uint64(k), np.uint64(k + 1), np.uint64(k + 2), np.uint64(k + 3)
    second, third = np.uint64(CHUNK), np.uint64(2 * CHUNK)
    here = np.uint64(start)
    a0, b0 = np.uint64(start + s0), np.uint64(start - s0)
    a1, b1 = np.uint64(start + s1), np.uint64(start - s1)
    a2, b2 = np.uint64(start + s2), np.uint64(start - s2)
    a3, b3 = np.uint64(start + s3), np.uint64(start - s3)
    c0, c1, c2 = np.uint64(0), np.uint64(1), np.uint64(2)
    for j in range(np.uint64(count)):
        x0, x1, x2 = x[c0, here + j], x[c1, here + j], x[c2, here + j]
        u0, u1, u2, u3 = w[r0, here + j], w[r1, here + j], w[r2, here + j], w[r3, here + j]
        v0, v1, v2, v3 = w[r0, b0 + j], w[r1, b1 + j], w[r2, b2 + j], w[r3, b3 + j]
        y[j] += (
            _flows(u0, v0, x0, x[c0, a0 + j], x[c0, b0 + j])
            + _flows(u1, v1, x0, x[c0, a1 + j], x[c0, b1 + j])
            + _flows(u2, v2, x0, x[c0, a2 + j], x[c0, b2 + j])
            + _flows(u3, v3, x0, x[c0, a3 + j], x[c0, b3 + j])
        )
        y[second + j] += (
            _flows(u0, v0, x1, x[c1, a0 + j], x[c1, b0 + j])
            + _flows(u1, v1, x1, x[c1, a1 + j], x[c1, b1 + j])
            + _flows(u2, v2, x1, x[c1, a2 + j], x[c1, b2 + j])
            + _flows(u3, v3, x1, x[c1, a3 + j], x[c1, b3 + j])
        )
        y[third + j] += (
            _flows(u0, v0, x2, x[c2, a0 + j], x[c2, b0 + j])
            + _flows(u1, v1, x2, x[c2, a1 + j], x[c2, b1 + j])
            + _flows(u2, v2, x2, x[c2, a2 + j], x[c2, b2 + j])
            + _flows(u3, v3, x2, x[c2, a3 + j], x[c2, b3 + j])
        )


@inner
def first_direction(r, p, f, a):
    """``r = p = -f a``."""
    for j in range(r.shape[0]):
        r[j] = -f[j] * a[j]
        p[j] = r[j]


@inner
def cg_update(x, r, p, following, f, a, alpha, beta, kappa):
    """``x += alpha p``, ``r -= alpha f (a + kappa p)``, ``following = r + beta p``."""
    for j in range(r.shape[0]):
        x[j] += alpha * p[j]
        r[j] -= alpha * f[j] * (a[j] + kappa * p[j])
        following[j] = r[j] + beta * p[j]


@inner
def _cg_step(shifts, pad, w, x, r, p, following, f, alpha, beta, kappa, work):
    n = r.shape[1]
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        a, b = pad + first, pad + last
        laplacians(shifts, pad, w, p, first, last, work)
        for c in range(r.shape[0]):
            cg_update(
                x[c, a:b], r[c, first:last], p[c, a:b], following[c, a:b], f[c, first:last],
                part(work, c, last - first), alpha, beta, kappa,
            )  # fmt: skip


@inner
def cg(shifts, pad, w, x, r, directions, f, alpha, beta, kappa, work):
    """All CG steps from ``r`` and ``directions[0] = r``.

    With as many ``directions`` as steps each is kept; with two they take turns.
    """
    n, kept = r.shape[1], directions.shape[0]
    for k in range(alpha.shape[0] - 1):
        p, following = directions[k % kept], directions[(k + 1) % kept]
        _cg_step(shifts, pad, w, x, r, p, following, f, alpha[k], beta[k], kappa, work)
    k = alpha.shape[0] - 1
    for c in range(r.shape[0]):
        add_scaled(x[c, pad : pad + n], alpha[k], directions[k % kept][c, pad : pad + n])


@inner
def residual_gradient(gr, gp, q, f):
    """``gr += gp``, ``q = f gr``."""
    for j in range(gr.shape[0]):
        gr[j] += gp[j]
        q[j] = f[j] * gr[j]


@inner
def direction_gradient(gp, gx, a, q, alpha, beta, kappa):
    """``a += kappa q``, ``gp = beta gp + alpha (gx - a)``."""
    for j in range(gp.shape[0]):
        a[j] += kappa * q[j]
        gp[j] = beta * gp[j] + alpha * (gx[j] - a[j])


@inner
def add_inner(shifts, pad, scale, q, p, first, last, gw):
    """``gw_k += scale sum_c (q_u - q_v) (p_u - p_v)``."""
    for k in range(0, shifts.shape[0], 2):
        if q.shape[0] == 3:
            _add_inner_of_three(gw, scale, q, p, k, pad, first, last, shifts[k], shifts[k + 1])
        else:
            for c in range(q.shape[0]):
                _add_two_inner(gw, scale, q, p, k, c, pad, first, last, shifts[k], shifts[k + 1])


@inner
def _add_two_inner(gw, scale, q, p, k, c, pad, first, last, shift, other):
    """Offsets ``k`` and ``k + 1`` of a channel; unsigned indices as in `_add_flows_of_one`."""
    row, next_row, channel = np.uint64(k), np.uint64(k + 1), np.uint64(c)
    out, here = np.uint64(first), np.uint64(pad + first)
    a, b = np.uint64(pad + first + shift), np.uint64(pad + first + other)
    for j in range(np.uint64(last - first)):
        v, h = q[channel, here + j], scale * p[channel, here + j]
        gw[row, out + j] += (v - q[channel, a + j]) * (h - scale * p[channel, a + j])
        gw[next_row, out + j] += (v - q[channel, b + j]) * (h - scale * p[channel, b + j])


@inner
def _add_inner_of_three(gw, scale, q, p, k, pad, first, last, shift, other):
    """As `_add_two_inner` for three channels."""
    row, next_row = np.uint64(k), np.uint64(k + 1)
    out, here = np.uint64(first), np.uint64(pad + first)
    a, b = np.uint64(pad + first + shift), np.uint64(pad + first + other)
    c0, c1, c2 = np.uint64(0), np.uint64(1), np.uint64(2)
    for j in range(np.uint64(last - first)):
        q0, q1, q2 = q[c0, here + j], q[c1, here + j], q[c2, here + j]
        p0, p1, p2 = p[c0, here + j], p[c1, here + j], p[c2, here + j]
        gw[row, out + j] += scale * (
            (q0 - q[c0, a + j]) * (p0 - p[c0, a + j])
            + (q1 - q[c1, a + j]) * (p1 - p[c1, a + j])
            + (q2 - q[c2, a + j]) * (p2 - p[c2, a + j])
        )
        gw[next_row, out + j] += scale * (
            (q0 - q[c0, b + j]) * (p0 - p[c0, b + j])
            + (q1 - q[c1, b + j]) * (p1 - p[c1, b + j])
            + (q2 - q[c2, b + j]) * (p2 - p[c2, b + j])
        )


@inner
def cg_gradient(
    shifts, pad, w, directions, f, alpha, beta, kappa, gx, gr, gp, q, gw, galpha, gbeta, work
):
    """Back through `cg`: from ``gx`` to ``q = f * (gradient of the first residual)``.

    Returns the gradient of ``kappa``. The gradient of the start is ``gx`` itself.
    """
    channels, n = gr.shape
    steps = alpha.shape[0]
    gkappa = alpha[0] * 0
    for c in range(channels):
        fill(gr[c], 0)
        galpha[steps - 1] += dot(gx[c], directions[steps - 1][c, pad : pad + n])
        for j in range(n):
            gp[c, j] = alpha[steps - 1] * gx[c, j]
    for k in range(steps - 2, -1, -1):
        p = directions[k]
        for c in range(channels):
            gbeta[k] += dot(gp[c], p[c, pad : pad + n])
            residual_gradient(gr[c], gp[c], q[c, pad : pad + n], f[c])
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            a, b = pad + first, pad + last
            laplacians(shifts, pad, w, q, first, last, work)
            add_inner(shifts, pad, -alpha[k], q, p, first, last, gw)
            for c in range(channels):
                aq, pp = part(work, c, last - first), p[c, a:b]
                gkappa -= alpha[k] * dot(q[c, a:b], pp)
                direction_gradient(
                    gp[c, first:last], gx[c, first:last], aq, q[c, a:b], alpha[k], beta[k], kappa
                )
                galpha[k] += dot(gx[c, first:last], pp) - dot(aq, pp)
    for c in range(channels):
        residual_gradient(gr[c], gp[c], q[c, pad : pad + n], f[c])
    return gkappa


@inner
def clear_unused(offsets, height, width, gw):
    """Zero where ``gw [K, N]`` holds no edge."""
    for k in range(offsets.shape[0]):
        for r in range(height):
            a, b = columns(r, offsets[k, 0], offsets[k, 1], height, width)
            clear_outside(gw[k, r * width : (r + 1) * width], a, b)
