from __future__ import annotations

import pytest
import torch

from gsp_unroll.inference import restore
from gsp_unroll.models import IGLR, UGLR
from gsp_unroll.observe import CFA


def tiny() -> UGLR:
    torch.manual_seed(0)
    return UGLR(3, blocks=1, layers=1, cg_steps=2, heads=1, features=2, maps=4).eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 16), (33, 50)])
def test_small_images_go_in_one_piece(size):
    truth = torch.rand(3, *size)
    mask = torch.rand(3, *size) < 0.6
    mask[:, 0, 0] = True
    y = truth * mask
    model = tiny()
    assert torch.equal(restore(model, y, mask), model(y[None], mask[None])[0])


def test_tiles_equal_one_piece_when_the_halo_covers_the_reach():
    # 1 block: 4 convolutions reach 4 pixels, the weights' normalisation 2 + 2, 2 CG steps with
    # their residual 2 x 2 each, the first guess 1 + its own passes.
    truth = torch.rand(3, 61, 47)
    mask = CFA("RGGB").mask(61, 47)
    model = tiny()
    whole = restore(model, truth * mask, mask, tile=None)
    tiled = restore(model, truth * mask, mask, tile=16, halo=20)
    assert (whole - tiled).abs().max() < 1e-5


def test_tiles_keep_the_samples_and_the_phase():
    truth = torch.rand(3, 45, 70)
    for pattern in ("RGGB", "GRBG"):
        mask = CFA(pattern).mask(45, 70)
        out = restore(IGLR(rounds=1), truth * mask, mask, tile=15, halo=5)
        assert torch.equal(out[mask], truth[mask])
        assert torch.isfinite(out).all()


def test_bad_input_is_named():
    y, mask = torch.rand(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"y must have shape"):
        restore(tiny(), y[0], mask)
    with pytest.raises(TypeError, match=r"mask must be a bool"):
        restore(tiny(), y, mask.float())
    with pytest.raises(ValueError, match=r"mask must have shape"):
        restore(tiny(), y, mask[:1])
    with pytest.raises(ValueError, match=r"tile must be at least 1"):
        restore(tiny(), y, mask, tile=0)
