"""Compiled unrolled solver of several graphs in one system, on a grid: one image in cache.

The operator is ``A = sum_h S_h L_h``: ``S_h [C, C]``, symmetric, mixes the channels of each pixel
and commutes with ``L_h``, which works on each channel alone. So ``A`` is the Laplacian of one graph
whose weights are matrices ``M_e = sum_h w_he S_h``, made once for all layers and steps. Layout and
names as in `numba_cg_loops`; ``m [pairs, K, pad + N]`` holds the entries ``c <= d`` of ``M``,
`_pair`.
"""

from __future__ import annotations

import numpy as np

from gsp_unroll.ops.backends.numba_cg_loops import (
    CHUNK,
    begin,
    border,
    carry,
    cg_update,
    clear_unused,
    direction_gradient,
    first_direction,
    in_turns,
    jit,
    laplacian,
    load_weights,
    own,
    part,
    residual_gradient,
)
from gsp_unroll.ops.backends.numba_rows import add, add_scaled, copy, dot, fill, inner, take

# Numba's cache on disk looks at this file only: it has to change with what it compiles, see
# tests/ops/test_ops_numba_cache.py.
HELPERS = "74bb0d098138"

# --- matrices for weights -------------------------------------------------------------------------


@inner
def _pair(c, d, channels):
    """Number of the entry ``c <= d`` of a symmetric matrix."""
    return c * (2 * channels - c - 1) // 2 + d


@inner
def _load_offset(offsets, weights, height, width, k, clean):
    """``clean [heads, N]``: the weights of offset ``k``, zero where there is no edge."""
    zero = clean.dtype.type(0)
    for h in range(weights.shape[0]):
        load_weights(
            offsets[k : k + 1], weights[h, k : k + 1], height, width, 0, zero, clean[h : h + 1]
        )


@inner
def _load(offsets, weights, mix, height, width, pad, m, clean):
    """``m`` of ``weights [heads, K, N]`` and the symmetric part of ``mix [heads, C, C]``."""
    heads, channels = mix.shape[0], mix.shape[1]
    half = mix.dtype.type(0.5)
    for k in range(offsets.shape[0]):
        _load_offset(offsets, weights, height, width, k, clean)
        for c in range(channels):
            for d in range(c, channels):
                entry = m[_pair(c, d, channels), k]
                fill(entry, 0)
                for h in range(heads):
                    add_scaled(entry[pad:], half * (mix[h, c, d] + mix[h, d, c]), clean[h])


@inner
def _load_gradient(offsets, weights, mix, height, width, gm, gw, gmix, clean):
    """Back through `_load`, from ``gm [K, pairs, N]``; adds to ``gmix``."""
    heads, channels = mix.shape[0], mix.shape[1]
    half = mix.dtype.type(0.5)
    for k in range(offsets.shape[0]):
        _load_offset(offsets, weights, height, width, k, clean)
        for h in range(heads):
            fill(gw[h, k], 0)
            for c in range(channels):
                for d in range(c, channels):
                    entry = gm[k, _pair(c, d, channels)]
                    add_scaled(gw[h, k], half * (mix[h, c, d] + mix[h, d, c]), entry)
                    to_half = half * dot(clean[h], entry)
                    gmix[h, c, d] += to_half
                    gmix[h, d, c] += to_half
    for h in range(heads):
        clear_unused(offsets, height, width, gw[h])


# --- products -------------------------------------------------------------------------------------


@inner
def _product(shifts, pad, m, x, first, last, out, work):
    """``out = A x`` for the pixels ``first <= i < last``, laid out as by `laplacians`."""
    channels, count = x.shape[0], last - first
    fill(out, 0)
    if channels == 3:
        # The half window has an even number of offsets, whatever its size.
        for k in range(0, shifts.shape[0], 2):
            _add_flows_of_three(out, m, x, k, pad + first, shifts[k], shifts[k + 1], count)
        return
    for c in range(channels):
        for d in range(channels):
            laplacian(
                shifts, pad, m[_pair(min(c, d), max(c, d), channels)], x, d, first, last, work
            )
            add(part(out, c, count), work[:count])


