from __future__ import annotations

import pytest
import torch

from gsp_unroll.observe import decimation_mask, random_mask


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
