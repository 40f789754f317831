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
from gsp_unroll.ops.backends.numba_rows import add, copy, fill, inner, inner_sum, subtract, take

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
    offsets, shifts, height, width, groups, w, x, free, alpha, beta, kappa, out, edges, first, last
):
    """``out [S, C, N]`` from ``w [S, K, N]``, ``x, free [B, C, N]``, ``alpha [heads, ...]``.

    A unit of work is a system and one of ``groups`` parts of its channels;
    ``edges [1, K, pad + N]`` is memory to work in.
    """
    n, pad = height * width, border(shifts)
    heads, layers = alpha.shape[0], alpha.shape[1]
    channels = x.shape[1] // groups
    zero = x.dtype.type(0)
    ww = edges[0]
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
    gw, gx, galpha, gbeta, gkappa, edges, first, last,
):  # fmt: skip
    """Gradients of `glr_forward` for ``g [S, C, N]``, which it runs again.

    ``gw [S, K, N]``, ``gx [S, C, N]``, ``galpha, gbeta [S, layers, steps]`` (zero at first),
    ``gkappa [S, layers]``; ``edges [2, K, pad + N]`` is memory to work in.
    """
    n, pad = height * width, border(shifts)
    heads, layers, steps = alpha.shape
    channels = x.shape[1]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    ww, gww = edges[0], edges[1]
    xs = np.zeros((layers + 1, channels, n + 2 * pad), x.dtype)
    directions = np.zeros((layers, steps, channels, n + 2 * pad), x.dtype)
    q = np.zeros((channels, n + 2 * pad), x.dtype)
    r, gp = np.empty((channels, n), x.dtype), np.empty((channels, n), x.dtype)
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


# Pixels at a time: a row of the flow on edges stays in the first-level cache, while twelve rows
# of weights and of each edge variable come by.
EDGES = 4096


@inner
def _add_flow(e, pad, shift, first, y):
    """Add a flow from the pixels at ``first`` to the far ends of their edges to ``y``."""
    a, b = pad + first, pad + first + e.shape[0]
    add(y[a:b], e)
    take(y[a + shift : b + shift], e)


@inner
def _gtv_first(root, xu, xv, v1, v2, ua):
    """``v1 = |c| - c``, ``v2 = |c| + c``, ``ua = 0`` for ``c = root (xu - xv)``."""
    for j in range(root.shape[0]):
        c = root[j] * (xu[j] - xv[j])
        v1[j] = abs(c) - c
        v2[j] = abs(c) + c
        ua[j] = 0


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
def _gtv_start(
    shifts, pad, root, x, before, state, ratio, total, threshold, r, p, f, e
):  # fmt: skip
    """Update the edges, then ``r = p = f C^T (target - C x)``; the border of ``p`` stays zero.

    Edge variables before: those of ``x`` (``before`` is empty), those of ``state`` (it has no
    channels), or ``before``.
    """
    channels, n = r.shape
    for c in range(channels):
        fill(p[c], 0)
        for first in range(0, n, EDGES):
            last = min(first + EDGES, n)
            a, b = pad + first, pad + last
            flow = e[: last - first]
            for k in range(shifts.shape[0]):
                xu, xv = x[c, a:b], x[c, a + shifts[k] : b + shifts[k]]
                v1, v2 = state[0, c, k, first:last], state[1, c, k, first:last]
                ua = state[2, c, k, first:last]
                if before.shape[0] == 0:
                    _gtv_first(root[k, a:b], xu, xv, v1, v2, ua)
                elif before.shape[1] > 0:
                    copy(v1, before[0, c, k, first:last])
                    copy(v2, before[1, c, k, first:last])
                    copy(ua, before[2, c, k, first:last])
                _gtv_edges(
                    root[k, a:b], xu, xv, v1, v2, ua, ratio, total, threshold, flow
                )  # fmt: skip
                _add_flow(flow, pad, shifts[k], first, p[c])
        for j in range(n):
            r[c, j] = f[c, j] * p[c, pad + j]
            p[c, pad + j] = r[c, j]


@inner
def _load_roots(w, root):
    for k in range(w.shape[0]):
        for j in range(w.shape[1]):
            root[k, j] = np.sqrt(w[k, j])


