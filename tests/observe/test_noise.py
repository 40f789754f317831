from __future__ import annotations

import pytest
import torch

from gsp_unroll.observe import CFA, observe


def test_without_noise_samples_are_the_truth_bit_for_bit():
    truth = torch.rand(2, 3, 6, 5)
    mask = CFA("RGGB").mask(6, 5)
    y = observe(truth, mask)
    assert torch.equal(y, torch.where(mask, truth, torch.zeros(())))


def test_noise_hits_observed_samples_only_and_has_its_sigma():
    truth = torch.full((3, 200, 200), 0.5, dtype=torch.float64)
    mask = CFA("RGGB").mask(200, 200)
    y = observe(truth, mask, 0.1, torch.Generator().manual_seed(0))
    assert (y[~mask.expand_as(y)] == 0).all()
    error = y[mask] - 0.5
    assert abs(error.mean()) < 3 * 0.1 / 200
    assert abs(error.std() - 0.1) < 0.003


def test_generator_decides_the_noise():
    truth, mask = torch.rand(1, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool)

    def measure(seed):
        return observe(truth, mask, 0.1, torch.Generator().manual_seed(seed))

    assert torch.equal(measure(3), measure(3))
    assert not torch.equal(measure(3), measure(4))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_truth_must_be_finite(bad):
    truth = torch.rand(3, 4, 4)
    truth[1, 2, 3] = bad
    with pytest.raises(ValueError, match=r"truth must be finite.*\(1, 2, 3\)"):
        observe(truth, torch.ones(3, 4, 4, dtype=torch.bool))


def test_wrong_arguments_are_named():
    truth, mask = torch.rand(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
    with pytest.raises(TypeError, match="mask must be a bool tensor"):
        observe(truth, mask.float())
    with pytest.raises(TypeError, match="floating"):
        observe(truth.to(torch.uint8), mask)
    with pytest.raises(ValueError, match=r"mask .* broadcasts to truth .*, got \[3, 4, 5\]"):
        observe(truth, torch.ones(3, 4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask must have a shape that broadcasts to"):
        observe(truth, mask[None])
    with pytest.raises(ValueError, match=r"noise_sigma.*25 / 255"):
        observe(truth, mask, noise_sigma=25.0)
    with pytest.raises(ValueError, match="noise_sigma"):
        observe(truth, mask, noise_sigma=-0.1)
