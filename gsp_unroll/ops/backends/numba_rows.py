"""Loops over one row of numbers, for LLVM to turn into SIMD code; all grid kernels use them.

Arguments are one-dimensional slices of equal length; the first one is written.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Products may be contracted to fused multiply-adds; sums keep their order.
FAST = {"contract", "nsz", "arcp"}
# Called from compiled code only: without an entry for Python they compile in half the time.
inner = njit(nogil=True, fastmath=FAST, no_cpython_wrapper=True, no_cfunc_wrapper=True)
# Always inlined, for short rows: to call a function with many arrays takes as long as 64 pixels.
inlined = njit(
    nogil=True, fastmath=FAST, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
)
# Sums in any order: lanes of a vector register add up side by side, the same way on every run.
# Always inlined: compiled on its own it would add in another order than within its caller, and a
# process that compiles runs the one, a process that finds machine code in the cache the other.
inner_sum = njit(
    nogil=True, fastmath=FAST | {"reassoc"}, no_cpython_wrapper=True, no_cfunc_wrapper=True,
    forceinline=True,
)  # fmt: skip


@inner
def columns(row, dr, dc, height, width):
    """Columns ``a <= j < b`` of ``row`` whose pixel ``(row + dr, j + dc)`` is inside the image."""
    if row + dr < 0 or row + dr >= height:
        return 0, 0
    a, b = max(0, -dc), min(width, width - dc)
    return (a, b) if a < b else (0, 0)


@inner
def add_flow(y, w, x, n):
    """``y += w (x - n)``."""
    for j in range(y.shape[0]):
        y[j] += w[j] * (x[j] - n[j])


@inner
def add_product(y, a, b):
    """``y += a b``."""
    for j in range(y.shape[0]):
        y[j] += a[j] * b[j]


@inner
def product_of_three(y, a, b, c):
    """``y = a b c``."""
    for j in range(y.shape[0]):
        y[j] = a[j] * b[j] * c[j]


@inner
def subtract_product(y, a, b):
    """``y -= a b``."""
    for j in range(y.shape[0]):
        y[j] -= a[j] * b[j]


@inner
def weighted_difference(y, w, u, v):
    """``y = w (u - v)``."""
    for j in range(y.shape[0]):
        y[j] = w[j] * (u[j] - v[j])


@inner
def add_scaled(y, scale, x):
    """``y += scale x``."""
    for j in range(y.shape[0]):
        y[j] += scale * x[j]


@inner_sum
def dot(a, b):
    """``sum_j a_j b_j``."""
    total = a.dtype.type(0)
    for j in range(a.shape[0]):
        total += a[j] * b[j]
    return total


@inner
def add(y, a):
    """``y += a``."""
    for j in range(y.shape[0]):
        y[j] += a[j]


@inner
def take(y, a):
    """``y -= a``."""
    for j in range(y.shape[0]):
        y[j] -= a[j]


@inner
def copy(y, a):
    """``y = a``."""
    for j in range(y.shape[0]):
        y[j] = a[j]


@inner
def at_least(y, a, floor):
    """``y = max(a, floor)``."""
    for j in range(y.shape[0]):
        y[j] = np.maximum(a[j], floor)


@inner
def roots(y, a):
    """``y = sqrt(a)``."""
    for j in range(y.shape[0]):
        y[j] = np.sqrt(a[j])


@inner
def fill(y, value):
    """``y = value``."""
    for j in range(y.shape[0]):
        y[j] = value


@inner
def clear_outside(y, a, b):
    """``y = 0`` but for ``a <= j < b``."""
    for j in range(a):
        y[j] = 0
    for j in range(b, y.shape[0]):
        y[j] = 0


@inner
def larger(y, a):
    """``y = max(y, a)``."""
    for j in range(y.shape[0]):
        y[j] = np.maximum(y[j], a[j])  # unlike `max`, it is vectorised
