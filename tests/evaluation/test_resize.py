from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from gsp_unroll.evaluation.resize import cubic, cubic_shifted, linear
from gsp_unroll.observe import decimation_mask, fill_in, observe

SIZES = [(1, 1), (2, 2), (1, 6), (9, 8), (11, 13)]


@pytest.mark.parametrize("interpolation", [linear, cubic])
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_samples_stay_where_they_are(interpolation, height, width, factor):
    truth = torch.rand(2, height, width, dtype=torch.float64)
    samples = truth[..., ::factor, ::factor]
    result = interpolation(samples, height, width, factor)
    assert result.shape == truth.shape
    torch.testing.assert_close(result[..., ::factor, ::factor], samples, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_linear_is_the_initial_fill_for_factor_two(height, width):
    truth = torch.rand(1, height, width, dtype=torch.float64)
    mask = decimation_mask(height, width)
    expected = fill_in(observe(truth, mask), mask)
    torch.testing.assert_close(linear(truth[:, ::2, ::2], height, width), expected)


def test_cubic_reproduces_quadratics_inside():
    i, j = torch.meshgrid(torch.arange(24.0).double(), torch.arange(24.0).double(), indexing="ij")
    truth = 0.01 * i**2 - 0.02 * i * j + 0.03 * j**2 + j - 2
    result = cubic(truth[::2, ::2], 24, 24)
    torch.testing.assert_close(result[2:-4, 2:-4], truth[2:-4, 2:-4])


def test_shifted_is_the_call_of_the_papers_and_is_off_by_half_a_pixel():
    ramp = torch.arange(16.0, dtype=torch.float64).expand(16, 16)
    samples = ramp[::2, ::2]
    shifted = cubic_shifted(samples, 16, 16)
    called = functional.interpolate(samples[None, None], size=(16, 16), mode="bicubic")[0, 0]
    torch.testing.assert_close(shifted, called)
    inner = (slice(4, -4), slice(4, -4))
    # Torch's kernel (a = -3/4) does not keep a ramp straight, so only the mean shift is exact.
    assert (shifted - ramp)[inner].mean().item() == pytest.approx(-0.5)
    torch.testing.assert_close(cubic(samples, 16, 16)[inner], ramp[inner])


@pytest.mark.parametrize("interpolation", [linear, cubic, cubic_shifted])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_constant_is_reproduced(interpolation, height, width):
    samples = torch.full((1, -(-height // 2), -(-width // 2)), 0.3, dtype=torch.float64)
    result = interpolation(samples, height, width)
    torch.testing.assert_close(result, torch.full((1, height, width), 0.3, dtype=torch.float64))


@pytest.mark.parametrize("interpolation", [linear, cubic, cubic_shifted])
def test_wrong_number_of_samples_is_named(interpolation):
    with pytest.raises(ValueError, match=r"\[\.\.\., 4, 4\] for a 7 x 8 .* got \[1, 4, 5\]"):
        interpolation(torch.rand(1, 4, 5), 7, 8)
    with pytest.raises(TypeError, match="floating"):
        interpolation(torch.zeros(1, 4, 4, dtype=torch.uint8), 8, 8)
