"""Compiled unrolled solver of several graphs in one system, on a grid: one image in cache.

The operator is ``A = sum_h S_h L_h``: ``S_h [C, C]``, symmetric, mixes the channels of each pixel
and commutes with ``L_h``, which works on each channel alone. Layout and names as in
`numba_cg_loops`, with a leading dimension of heads for weights.
"""

from __future__ import annotations

import numpy as np

from gsp_unroll.ops.backends.numba_cg_loops import (
    CHUNK,
    add_inner,
    border,
    cg_update,
    clear_unused,
    direction_gradient,
    first_direction,
    jit,
    laplacian,
    load_weights,
    residual_gradient,
)
from gsp_unroll.ops.backends.numba_rows import add_scaled, copy, dot, fill, inner, take


@inner
def _product(shifts, pad, w, mix, x, first, last, out, work):
    """``out = A x`` for the pixels ``first <= i < last``."""
    m = last - first
    for c in range(out.shape[0]):
        fill(out[c, :m], 0)
    for h in range(w.shape[0]):
        for c in range(out.shape[0]):
            laplacian(shifts, pad, w[h], x, c, first, last, work)
            for d in range(out.shape[0]):
                add_scaled(out[d, :m], mix[h, d, c], work[:m])


@inner
def _start(shifts, pad, w, mix, x, r, p, f, out, work):
    """``r = p = -f A x``."""
    n = r.shape[1]
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        _product(shifts, pad, w, mix, x, first, last, out, work)
        for c in range(r.shape[0]):
            first_direction(
                r[c, first:last], p[c, pad + first : pad + last], f[c, first:last],
                out[c, : last - first],
            )  # fmt: skip


@inner
def _cg(shifts, pad, w, mix, x, r, directions, f, alpha, beta, kappa, out, work):
    """All CG steps, as `numba_cg_loops.cg`."""
    n, kept, steps = r.shape[1], directions.shape[0], alpha.shape[0]
    for k in range(steps - 1):
        p, following = directions[k % kept], directions[(k + 1) % kept]
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            a, b = pad + first, pad + last
            _product(shifts, pad, w, mix, p, first, last, out, work)
            for c in range(r.shape[0]):
                cg_update(
                    x[c, a:b], r[c, first:last], p[c, a:b], following[c, a:b], f[c, first:last],
                    out[c, : last - first], alpha[k], beta[k], kappa,
                )  # fmt: skip
    for c in range(r.shape[0]):
        add_scaled(
            x[c, pad : pad + n], alpha[steps - 1], directions[(steps - 1) % kept][c, pad : pad + n]
        )


@inner
def _load(offsets, weights, height, width, pad, w):
    for h in range(w.shape[0]):
        load_weights(offsets, weights[h], height, width, pad, w.dtype.type(0), w[h])


@jit
def joint_glr_forward(
    offsets, shifts, height, width, w, x, free, alpha, beta, kappa, mix, out, first, last
):
    """``out, x, free [B, C, N]``, ``w [B, heads, K, N]``, ``mix [heads, C, C]``."""
    n, pad, channels, heads = height * width, border(shifts), x.shape[1], w.shape[1]
    ww = np.empty((heads, offsets.shape[0], pad + n), x.dtype)
    xx = np.zeros((channels, n + 2 * pad), x.dtype)
    directions = np.zeros((2, channels, n + 2 * pad), x.dtype)
    r = np.empty((channels, n), x.dtype)
    product, work = np.empty((channels, CHUNK), x.dtype), np.empty(CHUNK, x.dtype)
    for s in range(first, last):
        _load(offsets, w[s], height, width, pad, ww)
        for c in range(channels):
            copy(xx[c, pad : pad + n], x[s, c])
        for l in range(alpha.shape[0]):
            _start(shifts, pad, ww, mix, xx, r, directions[0], free[s], product, work)
            _cg(
                shifts, pad, ww, mix, xx, r, directions, free[s], alpha[l], beta[l], kappa[l],
                product, work,
            )  # fmt: skip
        for c in range(channels):
            copy(out[s, c], xx[c, pad : pad + n])


