"""Compiled unrolled solvers on a grid: one call runs all layers of one head of one image in cache.

Layout and names as in `numba_cg_loops`; ``e [K, pad + N]`` is a flow on edges. Each system (a head
of an image) has its own scratch memory and is computed by one thread from beginning to end.
"""

from __future__ import annotations

import numpy as np

from gsp_unroll.ops.backends.base import SMALLEST_WEIGHT
from gsp_unroll.ops.backends.numba_cg_loops import (
    CHUNK,
    add_inner,
    border,
    cg,
    cg_gradient,
    first_direction,
    jit,
    laplacian,
    load_weights,
    store_weight_gradient,
)
from gsp_unroll.ops.backends.numba_rows import add, copy, fill, inner, inner_sum, subtract

# --- graph Laplacian regulariser ------------------------------------------------------------------


@inner
def _glr_start(shifts, pad, w, x, r, p, f, work):
    """``r = p = -f L x``."""
    n = r.shape[1]
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        for c in range(r.shape[0]):
            laplacian(shifts, pad, w, x, c, first, last, work)
            first_direction(
                r[c, first:last], p[c, pad + first : pad + last], f[c, first:last],
                work[: last - first],
            )  # fmt: skip


@jit
def glr_forward(
    offsets, shifts, height, width, groups, w, x, free, alpha, beta, kappa, out, first, last
):
    """``out [S, C, N]`` from ``w [S, K, N]``, ``x, free [B, C, N]``, ``alpha [heads, ...]``.

    A unit of work is a system and one of ``groups`` parts of its channels.
    """
    n, pad = height * width, border(shifts)
    heads, layers = alpha.shape[0], alpha.shape[1]
    channels = x.shape[1] // groups
    zero = x.dtype.type(0)
    ww = np.empty((offsets.shape[0], pad + n), x.dtype)
    xx = np.zeros((channels, n + 2 * pad), x.dtype)
    directions = np.zeros((2, channels, n + 2 * pad), x.dtype)
    r = np.empty((channels, n), x.dtype)
    work = np.empty(CHUNK, x.dtype)
    for unit in range(first, last):
        s, c0 = unit // groups, unit % groups * channels
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, zero, ww)
        f = free[b, c0 : c0 + channels]
        for c in range(channels):
            copy(xx[c, pad : pad + n], x[b, c0 + c])
        for l in range(layers):
            _glr_start(shifts, pad, ww, xx, r, directions[0], f, work)
            cg(shifts, pad, ww, xx, r, directions, f, alpha[h, l], beta[h, l], kappa[l], work)
        for c in range(channels):
            copy(out[s, c0 + c], xx[c, pad : pad + n])


@jit
def glr_backward(
    offsets, shifts, height, width, w, x, free, alpha, beta, kappa, g,
    gw, gx, galpha, gbeta, gkappa, first, last,
):  # fmt: skip
    """Gradients of `glr_forward` for ``g [S, C, N]``, which it runs again.

    ``gw [S, K, N]``, ``gx [S, C, N]``, ``galpha, gbeta [S, layers, steps]`` (zero at first),
    ``gkappa [S, layers]``.
    """
    n, pad = height * width, border(shifts)
    heads, layers, steps = alpha.shape
    channels = x.shape[1]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    ww = np.empty((offsets.shape[0], pad + n), x.dtype)
    xs = np.zeros((layers + 1, channels, n + 2 * pad), x.dtype)
    directions = np.zeros((layers, steps, channels, n + 2 * pad), x.dtype)
    q = np.zeros((channels, n + 2 * pad), x.dtype)
    r, gp = np.empty((channels, n), x.dtype), np.empty((channels, n), x.dtype)
    gww = np.empty((offsets.shape[0], n + pad), x.dtype)
    work = np.empty(CHUNK, x.dtype)
    for s in range(first, last):
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, zero, ww)
        for c in range(channels):
            copy(xs[0, c, pad : pad + n], x[b, c])
            copy(gx[s, c], g[s, c])
        for l in range(layers):
            for c in range(channels):
                copy(xs[l + 1, c], xs[l, c])
            _glr_start(shifts, pad, ww, xs[l], r, directions[l, 0], free[b], work)
            cg(
                shifts, pad, ww, xs[l + 1], r, directions[l], free[b],
                alpha[h, l], beta[h, l], kappa[l], work,
            )  # fmt: skip
        for k in range(offsets.shape[0]):
            fill(gww[k], 0)
        for l in range(layers - 1, -1, -1):
            gkappa[s, l] = cg_gradient(
                shifts, pad, ww, directions[l], free[b], alpha[h, l], beta[h, l], kappa[l],
                gx[s], r, gp, q, gww, galpha[s, l], gbeta[s, l], work,
            )  # fmt: skip
            # The first residual is -f L x.
            for start in range(0, n, CHUNK):
                stop = min(start + CHUNK, n)
                for c in range(channels):
                    laplacian(shifts, pad, ww, q, c, start, stop, work)
                    subtract(gx[s, c, start:stop], gx[s, c, start:stop], work[: stop - start])
                    add_inner(shifts, pad, -one, q, xs[l], c, start, stop, gww)
        store_weight_gradient(offsets, height, width, gww, gw[s])


