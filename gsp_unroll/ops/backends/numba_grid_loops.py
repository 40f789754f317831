"""Compiled loops over the rows of a grid; what they compute is said in `numba_grid`.

Arrays are ``x [S, C, H, W]``, ``w [S, K, H, W]``, ``e [S, C, K, H, W]`` with ``S`` independent
systems and ``K`` offsets of the half window. Work is cut by rows: the rows of all systems are
numbered ``0 .. S H``, and each call does ``first <= row < last``. A row of a node quantity gathers
from both ends of each offset and is written by one call only; nothing is added up across calls, so
results do not depend on how the work was cut.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from gsp_unroll.ops.backends.numba_rows import (
    FAST,
    add,
    add_flow,
    add_product,
    clear_outside,
    columns,
    copy,
    fill,
    inlined,
    inner,
    larger,
    product_of_three,
    subtract_product,
    weighted_difference,
)
from gsp_unroll.ops.backends.numba_stream import stream, streams

# Numba's cache on disk looks at this file only: it has to change with what it compiles, see
# tests/ops/test_ops_numba_cache.py.
HELPERS = "7692545867e0"

_jit = njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
# Pixels at a time: their rows stay in the cache.
_RUN = 1024
# The same for products that read the weights again for each channel.
_PIECE = 512


@_jit
def laplacian(offsets, w, x, y, first, last):
    channels, height, width = x.shape[1:]
    size, reach, plane = offsets.shape[0], offsets[-1, 0], height * width
    w, x, y = w.reshape(-1), x.reshape(-1), y.reshape(-1)
    # Where all neighbours exist: columns left <= j < right of the rows that are not at a border.
    left, right = reach, max(reach, width - reach)
    while first < last:
        s, r = first // height, first % height
        if not (reach <= r < height - reach and left < right):
            _laplacian_of_row(offsets, w, x, y, s, r, channels, height, width)
            first += 1
            continue
        # All rows up to the border as one long row, a piece of it for all channels at a time.
        # Pixels near the sides, where that takes wrong neighbours, come after.
        end = min(height - reach, r + last - first)
        stop = (end - 1) * width + right
        for begin in range(r * width + left, stop, _PIECE):
            count = min(_PIECE, stop - begin)
            e = s * size * plane + begin
            for c in range(channels):
                i = (s * channels + c) * plane + begin
                fill(y[i : i + count], 0)
                # The half window has an even number of offsets, whatever its size.
                for k in range(0, size, 2):
                    _add_four_flows(
                        y, x, i, count, w, e + k * plane, e + (k + 1) * plane,
                        offsets[k, 0] * width + offsets[k, 1],
                        offsets[k + 1, 0] * width + offsets[k + 1, 1],
                    )  # fmt: skip
        for c in range(channels):
            for row in range(r, end):
                i = ((s * channels + c) * height + row) * width
                e = (s * size * height + row) * width
                _at_sides(y, x, i, w, e, offsets, height, width)
        first += end - r


@inner
def _laplacian_of_row(offsets, w, x, y, s, r, channels, height, width):
    """``y = L x`` for row ``r`` of system ``s``, wherever it is."""
    size = offsets.shape[0]
    for c in range(channels):
        i = ((s * channels + c) * height + r) * width
        fill(y[i : i + width], 0)
        for k in range(size):
            dr, dc = offsets[k, 0], offsets[k, 1]
            e = ((s * size + k) * height + r) * width
            shift = dr * width + dc
            a, b = columns(r, dr, dc, height, width)
            _add_flow(y, x, i, i + shift, w, e, a, b)
            a, b = columns(r, -dr, -dc, height, width)
            _add_flow(y, x, i, i - shift, w, e - shift, a, b)


@inner
def _at_sides(y, x, i, w, e, offsets, height, width):
    """``y = L x`` near the sides of the image, for the row of pixel ``i`` and edge ``e``."""
    reach, plane = offsets[-1, 0], height * width
    for side in range(2 * reach):
        j = side if side < reach else width - 2 * reach + side
        here = x[np.uint64(i + j)]
        total = x.dtype.type(0)
        for k in range(offsets.shape[0]):
            dc = offsets[k, 1]
            shift = offsets[k, 0] * width + dc
            at = e + k * plane + j
            if 0 <= j + dc < width:
                total += w[np.uint64(at)] * (here - x[np.uint64(i + j + shift)])
            if 0 <= j - dc < width:
                total += w[np.uint64(at - shift)] * (here - x[np.uint64(i + j - shift)])
        y[np.uint64(i + j)] = total


@inner
def _add_flow(y, x, i, n, w, e, a, b):
    """``y_i += w_e (x_i - x_n)`` for the columns ``a <= j < b`` of the rows that begin at these.

    Unsigned indices: a signed one may be negative, count from the end, and prevent SIMD.
    """
    i, n, e = np.uint64(i + a), np.uint64(n + a), np.uint64(e + a)
    for j in range(np.uint64(max(0, b - a))):
        y[i + j] += w[e + j] * (x[i + j] - x[n + j])


@inner
def _add_four_flows(y, x, i, count, w, e1, e2, shift1, shift2):
    """Flow from the neighbours at both ends of two offsets, so that ``y`` stays in a register."""
    n = np.uint64(count)
    i, u1, u2 = np.uint64(i), np.uint64(e1), np.uint64(e2)
    v1, v2 = u1 - np.uint64(shift1), u2 - np.uint64(shift2)
    a1, b1 = i + np.uint64(shift1), i - np.uint64(shift1)
    a2, b2 = i + np.uint64(shift2), i - np.uint64(shift2)
    for j in range(n):
        v = x[i + j]
        y[i + j] += (
            w[u1 + j] * (v - x[a1 + j])
            + w[v1 + j] * (v - x[b1 + j])
            + w[u2 + j] * (v - x[a2 + j])
            + w[v2 + j] * (v - x[b2 + j])
        )


@_jit
def difference(offsets, w, x, e, first, last):
    height, width = x.shape[2], x.shape[3]
    past_cache, line, flat = streams(e), np.empty(width, e.dtype), e.reshape(-1)
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = columns(r, dr, dc, height, width)
            for c in range(x.shape[1]):
                i = (((s * x.shape[1] + c) * offsets.shape[0] + k) * height + r) * width
                row = line if past_cache else flat[i : i + width]
                clear_outside(row, a, b)
                if a < b:
                    weighted_difference(
                        row[a:b], w[s, k, r, a:b], x[s, c, r, a:b],
                        x[s, c, r + dr, a + dc : b + dc],
                    )  # fmt: skip
                if past_cache:
                    stream(flat, i, line)


@_jit
def divergence(offsets, w, e, y, first, last):
    height, width = y.shape[2], y.shape[3]
    for number in range(first, last):
        s, r = number // height, number % height
        for c in range(y.shape[1]):
            fill(y[s, c, r], 0)
            for k in range(offsets.shape[0]):
                dr, dc = offsets[k, 0], offsets[k, 1]
                a, b = columns(r, dr, dc, height, width)
                if a < b:
                    add_product(y[s, c, r, a:b], w[s, k, r, a:b], e[s, c, k, r, a:b])
                a, b = columns(r, -dr, -dc, height, width)
                if a < b:
                    subtract_product(
                        y[s, c, r, a:b],
                        w[s, k, r - dr, a - dc : b - dc],
                        e[s, c, k, r - dr, a - dc : b - dc],
                    )


@_jit
def edge_inner(offsets, x, g, out, first, last):
    channels, height, width = x.shape[1:]
    past_cache, x, g, flat = streams(out), x.reshape(-1), g.reshape(-1), out.reshape(-1)
    # Rows at a time, as one long row; what they hold where no neighbour is gets cleared after.
    rows = max(1, _RUN // width)
    lines = np.empty(rows * width, out.dtype)
    while first < last:
        s, begin = first // height, first % height
        end = min(height, begin + last - first, begin + rows)
        first += end - begin
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = max(0, -dc), min(width, width - dc)
            stop = min(end, height - dr) if a < b else begin
            e = ((s * offsets.shape[0] + k) * height + begin) * width
            size = (end - begin) * width
            y = lines[:size] if past_cache else flat[e : e + size]
            fill(y, 0)
            for c in range(channels if begin < stop else 0):
                i = ((s * channels + c) * height + begin) * width + a
                count = (stop - begin - 1) * width + b - a
                _add_inner(y, a, x, g, i, i + dr * width + dc, count)
            for row in range(stop - begin):
                clear_outside(y[row * width : (row + 1) * width], a, b)
            if past_cache:
                stream(flat, e, y)


@inner
def _add_inner(y, e, x, g, i, n, count):
    """``y += (x_i - x_n) (g_i - g_n)``; unsigned indices as in `_add_flow`."""
    e, i, n = np.uint64(e), np.uint64(i), np.uint64(n)
    for j in range(np.uint64(count)):
        y[e + j] += (x[i + j] - x[n + j]) * (g[i + j] - g[n + j])


@_jit
def edge_dot(offsets, x, e, out, first, last):
    height, width = x.shape[2], x.shape[3]
    past_cache, line, flat = streams(out), np.empty(width, out.dtype), out.reshape(-1)
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = columns(r, dr, dc, height, width)
            i = ((s * offsets.shape[0] + k) * height + r) * width
            row = line if past_cache else flat[i : i + width]
            fill(row, 0)
            if a < b:
                for c in range(x.shape[1]):
                    add_flow(
                        row[a:b], e[s, c, k, r, a:b], x[s, c, r, a:b],
                        x[s, c, r + dr, a + dc : b + dc],
                    )  # fmt: skip
            if past_cache:
                stream(flat, i, line)


@_jit
def at_ends(offsets, values, at_u, at_v, first, last):
    height, width = values.shape[1], values.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = columns(r, dr, dc, height, width)
            clear_outside(at_u[s, k, r], a, b)
            clear_outside(at_v[s, k, r], a, b)
            if a < b:
                copy(at_u[s, k, r, a:b], values[s, r, a:b])
                copy(at_v[s, k, r, a:b], values[s, r + dr, a + dc : b + dc])


@_jit
def scale_ends(offsets, w, s, out, first, last):
    height, width = s.shape[1], s.shape[2]
    past_cache, line, flat = streams(out), np.empty(width, out.dtype), out.reshape(-1)
    for number in range(first, last):
        t, r = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = columns(r, dr, dc, height, width)
            i = ((t * offsets.shape[0] + k) * height + r) * width
            row = line if past_cache else flat[i : i + width]
            clear_outside(row, a, b)
            if a < b:
                product_of_three(
                    row[a:b], w[t, k, r, a:b], s[t, r, a:b], s[t, r + dr, a + dc : b + dc]
                )
            if past_cache:
                stream(flat, i, line)


@_jit
def scaled_gradient(offsets, g, s, r, t, out, first, last):
    """``out = s_u s_v (g r_u r_v + t_u + t_v)``."""
    height, width = s.shape[1], s.shape[2]
    past_cache, line = streams(out), np.empty(width, out.dtype)
    g, s, r, t, flat = g.reshape(-1), s.reshape(-1), r.reshape(-1), t.reshape(-1), out.reshape(-1)
    for number in range(first, last):
        system, row = number // height, number % height
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            e = ((system * offsets.shape[0] + k) * height + row) * width
            a, b = columns(row, dr, dc, height, width)
            y = line if past_cache else flat[e : e + width]
            clear_outside(y, a, b)
            u = number * width + a
            _scaled_gradient(y, a, g, e + a, s, r, t, u, u + dr * width + dc, b - a)
            if past_cache:
                stream(flat, e, line)


@inlined
def _scaled_gradient(y, i, g, e, s, r, t, u, v, count):
    """Unsigned indices as in `_add_flow`."""
    i, e, u, v = np.uint64(i), np.uint64(e), np.uint64(u), np.uint64(v)
    for j in range(np.uint64(max(0, count))):
        y[i + j] = (s[u + j] * s[v + j]) * (
            g[e + j] * (r[u + j] * r[v + j]) + (t[u + j] + t[v + j])
        )


@_jit
def neighbour_sum(offsets, w, s, y, first, last):
    height, width = y.shape[1], y.shape[2]
    w, s, y = w.reshape(-1), s.reshape(-1), y.reshape(-1)
    for number in range(first, last):
        t, r = number // height, number % height
        i = number * width
        fill(y[i : i + width], 0)
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            e = ((t * offsets.shape[0] + k) * height + r) * width
            shift = dr * width + dc
            a, b = columns(r, dr, dc, height, width)
            _add_product(y, i + a, w, e + a, s, i + shift + a, b - a)
            a, b = columns(r, -dr, -dc, height, width)
            _add_product(y, i + a, w, e - shift + a, s, i - shift + a, b - a)


@inlined
def _add_product(y, i, w, e, s, n, count):
    """``y_i += w_e s_n``; unsigned indices as in `_add_flow`."""
    i, e, n = np.uint64(i), np.uint64(e), np.uint64(n)
    for j in range(np.uint64(max(0, count))):
        y[i + j] += w[e + j] * s[n + j]


@_jit
def neighbour_sum_of_products(offsets, w, g, s, y, first, last):
    height, width = y.shape[1], y.shape[2]
    w, g, s, y = w.reshape(-1), g.reshape(-1), s.reshape(-1), y.reshape(-1)
    for number in range(first, last):
        t, r = number // height, number % height
        i = number * width
        fill(y[i : i + width], 0)
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            e = ((t * offsets.shape[0] + k) * height + r) * width
            shift = dr * width + dc
            a, b = columns(r, dr, dc, height, width)
            _add_two_products(y, i + a, w, g, e + a, s, i + shift + a, b - a)
            a, b = columns(r, -dr, -dc, height, width)
            _add_two_products(y, i + a, w, g, e - shift + a, s, i - shift + a, b - a)


@inlined
def _add_two_products(y, i, w, g, e, s, n, count):
    """``y_i += w_e g_e s_n``; unsigned indices as in `_add_flow`."""
    i, e, n = np.uint64(i), np.uint64(e), np.uint64(n)
    for j in range(np.uint64(max(0, count))):
        y[i + j] += (w[e + j] * g[e + j]) * s[n + j]


@_jit
def sum_ends(offsets, at_u, at_v, y, first, last):
    height, width = y.shape[1], y.shape[2]
    for number in range(first, last):
        s, r = number // height, number % height
        fill(y[s, r], 0)
        for k in range(offsets.shape[0]):
            dr, dc = offsets[k, 0], offsets[k, 1]
            a, b = columns(r, dr, dc, height, width)
            if a < b:
                add(y[s, r, a:b], at_u[s, k, r, a:b])
            a, b = columns(r, -dr, -dc, height, width)
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
            a, b = columns(r, dr, dc, height, width)
            if a < b:
                larger(y[s, r, a:b], w[s, k, r, a:b])
            a, b = columns(r, -dr, -dc, height, width)
            if a < b:
                larger(y[s, r, a:b], w[s, k, r - dr, a - dc : b - dc])
