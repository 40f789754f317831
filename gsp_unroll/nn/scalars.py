"""Positive learned scalars are stored through the inverse of softplus."""

from __future__ import annotations

import math


def inverse_softplus(value: float) -> float:
    r"""The raw number whose softplus :math:`\log(1+e^r)` is ``value`` > 0."""
    return value + math.log(-math.expm1(-value))
