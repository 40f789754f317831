"""How far a block sees: exactly as far as ``reach`` says, found by changing one pixel."""

import pytest
import torch
from helpers import both_ways, uglr_plus_with_all

from gsp_unroll.models import UGLR, UGTV, UGLRPlus
from gsp_unroll.observe import CFA
from gsp_unroll.topology import Graph, Grid

TINY = {"blocks": 1, "layers": 1, "cg_steps": 1, "heads": 2, "features": 3, "maps": 8, "window": 3}


def farthest_change(block, side: int, place: int | None = None) -> int:
    """Distance of the farthest pixel that changes with one (the middle), in rows or columns."""
    grid = Grid(side, side, block.config.window)
    x = torch.rand(1, block.config.in_channels, side * side, dtype=torch.float64)
    observed = torch.zeros_like(x, dtype=torch.bool)  # samples would stand in the way
    middle = side // 2 if place is None else place
    touched = x.clone()
    touched[..., middle * side + middle] += 1
    with torch.no_grad():
        before, after = (block(grid, value, observed, None)[0] for value in (x, touched))
    row, col = (before != after).any(1).view(side, side).nonzero().sub(middle).unbind(1)
    return int(torch.maximum(row.abs(), col.abs()).max())


@pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus, uglr_plus_with_all])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"cg_steps": 3},
        {"layers": 3},
        {"layers": 2, "cg_steps": 2, "window": 5},
        {"norm": "symmetric"},
        {"features_from": "mlp"},
        {"features_from": "gnn", "window": 5},
    ],
    ids=lambda change: "-".join(f"{k}={v}" for k, v in change.items()) or "tiny",
)
def test_a_block_sees_as_far_as_its_reach(network, change):
    block = network(2, **{**TINY, **change}).double().blocks[0]
    assert farthest_change(block, 2 * block.reach + 7) == block.reach


@pytest.mark.parametrize("cell", [2, 3])
def test_reach_with_cells(cell):
    block = UGLRPlus(2, **TINY, cell=cell).double().blocks[0]
    side = 6 * (block.reach // 2 + 1)
    # The last pixel of a cell.
    assert farthest_change(block, side, side // 2 - 1) == block.reach


@pytest.mark.parametrize(("row", "column"), [(0, 1), (1, 0), (1, 1)])
def test_cells_follow_the_phase_of_a_mask(row, column):
    model = uglr_plus_with_all(3, **TINY, cell=2).double()
    truth, mask = torch.rand(1, 3, 40, 42, dtype=torch.float64), CFA("RGGB").mask(40, 42)
    part = ..., slice(row, None), slice(column, None)
    inner = slice(model.blocks[0].reach, -1)

    def on_a_grid(y, mask):
        return model(y.flatten(-2), mask.flatten(-2), Grid(*y.shape[-2:], 3)).view_as(y)

    for run in (model, on_a_grid):
        with torch.no_grad():
            whole = run(truth, mask)[part]
            difference = (whole - run(truth[part], mask[part])).abs()
        assert float(difference[..., inner, inner].max()) < 1e-13 < float(difference.max())


@pytest.mark.parametrize("change", [{"norm": "directed"}, {"laplacian": "normalized"}])
def test_reach_with_the_other_laplacians(change):
    block = UGLR(1, **{**TINY, "layers": 2, **change}).double().blocks[0]
    assert farthest_change(block, 2 * block.reach + 7) == block.reach


@pytest.mark.parametrize("network", [UGLR, UGTV])
def test_reach_of_the_published_size(network):
    assert network().blocks[0].reach == (5 * 10 + 1) * 2 + 4


@pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus, uglr_plus_with_all])
@pytest.mark.parametrize("features_from", ["mlp", "gnn"])
def test_a_block_sees_as_many_edges_as_its_hops(network, features_from):
    options = {**TINY, "layers": 2, "window": 5, "features_from": features_from}
    block = network(2, **options).double().blocks[0]
    side = 2 * block.hops + 7
    path = Graph(both_ways([(i, i + 1) for i in range(side - 1)]), side)
    x = torch.rand(1, 2, side, dtype=torch.float64)
    touched = x.clone()
    touched[..., side // 2] += 1
    observed = torch.zeros_like(x, dtype=torch.bool)
    with torch.no_grad():
        before, after = (block(path, value, observed, None)[0] for value in (x, touched))
    changed = (before != after).any(1)[0].nonzero().squeeze(1)
    assert int((changed - side // 2).abs().max()) == block.hops