@inner
def _add_flows_of_three(y, m, x, k, start, shift, other, count):
    """Flow of three channels from the neighbours at both ends of offsets ``k`` and ``k + 1``.

    Each weight and each neighbour is read once. Unsigned indices, as in `numba_cg_loops`; the
    channels of ``y`` are at constant distances, which LLVM needs not compare.
    """
    row, next_row = np.uint64(k), np.uint64(k + 1)
    second, third = np.uint64(CHUNK), np.uint64(2 * CHUNK)
    here, a, b = np.uint64(start), np.uint64(start + shift), np.uint64(start - shift)
    d, e = np.uint64(start + other), np.uint64(start - other)
    c0, c1, c2 = np.uint64(0), np.uint64(1), np.uint64(2)
    m00, m01, m02, m11, m12, m22 = (
        np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(5),
    )  # fmt: skip
    for j in range(np.uint64(count)):
        x0, x1, x2 = x[c0, here + j], x[c1, here + j], x[c2, here + j]
        a0, a1, a2 = x0 - x[c0, a + j], x1 - x[c1, a + j], x2 - x[c2, a + j]
        b0, b1, b2 = x0 - x[c0, b + j], x1 - x[c1, b + j], x2 - x[c2, b + j]
        d0, d1, d2 = x0 - x[c0, d + j], x1 - x[c1, d + j], x2 - x[c2, d + j]
        e0, e1, e2 = x0 - x[c0, e + j], x1 - x[c1, e + j], x2 - x[c2, e + j]
        a01, a02, a12 = m[m01, row, here + j], m[m02, row, here + j], m[m12, row, here + j]
        b01, b02, b12 = m[m01, row, b + j], m[m02, row, b + j], m[m12, row, b + j]
        d01, d02 = m[m01, next_row, here + j], m[m02, next_row, here + j]
        d12 = m[m12, next_row, here + j]
        e01, e02, e12 = m[m01, next_row, e + j], m[m02, next_row, e + j], m[m12, next_row, e + j]
        y[j] += (
            (m[m00, row, here + j] * a0 + a01 * a1 + a02 * a2)
            + (m[m00, row, b + j] * b0 + b01 * b1 + b02 * b2)
            + (m[m00, next_row, here + j] * d0 + d01 * d1 + d02 * d2)
            + (m[m00, next_row, e + j] * e0 + e01 * e1 + e02 * e2)
        )
        y[second + j] += (
            (a01 * a0 + m[m11, row, here + j] * a1 + a12 * a2)
            + (b01 * b0 + m[m11, row, b + j] * b1 + b12 * b2)
            + (d01 * d0 + m[m11, next_row, here + j] * d1 + d12 * d2)
            + (e01 * e0 + m[m11, next_row, e + j] * e1 + e12 * e2)
        )
        y[third + j] += (
            (a02 * a0 + a12 * a1 + m[m22, row, here + j] * a2)
            + (b02 * b0 + b12 * b1 + m[m22, row, b + j] * b2)
            + (d02 * d0 + d12 * d1 + m[m22, next_row, here + j] * d2)
            + (e02 * e0 + e12 * e1 + m[m22, next_row, e + j] * e2)
        )


@inner
def _add_outer(shifts, pad, scale, q, p, first, last, gm):
    """Add the gradient of ``scale q^T A p`` with respect to ``M`` to ``gm [K, pairs, N]``."""
    channels, count = q.shape[0], last - first
    for k in range(shifts.shape[0]):
        if channels == 3:
            _add_outer_of_three(gm[k], scale, q, p, first, pad + first, shifts[k], count)
            continue
        u = slice(pad + first, pad + last)
        v = slice(u.start + shifts[k], u.stop + shifts[k])
        for c in range(channels):
            for d in range(c, channels):
                row = gm[k, _pair(c, d, channels), first:last]
                _add_differences(row, scale, q[c, u], q[c, v], p[d, u], p[d, v])
                if c < d:
                    _add_differences(row, scale, q[d, u], q[d, v], p[c, u], p[c, v])


