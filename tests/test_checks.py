"""Every check says which argument, what came, and what is allowed."""

import math

import numpy as np
import pytest
import torch

from gsp_unroll import checks


def test_one_of_lists_the_names_and_suggests_the_nearest():
    checks.one_of("norm", "softmax", ("softmax", "symmetric"))
    with pytest.raises(ValueError) as caught:
        checks.one_of("norm", "symetric", ("softmax", "symmetric"))
    assert str(caught.value) == (
        "norm must be one of 'softmax', 'symmetric', got 'symetric'; did you mean 'symmetric'?"
    )
    with pytest.raises(ValueError, match=r"got 17$"):
        checks.one_of("norm", 17, iter(["softmax"]))


def test_tensor_and_floating():
    x = torch.ones(2)
    assert checks.tensor("x", x) is x
    with pytest.raises(TypeError, match=r"^x must be a torch.Tensor, got ndarray$"):
        checks.tensor("x", np.ones(2))
    checks.floating("x", x.half())
    for wrong in (torch.ones(2, dtype=torch.int64), torch.ones(2) > 0, torch.ones(2) * 1j):
        with pytest.raises(TypeError, match=rf"x must be a floating-point .* got {wrong.dtype}"):
            checks.floating("x", wrong)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_finite_names_the_first_place_and_the_count(bad):
    x = torch.ones(2, 3)
    checks.finite("x", x)
    x[1, 0] = x[1, 2] = bad
    with pytest.raises(
        ValueError, match=rf"x must be finite, got {bad} at index \(1, 0\) \(2 such"
    ):
        checks.finite("x", x)


def test_shape_matches_numbers_and_leaves_names_free():
    checks.shape("x", torch.ones(2, 5), [2, "nodes"])
    checks.shape("x", torch.ones(()), [])
    for wrong in (torch.ones(3, 5), torch.ones(2), torch.ones(2, 5, 1)):
        with pytest.raises(ValueError) as caught:
            checks.shape("x", wrong, [2, "nodes"])
        assert str(caught.value) == f"x must have shape [2, nodes], got {list(wrong.shape)}"


def test_same_device_names_each_argument():
    x, y = torch.ones(1), torch.ones(1, device="meta")
    checks.same_device(x=x, z=x)
    with pytest.raises(ValueError, match=r"one device, got x on cpu, y on meta; move them"):
        checks.same_device(x=x, y=y)


def test_positive_int():
    assert checks.positive_int("k", 3) == 3
    assert checks.positive_int("k", 0, minimum=0) == 0
    with pytest.raises(ValueError, match=r"^k must be at least 1, got 0$"):
        checks.positive_int("k", 0)
    for wrong in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match=rf"k must be an int, got {type(wrong).__name__}"):
            checks.positive_int("k", wrong)


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (-1, (0, 1), "ratio must be finite and >= 0 and <= 1, got -1"),
        (2, (0, 1), "ratio must be finite and >= 0 and <= 1, got 2"),
        (2, (None, 1), "ratio must be finite and <= 1, got 2"),
        (math.nan, (None, None), "ratio must be finite, got nan"),
        (math.inf, (0, None), "ratio must be finite and >= 0, got inf"),
    ],
)
def test_in_range_states_the_rule(value, limits, message):
    with pytest.raises(ValueError) as caught:
        checks.in_range("ratio", value, *limits)
    assert str(caught.value) == message


def test_in_range_ends():
    assert checks.in_range("ratio", 0, 0, 1) == 0.0
    assert isinstance(checks.in_range("ratio", 1, 0, 1), float)
    assert checks.in_range("ratio", np.float32(0.5), 0, 1) == 0.5
    with pytest.raises(ValueError, match=r"ratio must be finite and > 0 and <= 1, got 0$"):
        checks.in_range("ratio", 0, 0, 1, open_low=True)
    for wrong in ("0.5", None, True, torch.ones(1)):
        with pytest.raises(TypeError, match=rf"ratio must be a number, got {type(wrong).__name__}"):
            checks.in_range("ratio", wrong, 0, 1)
