from __future__ import annotations

import pytest
import torch

from gsp_unroll.observe import CFA, decimation_mask, mask_origin, random_mask


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 6), (7, 5)])
def test_decimation_keeps_the_slice(height, width, factor):
    image = torch.arange(height * width).view(1, height, width).repeat(2, 1, 1)
    mask = decimation_mask(height, width, factor, channels=2)
    assert mask.shape == (2, height, width)
    assert torch.equal(image[mask], image[:, ::factor, ::factor].flatten())


def test_random_mask_has_an_exact_share_and_shared_channels():
    mask = random_mask(20, 30, ratio=0.25, channels=3, seed=5)
    assert mask.sum((1, 2)).tolist() == [150] * 3
    assert torch.equal(mask[0], mask[2])


def test_random_mask_depends_on_its_seed_only():
    torch.manual_seed(0)
    first = random_mask(20, 30, seed=5)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(random_mask(20, 30, seed=5), first)
    assert not torch.equal(random_mask(20, 30, seed=6), first)
    torch.manual_seed(0)
    random_mask(20, 30, seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_random_mask_keeps_at_least_one_pixel():
    assert random_mask(1, 1, ratio=0.01).all()
    assert random_mask(5, 5, ratio=1.0).all()


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.5, float("nan")])
def test_ratio_outside_its_range_is_named(ratio):
    with pytest.raises(ValueError, match="ratio"):
        random_mask(4, 4, ratio=ratio)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="width"):
        decimation_mask(4, 0)
    with pytest.raises(TypeError, match="factor"):
        decimation_mask(4, 4, factor=2.0)
    with pytest.raises(ValueError, match="seed"):
        random_mask(4, 4, seed=-1)


@pytest.mark.parametrize(
    ("mask", "period", "origin"),
    [
        (CFA("RGGB").mask(6, 7), 2, (0, 0)),
        (CFA("GRBG").mask(6, 7), 2, (0, 1)),
        (CFA("GBRG").mask(6, 7), 2, (1, 0)),
        (CFA("BGGR").mask(6, 7).expand(4, -1, -1, -1), 2, (1, 1)),
        (decimation_mask(9, 9, 3)[:, 1:, 2:], 3, (2, 1)),
        # Found nowhere, everywhere, and only in one image of two.
        (random_mask(20, 30, 0.5), 2, (0, 0)),
        (torch.ones(2, 5, 5, dtype=torch.bool), 3, (0, 0)),
        (torch.stack([CFA("BGGR").mask(6, 6), CFA("RGGB").mask(6, 6)]), 2, (0, 0)),
        (torch.ones(1, 1, 1, dtype=torch.bool), 2, (0, 0)),
    ],
)
def test_a_mask_starts_at_the_first_sample_of_its_pattern(mask, period, origin):
    assert mask_origin(mask, period) == origin
