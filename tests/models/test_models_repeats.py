"""A last block that goes on from its own result, with the same parameters."""

import pytest
import torch
from helpers import assert_equivariant, close, small_sample, small_uglr_plus

from gsp_unroll.models import UGLRPlus
from gsp_unroll.observe.fill import fill_in
from gsp_unroll.topology import Grid

SMALL = {"blocks": 2, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 6, "window": 3}


def make(**changes):
    return small_uglr_plus(**{**SMALL, "repeats": 2, **changes})


def test_a_repetition_is_the_block_again_with_a_share_of_its_own():
    model, once = make(), make(repeats=0)
    once.load_state_dict({k: v for k, v in model.state_dict().items() if "again" not in k})
    y, mask = small_sample()
    grid, observed = Grid(7, 6, 3), mask.expand_as(y).flatten(-2)
    x, _, _, maps = once.blocks[0](grid, fill_in(y * mask, mask).flatten(-2), observed)
    last = once.blocks[1]
    for share in (last.skip.detach().clone(), *model.blocks[1].skips_again.detach()):
        with torch.no_grad():
            last.skip.copy_(share)
        # Its features see the maps of the block before, every time.
        x = last(grid, x, observed, None, maps).estimate
    close(model(y, mask), x.view_as(y), 1e-13)
    assert (model(y, mask) - make(repeats=1)(y, mask)).abs().max() > 1e-3


def test_one_parameter_for_each_repetition_and_it_starts_at_three_tenths():
    count = [sum(p.numel() for p in UGLRPlus(**SMALL, repeats=r).parameters()) for r in range(3)]
    assert [number - count[0] for number in count] == [0, 1, 2]
    model = UGLRPlus(**SMALL, repeats=2)
    assert model.blocks[0].skips_again is None
    assert model.blocks[1].skips_again.tolist() == pytest.approx([0.3, 0.3])
    assert "repeats=2" in repr(model)


def test_every_parameter_gets_a_gradient_and_samples_stay():
    model = make(bounds=None)
    y, mask = small_sample()
    out = model(y, mask)
    assert torch.equal(out[:, mask], y[:, mask])
    out.square().sum().backward()
    for name, parameter in model.blocks[-1].named_parameters():
        assert float(parameter.grad.abs().max()) > 0, name


def test_checkpointing_changes_no_gradient():
    y, mask = small_sample()
    gradients = []
    for checkpointing in (False, True):
        model = make(checkpointing=checkpointing).train()
        model(y, mask).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        close(recomputed, plain, 1e-12)


def test_the_graph_that_is_explained_is_the_last_one():
    model, y, mask = make(), *small_sample()
    first, last = model.explain(y, mask)
    close(last.estimate.view_as(y), model(y, mask), 1e-13)
    once = make(repeats=0).explain(y, mask)
    close(first.weight, once[0].weight, 1e-13)
    assert (last.weight - once[1].weight).abs().max() > 1e-3


@pytest.mark.parametrize("features_from", ["mlp", "gnn"])
def test_a_general_graph_is_restored_whatever_the_order_of_its_nodes(features_from):
    model = make(features_from=features_from, node_channels=1).eval()
    assert_equivariant(model)


def test_it_sees_farther_each_time():
    """Nothing beyond the reach that is stated changes; something beyond that of once does."""
    model = make(blocks=1, bounds=None, cg_steps=1)
    block, once = model.blocks[0], make(blocks=1, repeats=0, cg_steps=1).blocks[0]
    assert (block.reach, block.hops) == (3 * once.reach, 3 * once.hops)
    side = 2 * block.reach + 5
    x = torch.rand(1, 2, side * side, dtype=torch.float64)
    touched, middle = x.clone(), side // 2
    touched[..., middle * side + middle] += 1
    observed, grid = torch.rand(1, 2, side * side) < 0.3, Grid(side, side, 3)
    observed[..., middle * side + middle] = False
    with torch.no_grad():
        before, after = (block(grid, value, observed).estimate for value in (x, touched))
    changed = (before != after).any(1).view(side, side).nonzero() - middle
    assert once.reach < int(changed.abs().max()) <= block.reach