# --- graph total variation ------------------------------------------------------------------------


@inner
def _divergence(shifts, pad, e, y):
    """``y_i = sum_k e_k(i) - e_k(i - shift)``."""
    n = y.shape[0]
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        fill(y[first:last], 0)
        for k in range(shifts.shape[0]):
            a, b = pad + first, pad + last
            _add_difference(y[first:last], e[k, a:b], e[k, a - shifts[k] : b - shifts[k]])


@inner
def _add_difference(y, a, b):
    for j in range(y.shape[0]):
        y[j] += a[j] - b[j]


@inner
def _gtv_first(root, xu, xv, v1, v2, ua):
    """``v1 = |c| - c``, ``v2 = |c| + c``, ``ua = 0`` for ``c = root (xu - xv)``."""
    for j in range(root.shape[0]):
        c = root[j] * (xu[j] - xv[j])
        v1[j] = abs(c) - c
        v2[j] = abs(c) + c
        ua[j] = 0


@inner
def _gtv_first_state(shifts, pad, root, x, state):
    """`_gtv_first` on all edges of all channels."""
    n = state.shape[3]
    for c in range(state.shape[1]):
        for k in range(shifts.shape[0]):
            _gtv_first(
                root[k, pad:], x[c, pad : pad + n], x[c, pad + shifts[k] : pad + n + shifts[k]],
                state[0, c, k], state[1, c, k], state[2, c, k],
            )  # fmt: skip


@inner
def _rescaled(v, ratio):
    return v if v >= 0 else ratio * v


@inner
def _gtv_edges(root, xu, xv, v1, v2, ua, ratio, total, threshold, e):
    """Update the edge variables in place; ``e`` is the flow whose divergence is the residual."""
    half = root.dtype.type(0.5)
    for j in range(root.shape[0]):
        c = root[j] * (xu[j] - xv[j])
        a, b, u = _rescaled(v1[j], ratio), _rescaled(v2[j], ratio), ratio * ua[j]
        z = half * (abs(a) + abs(b) - total) - threshold
        a2 = half * (z - c + a + u)
        b2 = half * (z + c + b + total - u)
        u2 = a2 - (a if a > 0 else 0 * a)
        v1[j] = a2
        v2[j] = b2
        ua[j] = u2
        e[j] = root[j] * (u2 + half * threshold - half * (abs(a2) - abs(b2)) - c)


@inner
def _gtv_start(shifts, pad, root, x, state, ratio, total, threshold, r, p, f, e):
    """Update the edges, then ``r = p = f C^T (target - C x)``."""
    n = r.shape[1]
    for c in range(r.shape[0]):
        xu = x[c, pad : pad + n]
        for k in range(shifts.shape[0]):
            _gtv_edges(
                root[k, pad:], xu, x[c, pad + shifts[k] : pad + n + shifts[k]],
                state[0, c, k], state[1, c, k], state[2, c, k], ratio, total, threshold,
                e[k, pad:],
            )  # fmt: skip
        _divergence(shifts, pad, e, r[c])
        for j in range(n):
            r[c, j] *= f[c, j]
            p[c, pad + j] = r[c, j]


@inner
def _load_roots(w, root):
    for k in range(w.shape[0]):
        for j in range(w.shape[1]):
            root[k, j] = np.sqrt(w[k, j])


