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
    begin,
    border,
    carry,
    cg,
    cg_gradient,
    clear_unused,
    first_direction,
    in_turns,
    jit,
    laplacians,
    load_weights,
    own,
    part,
)
from gsp_unroll.ops.backends.numba_rows import (
    add,
    clear_outside,
    columns,
    copy,
    fill,
    inner,
    inner_sum,
    roots,
    take,
)

# Numba's cache on disk looks at this file only: it has to change with what it compiles, see
# tests/ops/test_ops_numba_cache.py.
HELPERS = "e86146e0a576"

# --- graph Laplacian regulariser ------------------------------------------------------------------


@inner
def _glr_start(shifts, pad, w, x, r, p, f, work):
    """``r = p = -f L x``."""
    n = r.shape[1]
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        laplacians(shifts, pad, w, x, first, last, work)
        for c in range(r.shape[0]):
            first_direction(
                r[c, first:last], p[c, pad + first : pad + last], f[c, first:last],
                part(work, c, last - first),
            )  # fmt: skip


@inner
def _glr_layers(shifts, pad, w, x, f, alpha, beta, kappa, xs, directions, r, work):
    """All layers from ``x [C, N]``; returns the last signal.

    ``xs [., C, pad + N + pad]`` and ``directions [., ., C, pad + N + pad]`` keep signals, one more
    than layers, and directions of all steps; or are smaller and used in turns, see `in_turns`.
    """
    begin(x, pad, xs, directions)
    for l in range(alpha.shape[0]):
        p = in_turns(l, directions)
        _glr_start(shifts, pad, w, in_turns(l, xs), r, p[0], f, work)
        cg(shifts, pad, w, carry(l, xs), r, p, f, alpha[l], beta[l], kappa[l], work)
    return in_turns(alpha.shape[0], xs)


@jit
def glr_forward(
    offsets, shifts, height, width, groups, w, x, free, alpha, beta, kappa, out, signals,
    directions, edges, first, last,
):  # fmt: skip
    """``out [S, C, N]`` from ``w [S, K, N]``, ``x, free [B, C, N]``, ``alpha [heads, ...]``.

    A unit of work is a system and one of ``groups`` parts of its channels;
    ``edges [1, K, pad + N]`` is memory to work in, and so are ``signals [1, 1, C, pad + N + pad]``
    and ``directions [1, 1, 2, C, pad + N + pad]``, if they are not kept for all systems, layers and
    steps: ``[S, layers + 1, ...]``, ``[S, layers, steps, ...]``.
    """
    n, pad = height * width, border(shifts)
    heads, channels = alpha.shape[0], signals.shape[2]
    ww = edges[0]
    r = np.empty((channels, n), x.dtype)
    work = np.empty(channels * CHUNK, x.dtype)
    for unit in range(first, last):
        s, c0 = unit // groups, unit % groups * channels
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, x.dtype.type(0), ww)
        found = _glr_layers(
            shifts, pad, ww, x[b, c0 : c0 + channels], free[b, c0 : c0 + channels], alpha[h],
            beta[h], kappa, own(s, signals), own(s, directions), r, work,
        )  # fmt: skip
        for c in range(channels):
            copy(out[s, c0 + c], found[c, pad : pad + n])