@jit
def gtv_forward(
    offsets, shifts, height, width, groups, w, x, free, alpha, beta, threshold, ratio, out,
    edges, state, first, last,
):  # fmt: skip
    """As `glr_forward`, with ``threshold`` and ``ratio [layers]`` of the ADMM iterations.

    ``edges [2, K, pad + N]`` and ``state [3, C / groups, K, N]`` are memory to work in.
    """
    n, pad = height * width, border(shifts)
    heads, layers = alpha.shape[0], alpha.shape[1]
    channels = x.shape[1] // groups
    zero, floor = x.dtype.type(0), x.dtype.type(SMALLEST_WEIGHT)
    ww, root = edges[0], edges[1]
    e = np.empty(EDGES, x.dtype)
    xx = np.zeros((channels, n + 2 * pad), x.dtype)
    directions = np.zeros((2, channels, n + 2 * pad), x.dtype)
    r = np.empty((channels, n), x.dtype)
    work = np.empty(CHUNK, x.dtype)
    for unit in range(first, last):
        s, c0 = unit // groups, unit % groups * channels
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, floor, ww)
        _load_roots(ww, root)
        f = free[b, c0 : c0 + channels]
        for c in range(channels):
            copy(xx[c, pad : pad + n], x[b, c0 + c])
        total = zero
        for l in range(layers):
            before = state[:0] if l == 0 else state[:, :0]
            _gtv_start(
                shifts, pad, root, xx, before, state, ratio[l], ratio[l] * total, threshold[l],
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
    gw, gx, galpha, gbeta, gthreshold, gratio, edges, states, first, last,
):  # fmt: skip
    """Gradients of `gtv_forward`, as `glr_backward`, but one channel after the other.

    ``edges [4, K, pad + N]`` and ``states [3 (layers + 1), 1, K, N]`` are memory to work in.
    """
    n, pad, size = height * width, border(shifts), offsets.shape[0]
    heads, layers, steps = alpha.shape
    zero, floor = x.dtype.type(0), x.dtype.type(SMALLEST_WEIGHT)
    ww, root, gww, groot = edges[0], edges[1], edges[2], edges[3]
    e, start_state = np.empty(EDGES, x.dtype), np.empty((3, EDGES), x.dtype)
    xs = np.zeros((layers + 1, 1, n + 2 * pad), x.dtype)
    directions = np.zeros((layers, steps, 1, n + 2 * pad), x.dtype)
    gs = states[3 * layers :]
    back = np.empty(n + 2 * pad, x.dtype)
    q = np.zeros((1, n + 2 * pad), x.dtype)
    r, gp = np.empty((1, n), x.dtype), np.empty((1, n), x.dtype)
    work = np.empty(CHUNK, x.dtype)
    for unit in range(first * x.shape[1], last * x.shape[1]):
        s, c = unit // x.shape[1], unit % x.shape[1]
        b, h = s // heads, s % heads
        f, gxc = free[b, c : c + 1], gx[s, c : c + 1]
        if c == 0:
            load_weights(offsets, w[s], height, width, pad, floor, ww)
            _load_roots(ww, root)
            for k in range(size):
                fill(gww[k], 0)
                fill(groot[k], 0)
        copy(xs[0, 0, pad : pad + n], x[b, c])
        copy(gxc[0], g[s, c])
        total = zero
        for l in range(layers):
            copy(xs[l + 1, 0], xs[l, 0])
            state = states[3 * l : 3 * l + 3]
            before = states[:0] if l == 0 else states[3 * l - 3 : 3 * l]
            _gtv_start(
                shifts, pad, root, xs[l], before, state, ratio[l], ratio[l] * total, threshold[l],
                r, directions[l, 0], f, e,
            )  # fmt: skip
            total = -threshold[l]
            cg(shifts, pad, ww, xs[l + 1], r, directions[l], f, alpha[h, l], beta[h, l], zero, work)
        for t in range(3):
            for k in range(size):
                fill(gs[t, 0, k], 0)
        gtotal = zero
        for l in range(layers - 1, -1, -1):
            cg_gradient(
                shifts, pad, ww, directions[l], f, alpha[h, l], beta[h, l], zero,
                gxc, r, gp, q, gww, galpha[s, l], gbeta[s, l], work,
            )  # fmt: skip
            old, new = states[max(3 * l - 3, 0) : 3 * l], states[3 * l : 3 * l + 3]
            to_old = zero
            fill(back, 0)
            for start in range(0, n, EDGES):
                stop = min(start + EDGES, n)
                here, flow = slice(start, stop), e[: stop - start]
                u = slice(pad + start, pad + stop)
                for k in range(size):
                    v = slice(u.start + shifts[k], u.stop + shifts[k])
                    xu, xv = xs[l, 0, u], xs[l, 0, v]
                    if l == 0:
                        v1, v2 = start_state[0, : stop - start], start_state[1, : stop - start]
                        ua = start_state[2, : stop - start]
                        _gtv_first(root[k, u], xu, xv, v1, v2, ua)
                    else:
                        v1, v2, ua = old[0, 0, k, here], old[1, 0, k, here], old[2, 0, k, here]
                    g1, g2, ga = gs[0, 0, k, here], gs[1, 0, k, here], gs[2, 0, k, here]
                    gradients = _gtv_edges_gradient(
                        root[k, u], xu, xv, q[0, u], q[0, v], v1, v2, ua,
                        new[0, 0, k, here], new[1, 0, k, here], new[2, 0, k, here],
                        ratio[l], threshold[l], g1, g2, ga, groot[k, here], flow,
                    )  # fmt: skip
                    gtotal += gradients[0]
                    to_old += gradients[1]
                    gthreshold[s, l] += gradients[2]
                    gratio[s, l] += gradients[3]
                    _add_flow(flow, pad, shifts[k], start, back)
                    if l == 0:
                        _gtv_first_gradient(root[k, u], xu, xv, g1, g2, groot[k, here], flow)
                        _add_flow(flow, pad, shifts[k], start, back)
            add(gxc[0], back[pad : pad + n])
            # The new total is -threshold; the old one, zero at first, was scaled by the ratio.
            gthreshold[s, l] -= gtotal
            if l > 0:
                gratio[s, l] -= to_old * threshold[l - 1]
            gtotal = ratio[l] * to_old
        if c == x.shape[1] - 1:
            for k in range(size):
                _add_root_gradient(ww[k], w[s, k], root[k, pad:], groot[k], floor, gww[k, :n])
            store_weight_gradient(offsets, height, width, gww, gw[s])
