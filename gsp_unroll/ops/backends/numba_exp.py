"""Exponential function of compiled loops, for LLVM to turn into SIMD code.

Numba calls a function of the C library for each ``math.exp``, which is ten times slower in a loop.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from gsp_unroll.ops.backends.numba_rows import inner

_FLOAT = {types.int32: types.float32, types.int64: types.float64}
_LOG2E = 1.4426950408889634
# log(2) in two parts, the first one exact in products with small integers.
_LN2_32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LN2_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Of the polynomials 1 + f + f^2 (...) of degree 6 the one with the smallest largest relative error
# for |f| <= log(2)/2, 3e-9: one degree less than Taylor's.
_BEST_32 = tuple(
    np.float32(c) for c in (1, 1, 0.49999994, 0.166665196, 0.0416684, 0.00836885162, 0.00138143182)
)
_TAYLOR_64 = tuple(1 / math.factorial(k) for k in range(14))


def exp_of_nonpositive(v: float) -> float:
    """``exp(v)`` for ``v <= 0``, to an error of about one unit in the last place.

    In compiled code ``exp(v) = 2^n exp(f)`` with ``|f| <= log(2)/2``: a polynomial for the second
    factor and the bits of the exponent for the first. Zero below about the smallest normal number.
    """
    return math.exp(v)


@intrinsic
def _number_with(typing: Any, bits: Any) -> Any:
    """The floating-point number that has these bits."""
    result = _FLOAT[bits]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(result))

    return result(bits), codegen


@overload(exp_of_nonpositive)
def _compiled(v):
    single = v == types.float32
    number, integer = (np.float32, np.int32) if single else (np.float64, np.int64)
    high, low = _LN2_32 if single else _LN2_64
    # Where n is that of the exponent whose bits are zero, as are those of the number 0.
    lowest = number(-88.03 if single else -709.05)
    log2e, half = number(_LOG2E), number(0.5)
    bias, shift = integer(127 if single else 1023), integer(23 if single else 52)
    if single:
        t6, t5, t4, t3, t2, t1, t0 = reversed(_BEST_32)

        def polynomial(f):
            return (((((t6 * f + t5) * f + t4) * f + t3) * f + t2) * f + t1) * f + t0

    else:
        t13, t12, t11, t10, t9, t8, t7, t6, t5, t4, t3, t2, t1, t0 = reversed(_TAYLOR_64)

        def polynomial(f):
            p = ((((((t13 * f + t12) * f + t11) * f + t10) * f + t9) * f + t8) * f + t7) * f + t6
            return (((((p * f + t5) * f + t4) * f + t3) * f + t2) * f + t1) * f + t0

    polynomial = inner(polynomial)

    def exp(v):
        v = lowest if v < lowest else v
        n = np.floor(v * log2e + half)
        power = _number_with(integer((integer(n) + bias) << shift))
        return polynomial((v - n * high) - n * low) * power

    return exp