@inner
def _add_differences(y, scale, a, b, c, d):
    """``y += scale (a - b) (c - d)``."""
    for j in range(y.shape[0]):
        y[j] += scale * (a[j] - b[j]) * (c[j] - d[j])


@inner
def _add_outer_of_three(gm, scale, q, p, first, start, shift, count):
    """One offset of `_add_outer` for three channels."""
    out, here, far = np.uint64(first), np.uint64(start), np.uint64(start + shift)
    c0, c1, c2 = np.uint64(0), np.uint64(1), np.uint64(2)
    m11, m12, m22 = np.uint64(3), np.uint64(4), np.uint64(5)
    for j in range(np.uint64(count)):
        q0 = scale * (q[c0, here + j] - q[c0, far + j])
        q1 = scale * (q[c1, here + j] - q[c1, far + j])
        q2 = scale * (q[c2, here + j] - q[c2, far + j])
        p0 = p[c0, here + j] - p[c0, far + j]
        p1 = p[c1, here + j] - p[c1, far + j]
        p2 = p[c2, here + j] - p[c2, far + j]
        gm[c0, out + j] += q0 * p0
        gm[c1, out + j] += q0 * p1 + q1 * p0
        gm[c2, out + j] += q0 * p2 + q2 * p0
        gm[m11, out + j] += q1 * p1
        gm[m12, out + j] += q1 * p2 + q2 * p1
        gm[m22, out + j] += q2 * p2


# --- layers ---------------------------------------------------------------------------------------


@inner
def _start(shifts, pad, m, x, r, p, f, out, work):
    """``r = p = -f A x``."""
    n = r.shape[1]
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        _product(shifts, pad, m, x, first, last, out, work)
        for c in range(r.shape[0]):
            first_direction(
                r[c, first:last], p[c, pad + first : pad + last], f[c, first:last],
                part(out, c, last - first),
            )  # fmt: skip


@inner
def _cg(shifts, pad, m, x, r, directions, f, alpha, beta, kappa, out, work):
    """All CG steps, as `numba_cg_loops.cg`."""
    n, kept, steps = r.shape[1], directions.shape[0], alpha.shape[0]
    for k in range(steps - 1):
        p, following = directions[k % kept], directions[(k + 1) % kept]
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            a, b = pad + first, pad + last
            _product(shifts, pad, m, p, first, last, out, work)
            for c in range(r.shape[0]):
                cg_update(
                    x[c, a:b], r[c, first:last], p[c, a:b], following[c, a:b], f[c, first:last],
                    part(out, c, last - first), alpha[k], beta[k], kappa,
                )  # fmt: skip
    for c in range(r.shape[0]):
        add_scaled(
            x[c, pad : pad + n], alpha[steps - 1], directions[(steps - 1) % kept][c, pad : pad + n]
        )


@inner
def _layers(shifts, pad, m, x, f, alpha, beta, kappa, xs, directions, r, out, work):
    """As `numba_unrolled_loops._glr_layers`."""
    begin(x, pad, xs, directions)
    for l in range(alpha.shape[0]):
        p = in_turns(l, directions)
        _start(shifts, pad, m, in_turns(l, xs), r, p[0], f, out, work)
        _cg(shifts, pad, m, carry(l, xs), r, p, f, alpha[l], beta[l], kappa[l], out, work)
    return in_turns(alpha.shape[0], xs)