@jit
def glr_backward(
    offsets, shifts, height, width, again, w, x, free, alpha, beta, kappa, g,
    gw, gx, galpha, gbeta, gkappa, signals, directions, edges, first, last,
):  # fmt: skip
    """Gradients of `glr_forward` for ``g [S, C, N]``.

    ``gw [S, K, N]``, ``gx [S, C, N]``, ``galpha, gbeta [S, layers, steps]`` (zero at first),
    ``gkappa [S, layers]``; ``edges [1, K, pad + N]`` is memory to work in. ``signals`` and
    ``directions`` were kept, or it is run ``again`` with ``[1, ...]`` of them to work in.
    """
    n, pad = height * width, border(shifts)
    heads, layers = alpha.shape[0], alpha.shape[1]
    channels = x.shape[1]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    ww = edges[0]
    q = np.zeros((channels, n + 2 * pad), x.dtype)
    r, gp = np.empty((channels, n), x.dtype), np.empty((channels, n), x.dtype)
    work = np.empty(channels * CHUNK, x.dtype)
    for s in range(first, last):
        b, h = s // heads, s % heads
        xs, ps = own(s, signals), own(s, directions)
        load_weights(offsets, w[s], height, width, pad, zero, ww)
        if again:
            _glr_layers(shifts, pad, ww, x[b], free[b], alpha[h], beta[h], kappa, xs, ps, r, work)
        for c in range(channels):
            copy(gx[s, c], g[s, c])
        for k in range(offsets.shape[0]):
            fill(gw[s, k], 0)
        for l in range(layers - 1, -1, -1):
            gkappa[s, l] = cg_gradient(
                shifts, pad, ww, ps[l], free[b], alpha[h, l], beta[h, l], kappa[l],
                gx[s], r, gp, q, gw[s], galpha[s, l], gbeta[s, l], work,
            )  # fmt: skip
            # The first residual is -f L x.
            for start in range(0, n, CHUNK):
                stop = min(start + CHUNK, n)
                laplacians(shifts, pad, ww, q, start, stop, work)
                add_inner(shifts, pad, -one, q, xs[l], start, stop, gw[s])
                for c in range(channels):
                    take(gx[s, c, start:stop], part(work, c, stop - start))
        clear_unused(offsets, height, width, gw[s])


# --- graph total variation ------------------------------------------------------------------------


# The three edge variables of EDGES pixels are one block, side by side. They are read and written at
# constant distances then, and LLVM needs no proof that they do not overlap: of pointers that are
# far from each other in a way that it cannot see it compares few before it gives up SIMD.
EDGES = CHUNK
BLOCK = 3 * EDGES

# They are kept after layers 4, 8, ... only, counted from 0. Those of the layers between are made
# again, from the signals, while a block of them stays in the first-level cache: as soon done as to
# read them from memory.
KEPT = 4


def number_kept(layers: int) -> int:
    """How many layers keep their edge variables: none of up to five."""
    return max(layers - 2, 0) // KEPT


@inner
def _is_kept(l, layers):
    """Whether the edge variables after layer ``l`` are kept: the last layer has no use for them."""
    return l > 0 and l % KEPT == 0 and l < layers - 1


@inner
def _add_flow(e, pad, shift, first, y):
    """Add a flow from the pixels at ``first`` to the far ends of their edges to ``y``."""
    a, b = pad + first, pad + first + e.shape[0]
    add(y[a:b], e)
    take(y[a + shift : b + shift], e)


@inner
def _gtv_first_flow(flow, root, near, far, threshold):
    """``flow = root (target - c)`` in the first layer, ``c = (C x)_e``, see `_gtv_first_state`."""
    half = flow.dtype.type(0.5)
    for j in range(np.uint64(flow.shape[0])):
        c = root[j] * (near[j] - far[j])
        even = abs(c) - half * threshold
        flow[j] = root[j] * (half * (abs(even + c) - abs(even - c)) - c)


@inner
def _gtv_first_state(block, root, near, far, threshold):
    """The edge variables after the first layer.

    They start at ``v1 = |c| - c``, ``v2 = |c| + c``, ``ua = 0``, of which `_gtv_edges` makes these.
    """
    half = block.dtype.type(0.5)
    second, third = np.uint64(EDGES), np.uint64(2 * EDGES)
    for j in range(np.uint64(root.shape[0])):
        c = root[j] * (near[j] - far[j])
        even = abs(c) - half * threshold
        block[j] = even - c
        block[second + j] = even + c
        block[third + j] = -half * threshold


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
def _update_edge(block, j, c, ratio, total, threshold, half):
    """Update the variables of an edge in place, and return them."""
    second, third = np.uint64(EDGES), np.uint64(2 * EDGES)
    v1, v2, ua = _updated(
        block[j], block[second + j], block[third + j], c, ratio, total, threshold, half
    )
    block[j] = v1
    block[second + j] = v2
    block[third + j] = ua
    return v1, v2, ua