@jit
def gtv_forward(
    offsets, shifts, height, width, groups, w, x, free, alpha, beta, threshold, ratio, out,
    first, last,
):  # fmt: skip
    """As `glr_forward`, with ``threshold`` and ``ratio [layers]`` of the ADMM iterations."""
    n, pad, size = height * width, border(shifts), offsets.shape[0]
    heads, layers = alpha.shape[0], alpha.shape[1]
    channels = x.shape[1] // groups
    zero, floor = x.dtype.type(0), x.dtype.type(SMALLEST_WEIGHT)
    ww, root = np.empty((size, pad + n), x.dtype), np.empty((size, pad + n), x.dtype)
    e = np.zeros((size, pad + n), x.dtype)
    xx = np.zeros((channels, n + 2 * pad), x.dtype)
    directions = np.zeros((2, channels, n + 2 * pad), x.dtype)
    r = np.empty((channels, n), x.dtype)
    state = np.empty((3, channels, size, n), x.dtype)
    work = np.empty(CHUNK, x.dtype)
    for unit in range(first, last):
        s, c0 = unit // groups, unit % groups * channels
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, floor, ww)
        _load_roots(ww, root)
        f = free[b, c0 : c0 + channels]
        for c in range(channels):
            copy(xx[c, pad : pad + n], x[b, c0 + c])
        _gtv_first_state(shifts, pad, root, xx, state)
        total = zero
        for l in range(layers):
            _gtv_start(
                shifts, pad, root, xx, state, ratio[l], ratio[l] * total, threshold[l],
                r, directions[0], f, e,
            )  # fmt: skip
            total = -threshold[l]
            cg(shifts, pad, ww, xx, r, directions, f, alpha[h, l], beta[h, l], zero, work)
        for c in range(channels):
            copy(out[s, c0 + c], xx[c, pad : pad + n])


@inner_sum
def _gtv_edges_gradient(
    root, xu, xv, qu, qv, v1, v2, ua, n1, n2, na, ratio, threshold, g1, g2, ga, groot, e
):
    """Back through `_gtv_edges`; ``g1, g2, ga`` hold the gradient of the new state, then the old.

    Returns the gradients of: the new total, the old total, the threshold, the ratio.
    """
    half, zero, one = root.dtype.type(0.5), root.dtype.type(0), root.dtype.type(1)
    to_new, to_old, to_threshold, to_ratio = zero, zero, zero, zero
    for j in range(root.shape[0]):
        dx, dq = xu[j] - xv[j], qu[j] - qv[j]
        c = root[j] * dx
        a, b = _rescaled(v1[j], ratio), _rescaled(v2[j], ratio)
        target = na[j] + half * threshold - half * (abs(n1[j]) - abs(n2[j]))
        gt = root[j] * dq
        s1 = one if n1[j] > 0 else (-one if n1[j] < 0 else zero)
        s2 = one if n2[j] > 0 else (-one if n2[j] < 0 else zero)
        gu = ga[j] + gt
        ga1 = g1[j] - half * s1 * gt + gu
        ga2 = g2[j] + half * s2 * gt
        gz = half * (ga1 + ga2)
        gc = half * (ga2 - ga1) - gt
        sa = one if a > 0 else (-one if a < 0 else zero)
        sb = one if b > 0 else (-one if b < 0 else zero)
        back1 = half * (ga1 + gz * sa) - (gu if a >= 0 else zero)
        back2 = half * (ga2 + gz * sb)
        backa = half * (ga1 - ga2)
        to_new -= half * gt
        to_old += half * (ga2 - gz)
        to_threshold -= gz
        low1, low2 = v1[j] < 0, v2[j] < 0
        to_ratio += (
            (back1 * v1[j] if low1 else zero) + (back2 * v2[j] if low2 else zero) + backa * ua[j]
        )
        g1[j] = ratio * back1 if low1 else back1
        g2[j] = ratio * back2 if low2 else back2
        ga[j] = ratio * backa
        groot[j] += dq * (target - c) + gc * dx
        e[j] = root[j] * gc
    return to_new, to_old, to_threshold, to_ratio


@inner
def _gtv_first_gradient(root, xu, xv, g1, g2, groot, e):
    one, zero = root.dtype.type(1), root.dtype.type(0)
    for j in range(root.shape[0]):
        dx = xu[j] - xv[j]
        c = root[j] * dx
        sign = one if c > 0 else (-one if c < 0 else zero)
        gc = g1[j] * (sign - one) + g2[j] * (sign + one)
        groot[j] += gc * dx
        e[j] = root[j] * gc


@inner
def _add_root_gradient(w, weights, root, groot, floor, gw):
    """``gw += groot / (2 root)`` where the weight was not raised to the smallest one."""
    half, zero = root.dtype.type(0.5), root.dtype.type(0)
    for j in range(gw.shape[0]):
        gw[j] = half * groot[j] / root[j] + gw[j] if root[j] > 0 and weights[j] >= floor else zero