@jit
def joint_glr_forward(
    offsets, shifts, height, width, w, x, free, alpha, beta, kappa, mix, out, signals, directions,
    m, first, last,
):  # fmt: skip
    """``out, x, free [B, C, N]``, ``w [B, heads, K, N]``, ``mix [heads, C, C]``.

    ``m [pairs, K, pad + N]`` is memory to work in; ``signals`` and ``directions`` as in
    `numba_unrolled_loops.glr_forward`.
    """
    n, pad, channels = height * width, border(shifts), x.shape[1]
    clean = np.empty((w.shape[1], n), x.dtype)
    r = np.empty((channels, n), x.dtype)
    product, work = np.empty(channels * CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    for s in range(first, last):
        _load(offsets, w[s], mix, height, width, pad, m, clean)
        found = _layers(
            shifts, pad, m, x[s], free[s], alpha, beta, kappa, own(s, signals),
            own(s, directions), r, product, work,
        )  # fmt: skip
        for c in range(channels):
            copy(out[s, c], found[c, pad : pad + n])


@inner
def _cg_gradient(
    shifts, pad, m, directions, f, alpha, beta, kappa, gx, gr, gp, q, gm, galpha, gbeta, out, work
):
    """Back through `_cg`, as `numba_cg_loops.cg_gradient`."""
    channels, n = gr.shape
    steps = alpha.shape[0]
    gkappa = alpha[0] * 0
    for c in range(channels):
        fill(gr[c], 0)
        fill(gp[c], 0)
        add_scaled(gp[c], alpha[steps - 1], gx[c])
        galpha[steps - 1] += dot(gx[c], directions[steps - 1][c, pad : pad + n])
    for k in range(steps - 2, -1, -1):
        p = directions[k]
        for c in range(channels):
            gbeta[k] += dot(gp[c], p[c, pad : pad + n])
            residual_gradient(gr[c], gp[c], q[c, pad : pad + n], f[c])
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            a, b = pad + first, pad + last
            _product(shifts, pad, m, q, first, last, out, work)
            _add_outer(shifts, pad, -alpha[k], q, p, first, last, gm)
            for c in range(channels):
                aq, qq, pp = part(out, c, last - first), q[c, a:b], p[c, a:b]
                gxc = gx[c, first:last]
                gkappa -= alpha[k] * dot(qq, pp)
                direction_gradient(gp[c, first:last], gxc, aq, qq, alpha[k], beta[k], kappa)
                galpha[k] += dot(gxc, pp) - dot(aq, pp)
    for c in range(channels):
        residual_gradient(gr[c], gp[c], q[c, pad : pad + n], f[c])
    return gkappa


@jit
def joint_glr_backward(
    offsets, shifts, height, width, again, w, x, free, alpha, beta, kappa, mix, g,
    gw, gx, galpha, gbeta, gkappa, gmix, signals, directions, m, gm, first, last,
):  # fmt: skip
    """Gradients of `joint_glr_forward`; those of scalars for each image.

    ``m`` and ``gm [K, pairs, N]`` are memory to work in; ``signals`` and ``directions`` as in
    `numba_unrolled_loops.glr_backward`.
    """
    n, pad, channels = height * width, border(shifts), x.shape[1]
    one = x.dtype.type(1)
    clean = np.empty((w.shape[1], n), x.dtype)
    q = np.zeros((channels, n + 2 * pad), x.dtype)
    r, gp = np.empty((channels, n), x.dtype), np.empty((channels, n), x.dtype)
    product, work = np.empty(channels * CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    for s in range(first, last):
        _load(offsets, w[s], mix, height, width, pad, m, clean)
        xs, ps = own(s, signals), own(s, directions)
        if again:
            _layers(shifts, pad, m, x[s], free[s], alpha, beta, kappa, xs, ps, r, product, work)
        for c in range(channels):
            copy(gx[s, c], g[s, c])
        for k in range(gm.shape[0]):
            for pair in range(gm.shape[1]):
                fill(gm[k, pair], 0)
        for l in range(alpha.shape[0] - 1, -1, -1):
            gkappa[s, l] = _cg_gradient(
                shifts, pad, m, ps[l], free[s], alpha[l], beta[l], kappa[l],
                gx[s], r, gp, q, gm, galpha[s, l], gbeta[s, l], product, work,
            )  # fmt: skip
            # The first residual is -f A x.
            for start in range(0, n, CHUNK):
                stop = min(start + CHUNK, n)
                _product(shifts, pad, m, q, start, stop, product, work)
                _add_outer(shifts, pad, -one, q, xs[l], start, stop, gm)
                for c in range(channels):
                    take(gx[s, c, start:stop], part(product, c, stop - start))
        _load_gradient(offsets, w[s], mix, height, width, gm, gw[s], gmix[s], clean)