@inner
def _gtv_edges(flow, block, root, near, far, ratio, total, threshold):
    """Update the edge variables in place; ``flow = root (target - c)``, ``c = (C x)_e``."""
    half = flow.dtype.type(0.5)
    for j in range(np.uint64(flow.shape[0])):
        c = root[j] * (near[j] - far[j])
        v1, v2, ua = _update_edge(block, j, c, ratio, total, threshold, half)
        flow[j] = root[j] * (_target(v1, v2, ua, threshold, half) - c)


@inner
def _gtv_update(block, root, near, far, ratio, total, threshold):
    """As `_gtv_edges`, without the flow."""
    half = block.dtype.type(0.5)
    for j in range(np.uint64(root.shape[0])):
        _update_edge(block, j, root[j] * (near[j] - far[j]), ratio, total, threshold, half)


@inner
def _last_kept(l):
    """The layer after which edge variables were kept last before layer ``l``; 0 = none yet."""
    return (l - 1) // KEPT * KEPT


@inner
def _gtv_before(block, l, kept, root, xs, c, u, v, ratio, threshold):
    """The edge variables of channel ``c`` before layer ``l > 0``.

    ``kept`` are those after layer `_last_kept`. The edges are of ``root`` and from pixels ``u`` to
    ``v``; the signal of layer ``m`` is ``xs[m % len(xs)]``.
    """
    start = _last_kept(l)
    if start == 0:
        _gtv_first_state(block, root, xs[0, c, u], xs[0, c, v], threshold[0])
    else:
        copy(block[:BLOCK], kept)
    for m in range(start + 1, l):
        x = xs[m % xs.shape[0], c]
        _gtv_update(block, root, x[u], x[v], ratio[m], -ratio[m] * threshold[m - 1], threshold[m])


@inner
def _gtv_start(
    l, shifts, pad, w, xs, before, after, ratio, threshold, r, p, f, root, block, work
):  # fmt: skip
    """Update the edges in layer ``l``, then ``r = p = f C^T (target - C x)``; ``p`` has its border.

    ``xs`` as in `_gtv_before`, which reads ``before [C, K, blocks, BLOCK]`` if edge variables were
    kept; they are left in ``after`` of this shape, unless it is empty. ``root [EDGES]``, ``block``
    and ``work`` are memory to work in.
    """
    channels, n = r.shape
    for c in range(channels):
        fill(p[c], 0)
    for first in range(0, n, EDGES):
        flow, number = work[: min(EDGES, n - first)], first // EDGES
        u, rows = slice(pad + first, pad + first + flow.shape[0]), root[: flow.shape[0]]
        for k in range(shifts.shape[0]):
            v = slice(u.start + shifts[k], u.stop + shifts[k])
            roots(rows, w[k, u])
            for c in range(channels):
                x = xs[l % xs.shape[0], c]
                if l == 0:
                    _gtv_first_flow(flow, rows, x[u], x[v], threshold[0])
                else:
                    kept = before[c, k, number] if _last_kept(l) > 0 else block
                    _gtv_before(block, l, kept, rows, xs, c, u, v, ratio, threshold)
                    _gtv_edges(
                        flow, block, rows, x[u], x[v], ratio[l], -ratio[l] * threshold[l - 1],
                        threshold[l],
                    )  # fmt: skip
                    if after.shape[0] > 0:
                        copy(after[c, k, number], block)
                _add_flow(flow, pad, shifts[k], first, p[c])
    for c in range(channels):
        for j in range(n):
            r[c, j] = f[c, j] * p[c, pad + j]
            p[c, pad + j] = r[c, j]


