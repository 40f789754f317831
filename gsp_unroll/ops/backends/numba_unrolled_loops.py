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
    clear_unused,
    first_direction,
    jit,
    laplacian,
    load_weights,
)
from gsp_unroll.ops.backends.numba_rows import (
    add,
    copy,
    fill,
    inner,
    inner_sum,
    multiply,
    roots,
    subtract,
    take,
    weighted_difference,
)

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
    ``gkappa [S, layers]``; ``edges [1, K, pad + N]`` is memory to work in.
    """
    n, pad = height * width, border(shifts)
    heads, layers, steps = alpha.shape
    channels = x.shape[1]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    ww = edges[0]
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
            fill(gw[s, k], 0)
        for l in range(layers - 1, -1, -1):
            gkappa[s, l] = cg_gradient(
                shifts, pad, ww, directions[l], free[b], alpha[h, l], beta[h, l], kappa[l],
                gx[s], r, gp, q, gw[s], galpha[s, l], gbeta[s, l], work,
            )  # fmt: skip
            # The first residual is -f L x.
            for start in range(0, n, CHUNK):
                stop = min(start + CHUNK, n)
                for c in range(channels):
                    laplacian(shifts, pad, ww, q, c, start, stop, work)
                    take(gx[s, c, start:stop], work[: stop - start])
                    add_inner(shifts, pad, -one, q, xs[l], c, start, stop, gw[s])
        clear_unused(offsets, height, width, gw[s])


# --- graph total variation ------------------------------------------------------------------------


# The three edge variables of EDGES pixels are one block, side by side. They are read and written at
# constant distances then, and LLVM needs no proof that they do not overlap: of pointers that are
# far from each other in a way that it cannot see it compares few before it gives up SIMD.
EDGES = CHUNK
BLOCK = 3 * EDGES


@inner
def _add_flow(e, pad, shift, first, y):
    """Add a flow from the pixels at ``first`` to the far ends of their edges to ``y``."""
    a, b = pad + first, pad + first + e.shape[0]
    add(y[a:b], e)
    take(y[a + shift : b + shift], e)


@inner
def _gtv_first(c, block):
    """``v1 = |c| - c``, ``v2 = |c| + c``, ``ua = 0``."""
    second, third = np.uint64(EDGES), np.uint64(2 * EDGES)
    for j in range(np.uint64(c.shape[0])):
        magnitude = abs(c[j])
        block[j] = magnitude - c[j]
        block[second + j] = magnitude + c[j]
        block[third + j] = 0


@inner
def _rescaled(v, ratio):
    return v if v >= 0 else ratio * v


@inner
def _updated(v1, v2, ua, c, ratio, total, threshold, half):
    """The edge variables after an ADMM iteration, from those before and ``c = (C x)_e``."""
    zero = half - half
    a, b, u = _rescaled(v1, ratio), _rescaled(v2, ratio), ratio * ua
    z = half * (abs(a) + abs(b) - total) - threshold
    after = half * (z - c + a + u)
    return after, half * (z + c + b + total - u), after - (a if a > zero else zero * a)


@inner
def _target(v1, v2, ua, threshold, half):
    """What ``C x`` is pulled to by the edge variables after an iteration."""
    return ua + half * threshold - half * (abs(v1) - abs(v2))


@inner
def _gtv_edges(c, block, ratio, total, threshold):
    """Update the edge variables in place; ``c`` becomes the target less ``c``."""
    half = c.dtype.type(0.5)
    second, third = np.uint64(EDGES), np.uint64(2 * EDGES)
    for j in range(np.uint64(c.shape[0])):
        v1, v2, ua = _updated(
            block[j], block[second + j], block[third + j], c[j], ratio, total, threshold, half
        )
        block[j] = v1
        block[second + j] = v2
        block[third + j] = ua
        c[j] = _target(v1, v2, ua, threshold, half) - c[j]


@inner
def _gtv_start(
    shifts, pad, root, x, before, after, in_place, ratio, total, threshold, r, p, f, block, work
):  # fmt: skip
    """Update the edges, then ``r = p = f C^T (target - C x)``; the border of ``p`` stays zero.

    ``before`` and ``after [C, K, blocks, BLOCK]`` are the edge variables, ``in_place`` the same
    ones. They are made of ``x`` if ``before`` is empty, and not kept if ``after`` is.
    """
    channels, n = r.shape
    for c in range(channels):
        fill(p[c], 0)
        for first in range(0, n, EDGES):
            flow, part = work[: min(EDGES, n - first)], first // EDGES
            a, b = pad + first, pad + first + flow.shape[0]
            for k in range(shifts.shape[0]):
                edges = after[c, k, part] if after.shape[0] > 0 else block
                far = x[c, a + shifts[k] : b + shifts[k]]
                weighted_difference(flow, root[k, a:b], x[c, a:b], far)
                if before.shape[0] == 0:
                    _gtv_first(flow, edges)
                elif not in_place:
                    copy(edges, before[c, k, part])
                _gtv_edges(flow, edges, ratio, total, threshold)
                multiply(flow, root[k, a:b])
                _add_flow(flow, pad, shifts[k], first, p[c])
        for j in range(n):
            r[c, j] = f[c, j] * p[c, pad + j]
            p[c, pad + j] = r[c, j]


@jit
def gtv_forward(
    offsets, shifts, height, width, groups, w, x, free, alpha, beta, threshold, ratio, out,
    edges, state, first, last,
):  # fmt: skip
    """As `glr_forward`, with ``threshold`` and ``ratio [layers]`` of the ADMM iterations.

    ``edges [2, K, pad + N]`` and, if there are several layers, ``state [C / groups, K, blocks,
    BLOCK]`` are memory to work in.
    """
    n, pad = height * width, border(shifts)
    heads, layers = alpha.shape[0], alpha.shape[1]
    channels = x.shape[1] // groups
    zero, floor = x.dtype.type(0), x.dtype.type(SMALLEST_WEIGHT)
    ww, root = edges[0], edges[1]
    xx = np.zeros((channels, n + 2 * pad), x.dtype)
    directions = np.zeros((2, channels, n + 2 * pad), x.dtype)
    r = np.empty((channels, n), x.dtype)
    work, block = np.empty(CHUNK, x.dtype), np.empty(BLOCK, x.dtype)
    for unit in range(first, last):
        s, c0 = unit // groups, unit % groups * channels
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, floor, ww)
        for k in range(offsets.shape[0]):
            roots(root[k], ww[k])
        f = free[b, c0 : c0 + channels]
        for c in range(channels):
            copy(xx[c, pad : pad + n], x[b, c0 + c])
        total = zero
        for l in range(layers):
            # Nothing before the first layer, nothing kept of the last one.
            before, after = state[: l * channels], state[: (layers - 1 - l) * channels]
            _gtv_start(
                shifts, pad, root, xx, before, after, l < layers - 1, ratio[l], ratio[l] * total,
                threshold[l], r, directions[0], f, block, work,
            )  # fmt: skip
            total = -threshold[l]
            cg(shifts, pad, ww, xx, r, directions, f, alpha[h, l], beta[h, l], zero, work)
        for c in range(channels):
            copy(out[s, c0 + c], xx[c, pad : pad + n])


@inner
def _sign(v, one):
    zero = one - one
    return one if v > zero else (-one if v < zero else zero)


@inner_sum
def _gtv_edges_gradient(work, block, ratio, total, threshold, g, n):
    """Back through `_gtv_edges`, from the edge variables in ``block`` before it.

    ``g`` holds the gradient of those after, then of those before. ``work`` holds ``x_u - x_v``,
    ``q_u - q_v`` and the root. ``block`` becomes the gradient of the root and, second, the flow
    whose divergence is that of ``x``. Returns the gradients of: the new total, the old total, the
    threshold, the ratio.
    """
    number = work.dtype.type
    half, zero, one = number(0.5), number(0), number(1)
    second, third = np.uint64(EDGES), np.uint64(2 * EDGES)
    to_new, to_old, to_threshold, to_ratio = zero, zero, zero, zero
    for j in range(np.uint64(n)):
        dx, dq, root = work[j], work[second + j], work[third + j]
        v1, v2, ua = block[j], block[second + j], block[third + j]
        c = root * dx
        a, b = _rescaled(v1, ratio), _rescaled(v2, ratio)
        n1, n2, nu = _updated(v1, v2, ua, c, ratio, total, threshold, half)
        gt = root * dq
        gu = g[third + j] + gt
        ga1 = g[j] - half * _sign(n1, one) * gt + gu
        ga2 = g[second + j] + half * _sign(n2, one) * gt
        gz = half * (ga1 + ga2)
        gc = half * (ga2 - ga1) - gt
        back1 = half * (ga1 + gz * _sign(a, one)) - (gu if a >= 0 else zero)
        back2 = half * (ga2 + gz * _sign(b, one))
        backa = half * (ga1 - ga2)
        to_new -= half * gt
        to_old += half * (ga2 - gz)
        to_threshold -= gz
        scaled1, scaled2 = (back1 if v1 < 0 else zero), (back2 if v2 < 0 else zero)
        to_ratio += scaled1 * v1 + scaled2 * v2 + backa * ua
        g[j] = ratio * back1 if v1 < 0 else back1
        g[second + j] = ratio * back2 if v2 < 0 else back2
        g[third + j] = ratio * backa
        block[j] = dq * (_target(n1, n2, nu, threshold, half) - c) + gc * dx
        block[second + j] = root * gc
    return to_new, to_old, to_threshold, to_ratio


@inner
def _gtv_first_gradient(work, g, block, n):
    """Back through `_gtv_first`: adds to what `_gtv_edges_gradient` left in ``block``."""
    one = work.dtype.type(1)
    second, third = np.uint64(EDGES), np.uint64(2 * EDGES)
    for j in range(np.uint64(n)):
        dx, root = work[j], work[third + j]
        sign = _sign(root * dx, one)
        gc = g[j] * (sign - one) + g[second + j] * (sign + one)
        block[j] += gc * dx
        block[second + j] += root * gc


@inner
def _add_root_gradient(gw, weights, root, groot, floor):
    """``gw += groot / (2 root)``; zero where the weight was raised to the smallest one."""
    half, zero = root.dtype.type(0.5), root.dtype.type(0)
    for j in range(gw.shape[0]):
        kept = root[j] > zero and weights[j] >= floor
        gw[j] = gw[j] + half * groot[j] / root[j] if kept else zero


@jit
def gtv_backward(
    offsets, shifts, height, width, w, x, free, alpha, beta, threshold, ratio, g,
    gw, gx, galpha, gbeta, gthreshold, gratio, edges, groot, states, first, last,
):  # fmt: skip
    """Gradients of `gtv_forward`, as `glr_backward`, but one channel after the other.

    ``edges [2, K, pad + N]``, ``groot [K, N]`` and, if there are several layers, ``states [layers,
    K, blocks, BLOCK]`` are memory to work in.
    """
    n, pad, size = height * width, border(shifts), offsets.shape[0]
    heads, layers, steps = alpha.shape
    zero, floor = x.dtype.type(0), x.dtype.type(SMALLEST_WEIGHT)
    ww, root = edges[0], edges[1]
    work, block, gb = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    xs = np.zeros((layers + 1, 1, n + 2 * pad), x.dtype)
    directions = np.zeros((layers, steps, 1, n + 2 * pad), x.dtype)
    # After the edge variables of all layers but the last, which are not kept.
    gs = states[layers - 1 :]
    back = np.empty(n + 2 * pad, x.dtype)
    q = np.zeros((1, n + 2 * pad), x.dtype)
    r, gp = np.empty((1, n), x.dtype), np.empty((1, n), x.dtype)
    for unit in range(first * x.shape[1], last * x.shape[1]):
        s, c = unit // x.shape[1], unit % x.shape[1]
        b, h = s // heads, s % heads
        f, gxc = free[b, c : c + 1], gx[s, c : c + 1]
        if c == 0:
            load_weights(offsets, w[s], height, width, pad, floor, ww)
            for k in range(size):
                roots(root[k], ww[k])
                fill(gw[s, k], 0)
                fill(groot[k], 0)
        copy(xs[0, 0, pad : pad + n], x[b, c])
        copy(gxc[0], g[s, c])
        total = zero
        for l in range(layers):
            copy(xs[l + 1, 0], xs[l, 0])
            before, after = states[max(l - 1, 0) : l], states[l : min(l + 1, layers - 1)]
            _gtv_start(
                shifts, pad, root, xs[l], before, after, False, ratio[l], ratio[l] * total,
                threshold[l], r, directions[l, 0], f, block, work,
            )  # fmt: skip
            total = -threshold[l]
            cg(shifts, pad, ww, xs[l + 1], r, directions[l], f, alpha[h, l], beta[h, l], zero, work)
        gtotal = zero
        for l in range(layers - 1, -1, -1):
            cg_gradient(
                shifts, pad, ww, directions[l], f, alpha[h, l], beta[h, l], zero,
                gxc, r, gp, q, gw[s], galpha[s, l], gbeta[s, l], work,
            )  # fmt: skip
            total = -ratio[l] * threshold[l - 1] if l > 0 else zero
            to_old = zero
            fill(back, 0)
            for start in range(0, n, EDGES):
                count, part = min(EDGES, n - start), start // EDGES
                u = slice(pad + start, pad + start + count)
                dx, dq = work[:count], work[EDGES : EDGES + count]
                for k in range(size):
                    v = slice(u.start + shifts[k], u.stop + shifts[k])
                    if l == 0:
                        weighted_difference(dx, root[k, u], xs[0, 0, u], xs[0, 0, v])
                        _gtv_first(dx, block)
                    else:
                        copy(block, states[l - 1, k, part])
                    if l == layers - 1:
                        fill(gb, 0)
                    else:
                        copy(gb, gs[0, k, part])
                    subtract(dx, xs[l, 0, u], xs[l, 0, v])
                    subtract(dq, q[0, u], q[0, v])
                    copy(work[2 * EDGES : 2 * EDGES + count], root[k, u])
                    gradients = _gtv_edges_gradient(
                        work, block, ratio[l], total, threshold[l], gb, count
                    )
                    gtotal += gradients[0]
                    to_old += gradients[1]
                    gthreshold[s, l] += gradients[2]
                    gratio[s, l] += gradients[3]
                    if l == 0:
                        _gtv_first_gradient(work, gb, block, count)
                    else:
                        copy(gs[0, k, part], gb)
                    add(groot[k, start : start + count], block[:count])
                    _add_flow(block[EDGES : EDGES + count], pad, shifts[k], start, back)
            add(gxc[0], back[pad : pad + n])
            # The new total is -threshold; the old one, zero at first, was scaled by the ratio.
            gthreshold[s, l] -= gtotal
            if l > 0:
                gratio[s, l] -= to_old * threshold[l - 1]
            gtotal = ratio[l] * to_old
        if c == x.shape[1] - 1:
            for k in range(size):
                _add_root_gradient(gw[s, k], w[s, k], root[k, pad:], groot[k], floor)
            clear_unused(offsets, height, width, gw[s])
