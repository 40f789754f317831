"""The vectorised exponential of the compiled kernels."""

from __future__ import annotations

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from gsp_unroll.ops.backends.numba_exp import exp_of_nonpositive  # noqa: E402


@numba.njit
def _exp(values, out):
    for j in range(len(values)):
        out[j] = exp_of_nonpositive(values[j])


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_exponential_is_right_to_one_unit_in_the_last_place(number):
    values = -np.abs(np.random.default_rng(0).normal(0, 20, 5000)).astype(number)
    values[:4] = [0, -np.inf, -1e30, np.nan]
    out = np.empty_like(values)
    _exp(values, out)
    assert out[:3].tolist() == [1, 0, 0]
    assert np.isnan(out[3])
    exact = np.exp(values[4:].astype(np.longdouble))
    normal = exact > np.finfo(number).tiny
    error = np.abs(out[4:] - exact)[normal] / exact[normal]
    assert error.max() < 1.01 * np.finfo(number).eps
    assert np.abs(out[4:] - exact)[~normal].max(initial=0) <= np.finfo(number).tiny


def test_compiled_code_and_python_agree():
    out = np.empty(1)
    _exp(np.array([-1.5]), out)
    assert out[0] == pytest.approx(exp_of_nonpositive(-1.5), rel=1e-15)