@inner
def _gtv_layers(
    shifts, pad, w, x, f, alpha, beta, threshold, ratio, xs, directions, states, r, root, block,
    work,
):  # fmt: skip
    """As `_glr_layers`; ``states [., C, K, blocks, BLOCK]`` keeps edge variables, see `KEPT`.

    There is one at least, without channels if none is kept.
    """
    layers, zero = alpha.shape[0], r.dtype.type(0)
    begin(x, pad, xs, directions)
    for l in range(layers):
        p = in_turns(l, directions)
        before = in_turns(max(_last_kept(l) // KEPT - 1, 0), states)
        kept = in_turns(max(l // KEPT - 1, 0), states)
        _gtv_start(
            l, shifts, pad, w, xs, before, kept if _is_kept(l, layers) else kept[:0],
            ratio, threshold, r, p[0], f, root, block, work,
        )  # fmt: skip
        cg(shifts, pad, w, carry(l, xs), r, p, f, alpha[l], beta[l], zero, work)
    return in_turns(layers, xs)


@jit
def gtv_forward(
    offsets, shifts, height, width, groups, w, x, free, alpha, beta, threshold, ratio, out,
    signals, directions, states, edges, first, last,
):  # fmt: skip
    """As `glr_forward`, with ``threshold`` and ``ratio [layers]`` of the ADMM iterations.

    If they are not kept, ``signals [1, min(layers, KEPT) + 1, ...]`` and, if layers have use for
    them, ``states [1, 1, C / groups, K, blocks, BLOCK]`` are memory to work in.
    """
    n, pad = height * width, border(shifts)
    heads, channels = alpha.shape[0], signals.shape[2]
    ww = edges[0]
    r = np.empty((channels, n), x.dtype)
    work, block = np.empty(channels * CHUNK, x.dtype), np.empty(BLOCK, x.dtype)
    root = np.empty(EDGES, x.dtype)
    for unit in range(first, last):
        s, c0 = unit // groups, unit % groups * channels
        b, h = s // heads, s % heads
        load_weights(offsets, w[s], height, width, pad, x.dtype.type(SMALLEST_WEIGHT), ww)
        found = _gtv_layers(
            shifts, pad, ww, x[b, c0 : c0 + channels], free[b, c0 : c0 + channels], alpha[h],
            beta[h], threshold, ratio, own(s, signals), own(s, directions), own(s, states), r,
            root, block, work,
        )  # fmt: skip
        for c in range(channels):
            copy(out[s, c0 + c], found[c, pad : pad + n])


@inner
def _sign(v, one):
    zero = one - one
    return one if v > zero else (-one if v < zero else zero)


# The gradient of a block follows it, in one piece of memory, for the same reason.
GRADIENT = BLOCK


@inner_sum
def _gtv_edges_gradient(block, roots, x, x_far, q, q_far, ratio, total, threshold):
    """Back through `_gtv_edges`, from the edge variables before it.

    ``block [2 BLOCK]`` holds those and the gradient of the variables after, then: the gradient of
    the root and, second, the flow whose divergence is that of ``x``; the gradient of the variables
    before. Returns the gradients of: the new total, the old total, the threshold, the ratio.
    """
    number = block.dtype.type
    half, zero, one = number(0.5), number(0), number(1)
    second, third = np.uint64(EDGES), np.uint64(2 * EDGES)
    g1, g2, g3 = np.uint64(GRADIENT), np.uint64(GRADIENT + EDGES), np.uint64(GRADIENT + 2 * EDGES)
    to_new, to_old, to_threshold, to_ratio = zero, zero, zero, zero
    for j in range(np.uint64(roots.shape[0])):
        dx, dq, root = x[j] - x_far[j], q[j] - q_far[j], roots[j]
        v1, v2, ua = block[j], block[second + j], block[third + j]
        c = root * dx
        a, b = _rescaled(v1, ratio), _rescaled(v2, ratio)
        n1, n2, nu = _updated(v1, v2, ua, c, ratio, total, threshold, half)
        gt = root * dq
        gu = block[g3 + j] + gt
        ga1 = block[g1 + j] - half * _sign(n1, one) * gt + gu
        ga2 = block[g2 + j] + half * _sign(n2, one) * gt
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
        block[g1 + j] = ratio * back1 if v1 < 0 else back1
        block[g2 + j] = ratio * back2 if v2 < 0 else back2
        block[g3 + j] = ratio * backa
        block[j] = dq * (_target(n1, n2, nu, threshold, half) - c) + gc * dx
        block[second + j] = root * gc
    return to_new, to_old, to_threshold, to_ratio


@inner_sum
def _gtv_first_gradient(block, roots, x, x_far, q, q_far, threshold):
    """Back through `_gtv_first_state` and `_gtv_first_flow`, as `_gtv_edges_gradient`.

    Nothing comes before: the gradient of the variables after stays as it is. Returns the gradient
    of the threshold.
    """
    number = block.dtype.type
    half, zero, one = number(0.5), number(0), number(1)
    second = np.uint64(EDGES)
    g1, g2, g3 = np.uint64(GRADIENT), np.uint64(GRADIENT + EDGES), np.uint64(GRADIENT + 2 * EDGES)
    to_threshold = zero
    for j in range(np.uint64(roots.shape[0])):
        dx, dq, root = x[j] - x_far[j], q[j] - q_far[j], roots[j]
        c = root * dx
        even = abs(c) - half * threshold
        v1, v2 = even - c, even + c
        gt = root * dq
        ga1 = block[g1 + j] - half * _sign(v1, one) * gt
        ga2 = block[g2 + j] + half * _sign(v2, one) * gt
        gc = ga2 - ga1 + _sign(c, one) * (ga1 + ga2) - gt
        to_threshold -= half * (ga1 + ga2 + block[g3 + j])
        block[j] = dq * (half * (abs(v2) - abs(v1)) - c) + gc * dx
        block[second + j] = root * gc
    return to_threshold


# No sum, but always inlined as those in it are, for the same reason.
@inner_sum
def _gtv_back(block, l, states, root, xs, q, c, k, number, u, v, ratio, threshold):
    """Back through layer ``l``, as `_gtv_edges_gradient`: of channel ``c`` and edges as there."""
    x_near, x_far, q_near, q_far = xs[l, c, u], xs[l, c, v], q[c, u], q[c, v]
    if l == 0:
        zero = threshold[0] - threshold[0]
        first = _gtv_first_gradient(block, root, x_near, x_far, q_near, q_far, threshold[0])
        return zero, zero, first, zero
    before = _last_kept(l) // KEPT
    kept = states[before - 1, c, k, number] if before > 0 else block
    _gtv_before(block, l, kept, root, xs, c, u, v, ratio, threshold)
    return _gtv_edges_gradient(
        block, root, x_near, x_far, q_near, q_far, ratio[l], -ratio[l] * threshold[l - 1],
        threshold[l],
    )  # fmt: skip


@inner
def _add_root_gradient(gw, root, groot):
    """``gw += groot / (2 root)``; nothing where there is no edge."""
    half, zero = root.dtype.type(0.5), root.dtype.type(0)
    for j in range(gw.shape[0]):
        gw[j] += half * groot[j] / root[j] if root[j] > zero else zero


@inner
def _clear_raised(offsets, weights, height, width, floor, gw):
    """As `clear_unused`, and zero where the weight was raised to the smallest one."""
    zero = gw.dtype.type(0)
    for k in range(offsets.shape[0]):
        for r in range(height):
            a, b = columns(r, offsets[k, 0], offsets[k, 1], height, width)
            row, given = gw[k, r * width :][:width], weights[k, r * width :][:width]
            clear_outside(row, a, b)
            for j in range(a, b):
                row[j] = row[j] if given[j] >= floor else zero


@jit
def gtv_backward(
    offsets, shifts, height, width, again, w, x, free, alpha, beta, threshold, ratio, g,
    gw, gx, galpha, gbeta, gthreshold, gratio, signals, directions, states, edges, gs, first, last,
):  # fmt: skip
    """Gradients of `gtv_forward`, as `glr_backward`.

    ``edges [1, K, pad + N]`` and, if there are more than two layers, ``gs [C, K, blocks, BLOCK]``
    are memory to work in. What comes back to the edge variables before the last layer is made again
    in the layer before, too.
    """
    n, pad, size = height * width, border(shifts), offsets.shape[0]
    heads, layers = alpha.shape[0], alpha.shape[1]
    channels = x.shape[1]
    zero, floor = x.dtype.type(0), x.dtype.type(SMALLEST_WEIGHT)
    ww = edges[0]
    work, block = np.empty(channels * CHUNK, x.dtype), np.zeros(2 * BLOCK, x.dtype)
    root, groot = np.empty(EDGES, x.dtype), np.empty(EDGES, x.dtype)
    gb = block[GRADIENT:]
    back = np.empty((channels, n + 2 * pad), x.dtype)
    # Of the last layer, and of the one at hand.
    qs = np.zeros((2, channels, n + 2 * pad), x.dtype)
    r, gp = np.empty((channels, n), x.dtype), np.empty((channels, n), x.dtype)
    for s in range(first, last):
        b, h = s // heads, s % heads
        f = free[b]
        load_weights(offsets, w[s], height, width, pad, floor, ww)
        for k in range(size):
            fill(gw[s, k], 0)
        xs, ps, kept = own(s, signals), own(s, directions), own(s, states)
        if again:
            _gtv_layers(
                shifts, pad, ww, x[b], f, alpha[h], beta[h], threshold, ratio, xs, ps, kept, r,
                root, block[:BLOCK], work,
            )  # fmt: skip
        for c in range(channels):
            copy(gx[s, c], g[s, c])
        gtotal = zero
        for l in range(layers - 1, -1, -1):
            q = qs[0 if l == layers - 1 else 1]
            cg_gradient(
                shifts, pad, ww, ps[l], f, alpha[h, l], beta[h, l], zero,
                gx[s], r, gp, q, gw[s], galpha[s, l], gbeta[s, l], work,
            )  # fmt: skip
            to_old = zero
            for c in range(channels):
                fill(back[c], 0)
            for start in range(0, n, EDGES):
                count, number = min(EDGES, n - start), start // EDGES
                u = slice(pad + start, pad + start + count)
                rows, grows = root[:count], groot[:count]
                for k in range(size):
                    v = slice(u.start + shifts[k], u.stop + shifts[k])
                    roots(rows, ww[k, u])
                    fill(grows, 0)
                    for c in range(channels):
                        if l < layers - 2:
                            copy(gb, gs[c, k, number])
                        else:
                            fill(gb, 0)
                        if l == layers - 2:
                            _gtv_back(
                                block, l + 1, kept, rows, xs, qs[0], c, k, number, u, v, ratio,
                                threshold,
                            )  # fmt: skip
                        gradients = _gtv_back(
                            block, l, kept, rows, xs, q, c, k, number, u, v, ratio, threshold
                        )
                        gtotal += gradients[0]
                        to_old += gradients[1]
                        gthreshold[s, l] += gradients[2]
                        gratio[s, l] += gradients[3]
                        if 0 < l < layers - 1:
                            copy(gs[c, k, number], gb)
                        add(grows, block[:count])
                        _add_flow(block[EDGES : EDGES + count], pad, shifts[k], start, back[c])
                    _add_root_gradient(gw[s, k, start : start + count], rows, grows)
            for c in range(channels):
                add(gx[s, c], back[c, pad : pad + n])
            # The new total is -threshold; the old one, zero at first, was scaled by the ratio.
            gthreshold[s, l] -= gtotal
            if l > 0:
                gratio[s, l] -= to_old * threshold[l - 1]
            gtotal = ratio[l] * to_old
        _clear_raised(offsets, w[s], height, width, floor, gw[s])
