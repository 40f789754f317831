from __future__ import annotations

import pytest
import torch

from gsp_unroll.observe import CFA, decimation_mask, fill_in, observe, random_mask
from gsp_unroll.observe.fill import fill_reach

SIZES = [(1, 1), (1, 7), (2, 3), (9, 8)]


def masks(height, width):
    yield decimation_mask(height, width, 2, channels=3)
    yield decimation_mask(height, width, 5, channels=3)
    yield random_mask(height, width, 0.05, channels=3, seed=1)
    if min(height, width) >= 6:
        for name in ("GRBG", "quad_bayer", "xtrans"):
            yield CFA.from_name(name).mask(height, width)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_observed_samples_stay_and_values_stay_in_range(height, width):
    truth = torch.rand(2, 3, height, width, dtype=torch.float64) - 0.5
    for mask in masks(height, width):
        y = observe(truth, mask)
        x = fill_in(y, mask)
        assert torch.equal(x[mask.expand_as(x)], y[mask.expand_as(x)])
        samples = y.masked_fill(~mask, float("inf")).amin((-2, -1), keepdim=True)
        assert (x >= samples - 1e-12).all()
        samples = y.masked_fill(~mask, -float("inf")).amax((-2, -1), keepdim=True)
        assert (x <= samples + 1e-12).all()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_constant_is_reproduced(height, width):
    for mask in masks(height, width):
        x = fill_in(observe(torch.full((3, height, width), 0.3), mask), mask)
        torch.testing.assert_close(x, torch.full_like(x, 0.3))


@pytest.mark.parametrize("phase", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_bayer_is_bilinear_demosaicking_inside(phase):
    truth = torch.rand(3, 10, 11, dtype=torch.float64)
    mask = CFA(phase).mask(10, 11)
    y = observe(truth, mask)
    x = fill_in(y, mask)
    for c in range(3):
        for i in range(1, 9):
            for j in range(1, 10):
                if mask[c, i, j]:
                    continue
                near = [(0, 1), (0, -1), (1, 0), (-1, 0)]
                far = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
                for offsets in (near, far):
                    seen = [(i + a, j + b) for a, b in offsets if mask[c, i + a, j + b]]
                    if seen:  # the nearest samples, averaged
                        break
                mean = sum(truth[c, a, b] for a, b in seen) / len(seen)
                assert abs(x[c, i, j] - mean) < 1e-12


def test_decimation_is_bilinear_interpolation_exact_for_linear_images():
    i, j = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    truth = (0.1 * i - 0.03 * j + 0.2)[None].double()
    mask = decimation_mask(9, 7)
    torch.testing.assert_close(fill_in(observe(truth, mask), mask), truth)


def test_what_lies_at_unobserved_positions_never_leaks():
    mask = CFA("RGGB").mask(6, 6)
    y = observe(torch.rand(3, 6, 6), mask)
    dirty = torch.where(mask, y, torch.tensor(float("nan")))
    assert torch.equal(fill_in(dirty, mask), fill_in(y, mask))


def test_gradient_is_right_and_finite():
    for mask in (CFA.from_name("xtrans").mask(6, 6), decimation_mask(6, 6, 5, channels=3)):
        y = observe(torch.rand(3, 6, 6, dtype=torch.float64), mask).requires_grad_()
        assert torch.autograd.gradcheck(lambda z, m=mask: fill_in(z, m), (y,))


def test_a_sample_does_not_depend_on_its_batch_mates():
    y = torch.rand(5, 3, 12, 12)
    mask = torch.stack([random_mask(12, 12, 0.02 + 0.1 * s, 3, seed=s) for s in range(5)])
    together = fill_in(y, mask)
    for k in range(5):
        assert torch.equal(together[k], fill_in(y[k], mask[k]))


def test_one_mask_serves_a_batch():
    mask = CFA("RGGB").mask(8, 8)
    y = observe(torch.rand(4, 3, 8, 8), mask)
    assert torch.equal(fill_in(y, mask), fill_in(y, mask.expand(4, -1, -1, -1)))


def test_channel_without_sample_is_named():
    mask = torch.ones(2, 3, 4, 4, dtype=torch.bool)
    mask[1, 2] = False
    with pytest.raises(ValueError, match="sample 1, channel 2 of the 4 x 4 image has none"):
        fill_in(torch.rand(2, 3, 4, 4), mask)
    with pytest.raises(ValueError, match="channel 1 of the 1 x 1 image"):
        fill_in(torch.rand(3, 1, 1), CFA("RGGB").mask(1, 1))
    with pytest.raises(ValueError, match="the only channel"):
        fill_in(torch.rand(2, 2), torch.zeros(2, 2, dtype=torch.bool))


def test_wrong_arguments_are_named():
    mask = torch.ones(3, 4, 4, dtype=torch.bool)
    with pytest.raises(TypeError, match="y must be a floating-point"):
        fill_in(torch.zeros(3, 4, 4, dtype=torch.int64), mask)
    with pytest.raises(TypeError, match="mask must be a bool tensor"):
        fill_in(torch.rand(3, 4, 4), mask.int())
    with pytest.raises(ValueError, match="mask must have a shape that broadcasts to y"):
        fill_in(torch.rand(3, 5, 4), mask)
    with pytest.raises(ValueError, match="empty axis"):
        fill_in(torch.rand(3, 0, 4), torch.ones(3, 0, 4, dtype=torch.bool))


def test_fill_reach_is_the_distance_of_the_farthest_gap():
    corner = torch.zeros(1, 12, 10, dtype=torch.bool)
    corner[:, 0, 0] = True
    assert fill_reach(torch.ones(2, 3, 4, dtype=torch.bool)) == 0
    assert fill_reach(CFA("RGGB").mask(7, 8)) == 1
    assert fill_reach(decimation_mask(9, 13, 4)) == 2
    assert fill_reach(corner) == 11
    with pytest.raises(ValueError, match="mask must observe at least one pixel"):
        fill_reach(~torch.ones_like(corner))