@inner
def _product_gradient(shifts, pad, w, mix, scale, q, p, gw, gmix, mixed, out, work):
    """``out = A q``, and the gradients of ``scale q^T A p`` added to ``gw`` and ``gmix``."""
    channels, n = out.shape
    for c in range(channels):
        fill(out[c], 0)
    for h in range(w.shape[0]):
        for d in range(channels):
            fill(mixed[d, pad : pad + n], 0)
            for c in range(channels):
                add_scaled(mixed[d, pad : pad + n], mix[h, d, c], p[c, pad : pad + n])
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            for c in range(channels):
                laplacian(shifts, pad, w[h], q, c, first, last, work)
                add_inner(shifts, pad, scale, q, mixed, c, first, last, gw[h])
                row = work[: last - first]
                for d in range(channels):
                    gmix[h, c, d] += scale * dot(row, p[d, pad + first : pad + last])
                    add_scaled(out[d, first:last], mix[h, d, c], row)


@inner
def _cg_gradient(
    shifts, pad, w, mix, directions, f, alpha, beta, kappa,
    gx, gr, gp, q, gw, gmix, galpha, gbeta, mixed, out, work,
):  # fmt: skip
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
        _product_gradient(shifts, pad, w, mix, -alpha[k], q, p, gw, gmix, mixed, out, work)
        for c in range(channels):
            qq, pp = q[c, pad : pad + n], p[c, pad : pad + n]
            gkappa -= alpha[k] * dot(qq, pp)
            direction_gradient(gp[c], gx[c], out[c], qq, alpha[k], beta[k], kappa)
            galpha[k] += dot(gx[c], pp) - dot(out[c], pp)
    for c in range(channels):
        residual_gradient(gr[c], gp[c], q[c, pad : pad + n], f[c])
    return gkappa


@jit
def joint_glr_backward(
    offsets, shifts, height, width, w, x, free, alpha, beta, kappa, mix, g,
    gw, gx, galpha, gbeta, gkappa, gmix, first, last,
):  # fmt: skip
    """Gradients of `joint_glr_forward`, which it runs again; those of scalars for each image."""
    n, pad, channels, heads = height * width, border(shifts), x.shape[1], w.shape[1]
    layers, steps = alpha.shape
    one = x.dtype.type(1)
    ww = np.empty((heads, offsets.shape[0], pad + n), x.dtype)
    xs = np.zeros((layers + 1, channels, n + 2 * pad), x.dtype)
    directions = np.zeros((layers, steps, channels, n + 2 * pad), x.dtype)
    q = np.zeros((channels, n + 2 * pad), x.dtype)
    mixed = np.zeros((channels, n + 2 * pad), x.dtype)
    r, gp = np.empty((channels, n), x.dtype), np.empty((channels, n), x.dtype)
    out = np.empty((channels, n), x.dtype)
    product, work = np.empty((channels, CHUNK), x.dtype), np.empty(CHUNK, x.dtype)
    for s in range(first, last):
        _load(offsets, w[s], height, width, pad, ww)
        for c in range(channels):
            copy(xs[0, c, pad : pad + n], x[s, c])
            copy(gx[s, c], g[s, c])
        for l in range(layers):
            for c in range(channels):
                copy(xs[l + 1, c], xs[l, c])
            _start(shifts, pad, ww, mix, xs[l], r, directions[l, 0], free[s], product, work)
            _cg(
                shifts, pad, ww, mix, xs[l + 1], r, directions[l], free[s], alpha[l], beta[l],
                kappa[l], product, work,
            )  # fmt: skip
        for h in range(heads):
            for k in range(offsets.shape[0]):
                fill(gw[s, h, k], 0)
        for l in range(layers - 1, -1, -1):
            gkappa[s, l] = _cg_gradient(
                shifts, pad, ww, mix, directions[l], free[s], alpha[l], beta[l], kappa[l],
                gx[s], r, gp, q, gw[s], gmix[s], galpha[s, l], gbeta[s, l], mixed, out, work,
            )  # fmt: skip
            # The first residual is -f A x.
            _product_gradient(
                shifts, pad, ww, mix, -one, q, xs[l], gw[s], gmix[s], mixed, out, work
            )
            for c in range(channels):
                take(gx[s, c], out[c])
        for h in range(heads):
            clear_unused(offsets, height, width, gw[s, h])
