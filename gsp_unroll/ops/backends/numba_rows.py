"""Loops over one row of numbers, for LLVM to turn into SIMD code; all grid kernels use them.

Arguments are one-dimensional slices of equal length; the first one is written.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

# Products may be contracted to fused multiply-adds; sums keep their order.
FAST = {"contract", "nsz", "arcp"}
# Called from compiled code only: without an entry for Python they compile in half the time.
inner = njit(nogil=True, fastmath=FAST, no_cpython_wrapper=True, no_cfunc_wrapper=True)
# Sums in any order: lanes of a vector register add up side by side, the same way on every run.
inner_sum = njit(
    nogil=True, fastmath=FAST | {"reassoc"}, no_cpython_wrapper=True, no_cfunc_wrapper=True
)


@inner
def add_flow(y, w, x, n):
    """``y += w (x - n)``."""
    for j in range(y.shape[0]):
        y[j] += w[j] * (x[j] - n[j])


@inner
def add_four_flows(y, x, w1, n1, w2, n2, w3, n3, w4, n4):
    """``y += sum_k w_k (x - n_k)``: four neighbours at once, so that ``y`` stays in a register."""
    for j in range(y.shape[0]):
        v = x[j]
        y[j] += (
            w1[j] * (v - n1[j]) + w2[j] * (v - n2[j]) + w3[j] * (v - n3[j]) + w4[j] * (v - n4[j])
        )


@inner
def add_product(y, a, b):
    """``y += a b``."""
    for j in range(y.shape[0]):
        y[j] += a[j] * b[j]


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
def add_inner(y, xu, xv, gu, gv):
    """``y += (xu - xv) (gu - gv)``."""
    for j in range(y.shape[0]):
        y[j] += (xu[j] - xv[j]) * (gu[j] - gv[j])


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
def subtract(y, a, b):
    """``y = a - b``."""
    for j in range(y.shape[0]):
        y[j] = a[j] - b[j]


@inner
def copy(y, a):
    """``y = a``."""
    for j in range(y.shape[0]):
        y[j] = a[j]


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
        y[j] = max(y[j], a[j])


@inner
def average_shares(w, p, share_u, share_v):
    """``p *= share_u`` and ``w = (p + w share_v) / 2``."""
    half = w.dtype.type(0.5)
    for j in range(w.shape[0]):
        p[j] *= share_u[j]
        w[j] = half * (p[j] + w[j] * share_v[j])


@inner
def add_half_product(y, g, p):
    """``y += g p / 2``."""
    half = y.dtype.type(0.5)
    for j in range(y.shape[0]):
        y[j] += half * g[j] * p[j]


@inner
def add_other_half(y, g, w, p):
    """``y += g (2 w - p) / 2``."""
    half = y.dtype.type(0.5)
    for j in range(y.shape[0]):
        y[j] += g[j] * (w[j] - half * p[j])


@inner
def softmax_row_gradient(y, g, w, p, back_u, back_v):
    """``y = p (g / 2 - back_u) + (2 w - p) (g / 2 - back_v)``."""
    half = y.dtype.type(0.5)
    for j in range(y.shape[0]):
        q = w[j] + (w[j] - p[j])
        y[j] = p[j] * (half * g[j] - back_u[j]) + q * (half * g[j] - back_v[j])


def exp_of_nonpositive(y, bits, power):
    """``y = exp(y)`` for ``y <= 0``, to an error of about one unit in the last place.

    ``exp(y) = 2^n exp(f)`` with ``|f| <= log(2)/2``, a Taylor polynomial for the second factor and
    the bits of the exponent for the first. Numba calls a scalar function for each ``exp``
    otherwise, which is ten times slower. Below the smallest normal number the result is zero.

    ``bits`` is scratch space, integers, at least as many as ``y`` has; ``power`` is the same memory
    seen as numbers.
    """
    raise NotImplementedError("compiled code only")


_LOG2E = 1.4426950408889634
# log(2) in two parts, the first one exact in products with small integers.
_LN2_HIGH_32, _LN2_LOW_32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LN2_HIGH_64, _LN2_LOW_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_TAYLOR_32 = tuple(np.float32(1 / math.factorial(k)) for k in range(8))
_TAYLOR_64 = tuple(1 / math.factorial(k) for k in range(14))
_LOWEST_32, _LOWEST_64 = np.float32(-87.3), -708.3


@overload(exp_of_nonpositive)
def _exp_of_nonpositive(y, bits, power):
    single = y.dtype == types.float32
    number = np.float32 if single else np.float64
    integer = np.int32 if single else np.int64
    high, low = (_LN2_HIGH_32, _LN2_LOW_32) if single else (_LN2_HIGH_64, _LN2_LOW_64)
    lowest = _LOWEST_32 if single else _LOWEST_64
    log2e, half = number(_LOG2E), number(0.5)
    bias, shift = integer(127 if single else 1023), integer(23 if single else 52)
    if single:
        t7, t6, t5, t4, t3, t2, t1, t0 = reversed(_TAYLOR_32)

        def polynomial(y, bits, power):
            for j in range(y.shape[0]):
                under = y[j] < lowest
                v = lowest if under else y[j]
                n = np.floor(v * log2e + half)
                f = (v - n * high) - n * low
                bits[j] = integer(0) if under else (integer(n) + bias) << shift
                p = ((t7 * f + t6) * f + t5) * f + t4
                y[j] = (((p * f + t3) * f + t2) * f + t1) * f + t0
            for j in range(y.shape[0]):
                y[j] *= power[j]

    else:
        t13, t12, t11, t10, t9, t8, t7, t6, t5, t4, t3, t2, t1, t0 = reversed(_TAYLOR_64)

        def polynomial(y, bits, power):
            for j in range(y.shape[0]):
                under = y[j] < lowest
                v = lowest if under else y[j]
                n = np.floor(v * log2e + half)
                f = (v - n * high) - n * low
                bits[j] = integer(0) if under else (integer(n) + bias) << shift
                p = ((((t13 * f + t12) * f + t11) * f + t10) * f + t9) * f + t8
                p = ((((p * f + t7) * f + t6) * f + t5) * f + t4) * f + t3
                y[j] = ((p * f + t2) * f + t1) * f + t0
            for j in range(y.shape[0]):
                y[j] *= power[j]

    return polynomial
