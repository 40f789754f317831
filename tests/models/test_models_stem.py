"""Blocks of the stem: maps of the first guess, and nothing else."""

import pytest
import torch
from helpers import assert_equivariant, close, saved_bytes, small_sample, small_uglr_plus
from torch.nn import functional

from gsp_unroll.models import UGLRPlus
from gsp_unroll.models.stem import StemBlock
from gsp_unroll.topology import Grid

SMALL = {"blocks": 3, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 6, "window": 3}


def make(**changes):
    return small_uglr_plus(**{**SMALL, "stem": 1, **changes})


def test_maps_are_those_of_the_formula():
    stem = make(stem=2).blocks[1]
    grid = Grid(7, 6, 3)
    x, observed = torch.rand(2, 2, 42, dtype=torch.float64), torch.rand(2, 2, 42) < 0.5
    carried = torch.rand(2, 6, 7, 6, dtype=torch.float64)
    result = stem(grid, x, observed, None, carried)
    parts = dict(stem.named_parameters())

    def conv(number: int, value: torch.Tensor) -> torch.Tensor:
        weight, bias = (parts[f"features.net.{2 * number}.{name}"] for name in ("weight", "bias"))
        return functional.conv2d(value, weight, bias, padding=1)

    seen = observed.double().view(2, 2, 7, 6)
    hidden = conv(0, x.view(2, 2, 7, 6)) + functional.conv2d(seen, parts["features.mask.weight"])
    hidden = (hidden + parts["features.carry"] * carried).relu()
    for number in (1, 2):
        hidden = conv(number, hidden).relu()
    close(result.maps, (hidden + conv(3, hidden)).relu(), 1e-13)
    assert result.estimate is x
    assert result.weight is None
    assert result.mean is None


def test_without_its_maps_the_stem_is_not_there():
    model = make(stem=2)
    with torch.no_grad():
        model.blocks[2].features.carry.zero_()
    alone = make(blocks=1, stem=0)
    alone.load_state_dict(
        {
            name.replace("blocks.2.", "blocks.0."): value
            for name, value in model.state_dict().items()
            if name.startswith("blocks.2.") and "carry" not in name
        }
    )
    y, mask = small_sample()
    close(model(y, mask), alone(y, mask), 1e-13)


def test_every_parameter_of_a_stem_gets_a_gradient_and_samples_stay():
    model = make(stem=2, bounds=None)
    y, mask = small_sample()
    out = model(y, mask)
    assert torch.equal(out[:, mask], y[:, mask])
    out.square().sum().backward()
    for name, parameter in model.blocks[:2].named_parameters():
        assert float(parameter.grad.abs().max()) > 0, name


def test_checkpointing_changes_no_gradient_and_keeps_no_maps_of_a_stem():
    y, mask = small_sample()
    gradients, kept = [], []
    for checkpointing in (False, True):
        model = make(stem=2, checkpointing=checkpointing).train()
        model(y, mask).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
        grid, x, observed = Grid(7, 6, 3), y.flatten(-2), mask.flatten(-2).expand(2, -1, -1)
        kept.append(
            saved_bytes(lambda m=model, a=(grid, x, observed): m.blocks[0](*a).maps.square().sum())
        )
    for plain, recomputed in zip(*gradients, strict=True):
        close(recomputed, plain, 1e-12)
    # The result itself and its square, instead of every hidden layer.
    assert kept[1] < 0.5 * kept[0]


def test_only_blocks_with_a_graph_are_explained():
    model = make(stem=2)
    y, mask = small_sample()
    (report,) = model.explain(y, mask)
    assert report.weight.shape[1] == 2
    close(report.estimate.view_as(y), model(y, mask), 1e-13)


@pytest.mark.parametrize("features_from", ["mlp", "gnn"])
def test_a_stem_on_a_general_graph_is_equivariant(features_from):
    model = make(stem=2, features_from=features_from, node_channels=1).eval()
    assert_equivariant(model)


@pytest.mark.parametrize("features_from", ["cnn", "mlp", "gnn"])
def test_a_stem_sees_as_far_as_it_says(features_from):
    config = UGLRPlus(2, **SMALL, carry=True, stem=1, features_from=features_from).config
    stem = StemBlock(config, carry=False).double()
    side = 2 * stem.reach + 5
    x = torch.rand(1, 2, side * side, dtype=torch.float64)
    touched = x.clone()
    middle = side // 2
    touched[..., middle * side + middle] += 1
    grid = Grid(side, side, 3)
    with torch.no_grad():
        before, after = (stem(grid, value, x > 0).maps for value in (x, touched))
    if features_from != "cnn":
        before, after = before.mT, after.mT
    changed = (before != after).any(1).view(side, side).nonzero() - middle
    assert int(changed.abs().max()) == stem.reach
