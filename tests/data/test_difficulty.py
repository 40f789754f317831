from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from gsp_unroll.data.difficulty import difficulty, importance
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.observe import Task

DEMOSAIC = Task.from_name("demosaic", cfa="RGGB")


def _by_scipy(truth: np.ndarray, mask: np.ndarray) -> float:
    """Green by its four neighbours, then red and blue as differences from it."""
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 4

    def fill(values, known):
        smooth = convolve(values * known, kernel, mode="constant")
        weight = convolve(known.astype(float), kernel, mode="constant")
        return np.where(known, values, smooth / weight)

    green = fill(truth[1], mask[1])
    planes = [green + fill(truth[k] - green, mask[k]) for k in (0, 2)]
    return float(np.mean((np.stack([planes[0], green, planes[1]]) - truth) ** 2))


def test_difficulty_is_the_error_of_interpolated_colour_differences():
    truth = torch.rand(5, 3, 12, 16, generator=torch.Generator().manual_seed(0)).double()
    mask = DEMOSAIC.mask(12, 16)
    expected = [_by_scipy(patch.numpy(), mask.numpy()) for patch in truth]
    np.testing.assert_allclose(difficulty(truth, mask).numpy(), expected, rtol=1e-12)


def test_difficulty_of_one_channel_is_the_error_of_bilinear_interpolation():
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    mask = Task.from_name("interpolate").mask(9, 9)
    plane = (rows + 2 * columns)[None, None] / 32
    checkered = ((rows + columns) % 2)[None, None]
    easy, hard = difficulty(torch.cat([plane, checkered]), mask).tolist()
    assert easy == pytest.approx(0, abs=1e-12)
    # All observed samples are 0: wrong at every 1, of which there are 40.
    assert hard == pytest.approx(40 / 81)


def test_importance_is_unbiased_and_prefers_the_difficult():
    hardness = torch.tensor([0.0, 1e-5, 1e-4, 4e-3])
    loss = np.array([0.5, 1.0, 3.0, 40.0])
    rng = np.random.default_rng(0)
    draws = [importance(hardness, rng) for _ in range(40_000)]
    chosen, weight = (np.array(values) for values in zip(*draws, strict=True))
    weighted = weight * loss[chosen]
    spread = weighted.std() / np.sqrt(len(weighted))
    assert abs(weighted.mean() - loss.mean()) < 4 * spread
    # Less noise than equal chances have.
    assert weighted.std() < 0.4 * loss.std()
    size = hardness.numpy() ** 0.75
    share = 0.9 * size / size.sum() + 0.1 / 4
    np.testing.assert_allclose(np.bincount(chosen) / len(chosen), share, atol=0.01)
    np.testing.assert_allclose(weight, 1 / (4 * share[chosen]), rtol=1e-6)
    assert weight.max() <= 10


def test_importance_of_patches_without_difficulty_is_equal():
    rng = np.random.default_rng(0)
    draws = [importance(torch.zeros(3), rng) for _ in range(60)]
    assert {chosen for chosen, _ in draws} == {0, 1, 2}
    assert {weight for _, weight in draws} == {1.0}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_difficulties_must_be_finite(bad):
    with pytest.raises(ValueError, match="difficulty"):
        importance(torch.tensor([1.0, bad]), np.random.default_rng(0))


def _half_flat() -> dict[str, torch.Tensor]:
    noise = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    return {"flat": torch.full((3, 40, 40), 0.5), "noise": noise}


def test_one_candidate_is_every_patch_alike():
    item = PatchDataset(_half_flat(), DEMOSAIC, patch=16)[0]
    assert item["weight"].shape == ()
    assert item["weight"].dtype == torch.float32
    assert item["weight"].item() == 1


@pytest.mark.parametrize("name", ["demosaic", "interpolate", "inpaint"])
def test_patches_drawn_from_candidates_have_the_same_mean_loss(name):
    task = Task.from_name(name)
    one = PatchDataset(_half_flat(), task, patch=16)
    many = PatchDataset(_half_flat(), task, patch=16, candidates=6)
    again = PatchDataset(_half_flat(), task, patch=16, candidates=6)
    assert all(torch.equal(many[7][key], again[7][key]) for key in many[7])

    def variance(dataset):
        items = [dataset[i] for i in range(400)]
        values = torch.stack([item["truth"].var() for item in items])
        return values, torch.stack([item["weight"] for item in items])

    plain, ones = variance(one)
    drawn, weight = variance(many)
    assert set(ones.tolist()) == {1.0}
    assert float(drawn.mean()) > 1.5 * float(plain.mean())
    assert float((weight * drawn).mean()) == pytest.approx(float(plain.mean()), rel=0.1)
    assert float((weight * drawn).std()) < 0.7 * float(plain.std())


def test_candidates_must_be_a_number_of_them():
    with pytest.raises(ValueError, match="candidates"):
        PatchDataset(_half_flat(), DEMOSAIC, patch=16, candidates=0)