@jit
def gtv_backward(
    offsets, shifts, height, width, w, x, free, alpha, beta, threshold, ratio, g,
    gw, gx, galpha, gbeta, gthreshold, gratio, first, last,
):  # fmt: skip
    """Gradients of `gtv_forward`, as `glr_backward`."""
    n, pad, size = height * width, border(shifts), offsets.shape[0]
    heads, layers, steps = alpha.shape
    channels = x.shape[1]
    zero, floor = x.dtype.type(0), x.dtype.type(SMALLEST_WEIGHT)
    ww, root = np.empty((size, pad + n), x.dtype), np.empty((size, pad + n), x.dtype)
    e = np.zeros((size, pad + n), x.dtype)
    xs = np.zeros((layers + 1, channels, n + 2 * pad), x.dtype)
    directions = np.zeros((layers, steps, channels, n + 2 * pad), x.dtype)
    states = np.empty((layers + 1, 3, channels, size, n), x.dtype)
    gs = np.empty((3, channels, size, n), x.dtype)
    q = np.zeros((channels, n + 2 * pad), x.dtype)
    r, gp = np.empty((channels, n), x.dtype), np.empty((channels, n), x.dtype)
    gww, groot = np.empty((size, n), x.dtype), np.empty((size, n), x.dtype)
    work = np.empty(CHUNK, x.dtype)
    totals = np.zeros(layers + 1, x.dtype)
    for l in range(layers):
        totals[l + 1] = -threshold[l]
    for s in range(first, last):
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, floor, ww)
        _load_roots(ww, root)
        for c in range(channels):
            copy(xs[0, c, pad : pad + n], x[b, c])
            copy(gx[s, c], g[s, c])
        _gtv_first_state(shifts, pad, root, xs[0], states[0])
        for l in range(layers):
            for c in range(channels):
                copy(xs[l + 1, c], xs[l, c])
                for k in range(size):
                    for t in range(3):
                        copy(states[l + 1, t, c, k], states[l, t, c, k])
            _gtv_start(
                shifts, pad, root, xs[l], states[l + 1], ratio[l], ratio[l] * totals[l],
                threshold[l], r, directions[l, 0], free[b], e,
            )  # fmt: skip
            cg(
                shifts, pad, ww, xs[l + 1], r, directions[l], free[b],
                alpha[h, l], beta[h, l], zero, work,
            )  # fmt: skip
        for k in range(size):
            fill(gww[k], 0)
            fill(groot[k], 0)
            for c in range(channels):
                for t in range(3):
                    fill(gs[t, c, k], 0)
        gtotal = zero
        for l in range(layers - 1, -1, -1):
            cg_gradient(
                shifts, pad, ww, directions[l], free[b], alpha[h, l], beta[h, l], zero,
                gx[s], r, gp, q, gww, galpha[s, l], gbeta[s, l], work,
            )  # fmt: skip
            old, new = states[l], states[l + 1]
            to_old = zero
            for c in range(channels):
                for k in range(size):
                    i = shifts[k]
                    gradients = _gtv_edges_gradient(
                        root[k, pad:],
                        xs[l, c, pad : pad + n], xs[l, c, pad + i : pad + n + i],
                        q[c, pad : pad + n], q[c, pad + i : pad + n + i],
                        old[0, c, k], old[1, c, k], old[2, c, k],
                        new[0, c, k], new[1, c, k], new[2, c, k], ratio[l], threshold[l],
                        gs[0, c, k], gs[1, c, k], gs[2, c, k], groot[k], e[k, pad:],
                    )  # fmt: skip
                    gtotal += gradients[0]
                    to_old += gradients[1]
                    gthreshold[s, l] += gradients[2]
                    gratio[s, l] += gradients[3]
                _divergence(shifts, pad, e, r[c])
                add(gx[s, c], r[c])
            # The new total is -threshold; the old one was scaled by the ratio.
            gthreshold[s, l] -= gtotal
            gratio[s, l] += to_old * totals[l]
            gtotal = ratio[l] * to_old
        for c in range(channels):
            for k in range(size):
                i = shifts[k]
                _gtv_first_gradient(
                    root[k, pad:], xs[0, c, pad : pad + n], xs[0, c, pad + i : pad + n + i],
                    gs[0, c, k], gs[1, c, k], groot[k], e[k, pad:],
                )  # fmt: skip
            _divergence(shifts, pad, e, r[c])
            add(gx[s, c], r[c])
        for k in range(size):
            _add_root_gradient(ww[k], w[s, k], root[k, pad:], groot[k], floor, gww[k])
        store_weight_gradient(offsets, height, width, gww, gw[s])
