from __future__ import annotations

import pytest
import torch
from helpers import uglr_plus_with_all

from gsp_unroll.data.images import builtin_images
from gsp_unroll.evaluation import psnr
from gsp_unroll.inference import NoiseAware, restore
from gsp_unroll.models import IGLR, UGLR, UGTV, UGLRPlus, load_pretrained
from gsp_unroll.observe import CFA, observe
from gsp_unroll.ops import planar
from gsp_unroll.topology import Grid

SMALL = {"blocks": 2, "layers": 1, "cg_steps": 3, "heads": 2, "features": 3, "maps": 4}


def noisy(sigma, side=64):
    """A part of a photograph, its noisy mosaic, the mask; float64."""
    truth = builtin_images("test")["chelsea"][:, 100 : 100 + side, 100 : 100 + side].double()
    mask = CFA("RGGB").mask(side, side)
    rng = torch.Generator().manual_seed(0)
    return truth, observe(truth, mask, noise_sigma=sigma, generator=rng), mask


@pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus, uglr_plus_with_all])
def test_it_solves_the_penalty_form_and_leaves_the_stated_residual(network):
    torch.manual_seed(0)
    model, sigma = network(3, **SMALL).double().eval(), 0.1
    _, y, mask = noisy(sigma, side=16)
    x = NoiseAware(model, sigma)(y[None], mask)
    residual = torch.where(mask, x[0] - y, 0)
    share = float(residual.square().sum() / mask.expand_as(y).sum()) / sigma**2
    assert share == pytest.approx(0.7, rel=0.02)
    # The gradient vanishes for the one mu that fits best.
    last = model.explain(y[None], mask)[-1]
    prior = model.blocks[-1].requires_grad_(False).joint_prior(last.topology, last.weight)
    mean = 0 if last.mean is None else last.mean
    pull, push = prior.operator(x.flatten(-2) - mean).flatten(), residual.flatten()
    mu = -(pull @ push) / (pull @ pull)
    assert mu > 0
    assert float((push + mu * pull).norm() / push.norm()) < 1e-2


def test_the_joint_prior_is_the_sum_of_the_priors_of_the_heads():
    torch.manual_seed(0)
    block = UGLR(2, **SMALL).double().blocks[0]
    with torch.no_grad():
        block.head_weight.copy_(torch.tensor([0.3, 0.9]))
    grid = Grid(5, 6, 5)
    w = torch.rand(1, 2, grid.num_edges, dtype=torch.float64)
    x = torch.rand(1, 2, grid.num_nodes, dtype=torch.float64)
    expected = sum(
        a * planar.laplacian(grid, w[:, h], x) for h, a in enumerate(block.head_weight.tolist())
    )
    torch.testing.assert_close(block.joint_prior(grid, w).operator(x), expected)


def test_it_takes_noise_off():
    sigma = 30 / 255
    truth, y, mask = noisy(sigma)
    model = load_pretrained("uglr-plus-demosaic").double()
    plain, aware = (restore(y, m, mask) for m in (model, NoiseAware(model, sigma)))
    assert psnr(aware[None], truth[None]) > psnr(plain[None], truth[None]) + 4


def test_what_it_cannot_do_is_named():
    model = UGLR(3, **SMALL)
    with pytest.raises(TypeError, match=r"network must be a trained one, .* got IGLR"):
        NoiseAware(IGLR(), 0.1)
    with pytest.raises(ValueError, match="sigma must"):
        NoiseAware(model, 0.0)
    with pytest.raises(ValueError, match=r"-0\.1"):
        NoiseAware(model, -0.1)
    for option in ({"norm": "directed"}, {"laplacian": "normalized"}):
        with pytest.raises(ValueError, match="network must have symmetric weights"):
            NoiseAware(UGLR(3, **SMALL, **option), 0.1)
