from __future__ import annotations

import numpy as np
import pytest
import torch

from gsp_unroll.data.balance import balance, places
from gsp_unroll.data.difficulty import difficulty
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.observe import Task

DEMOSAIC = Task.from_name("demosaic", cfa="RGGB")


def _images() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    soft = torch.rand(3, 8, 8, generator=rng)
    smooth = torch.nn.functional.interpolate(soft[None], scale_factor=6, mode="bicubic")[0]
    return {"smooth": smooth.clamp(0, 1), "noise": torch.rand(3, 48, 48, generator=rng)}


def test_balance_is_the_formula():
    image = torch.tensor([1e-3, 2e-3, 1e-3, 1e-9])
    plain = torch.tensor([4e-3, 4e-3, 4e-3, 4e-3])
    changed = torch.tensor([4e-3, 4e-3, 1e-3, 4e-3])
    got = balance(1.0, image, plain, changed)
    # The last one is as hard as 46 dB says.
    np.testing.assert_allclose(got.numpy(), [1, 0.5, 4, 40], rtol=1e-6)
    torch.testing.assert_close(balance(0.5, image, plain, changed), got.sqrt())
    assert balance(0.0, image, plain, changed).tolist() == [1] * 4


def test_gradients_of_a_mean_psnr_are_those_of_balanced_errors():
    """Where the error of a restoration is its difficulty, as the formula takes it to be."""
    error = torch.rand(2, 5, dtype=torch.float64).requires_grad_()
    difficulties = (0.1 + error.detach()).square()
    mse = (0.1 + error).square()
    psnr = -10 * mse.mean(1).log10().mean()
    (wanted,) = torch.autograd.grad(psnr, error, retain_graph=True)
    image = difficulties.mean(1, keepdim=True).expand(2, 5)
    weight = balance(1.0, image, difficulties, difficulties)
    (got,) = torch.autograd.grad((weight * mse).sum(), error)
    # They are multiples of each other.
    torch.testing.assert_close(got / got.norm(), -wanted / wanted.norm())


@pytest.mark.parametrize(
    ("length", "expected"),
    [(16, [0]), (31, [0]), (32, [0, 16]), (50, [0, 16, 34]), (500, [0, 120, 242, 362, 484])],
)
def test_places_are_spread_over_the_image_and_keep_the_phase(length, expected):
    assert places(length, 16) == expected


def test_patches_weigh_less_in_a_harder_image():
    images = _images()
    items = PatchDataset(images, DEMOSAIC, patch=16, balanced=0.5, augment=False)
    mask, expected = DEMOSAIC.mask(16, 16), {}
    for name, image in images.items():
        starts = [(top, left) for top in (0, 16, 32) for left in (0, 16, 32)]
        patches = torch.stack([image[:, t : t + 16, x : x + 16] for t, x in starts])
        expected[name] = (1e-3 / max(float(difficulty(patches, mask).mean()), 2.5e-5)) ** 0.5
    assert expected["smooth"] > 5 * expected["noise"]
    shares = {round(float(items[i]["balance"]), 6) for i in range(20)}
    assert shares == {round(value, 6) for value in expected.values()}
    plain = PatchDataset(images, DEMOSAIC, patch=16, augment=False)
    for i in range(5):
        assert torch.equal(plain[i]["truth"], items[i]["truth"])
        assert plain[i]["balance"].item() == 1


def test_what_is_done_to_a_patch_is_taken_to_change_its_image_alike():
    images = {"noise": _images()["noise"]}
    plain = PatchDataset(images, DEMOSAIC, patch=16, balanced=1.0)
    mask = DEMOSAIC.mask(16, 16)
    for change in ({"blur": 2.0}, {"saturation": 1.0}, {"recolour": 1.0}):
        other = PatchDataset(images, DEMOSAIC, patch=16, balanced=1.0, **change)
        ratios = [float(other[i]["balance"] / plain[i]["balance"]) for i in range(8)]
        # Blurred by next to nothing, some are as they were.
        assert sum(abs(ratio - 1) > 0.1 for ratio in ratios) >= 4
        # The same crop, before and after.
        before, after = (
            difficulty(torch.stack([items[i]["truth"] for i in range(8)]), mask)
            for items in (plain, other)
        )
        np.testing.assert_allclose(ratios, before / after, rtol=1e-5)


@pytest.mark.parametrize("name", ["demosaic", "interpolate", "inpaint"])
def test_balanced_patches_from_candidates_have_the_same_mean_loss(name):
    options = {"task": Task.from_name(name), "patch": 16, "balanced": 0.5}
    one = PatchDataset(_images(), **options)
    many = PatchDataset(_images(), **options, candidates=6)
    again = PatchDataset(_images(), **options, candidates=6)

    def losses(dataset):
        items = [dataset[i] for i in range(600)]
        values = [item["weight"] * item["balance"] * item["truth"].var() for item in items]
        return torch.stack(values)

    plain, drawn = losses(one), losses(many)
    spread = float(drawn.std() + plain.std()) / 600**0.5
    assert abs(float(drawn.mean() - plain.mean())) < 3 * spread
    assert spread < 0.15 * float(plain.mean())
    # Whatever was asked for before.
    assert all(torch.equal(many[7][key], again[7][key]) for key in again[7])


def test_the_power_is_checked():
    with pytest.raises(ValueError, match=r"balanced must be finite and >= 0\.0 and <= 1\.0"):
        PatchDataset(_images(), DEMOSAIC, patch=16, balanced=1.5)
