"""Feature extractors: shapes, equivariance and where each may be used."""

import pytest
import torch
from helpers import (
    assert_all_finite,
    close,
    dense_adjacency,
    on_every_topology,
    permuted,
    random_edges,
)

from gsp_unroll.nn import ImageFeatures, NodeFeatures
from gsp_unroll.topology import Graph, Grid


@pytest.mark.parametrize(("height", "width"), [(6, 7), (1, 1), (1, 9)])
@pytest.mark.parametrize("cell", [None, 2, 3])
def test_image_features_have_the_stated_shape(height, width, cell):
    module = ImageFeatures(3, heads=4, features=5, maps=8, mean_channels=3, cell=cell)
    out = module(torch.rand(2, 3, height * width), Grid(height, width, 3))
    assert out.features.shape == (2, 4, 5, height * width)
    assert out.mean.shape == (2, 3, height * width)
    k = cell or 1
    assert out.maps.shape == (2, 8, -(-height // k), -(-width // k))


def test_image_features_have_the_published_number_of_parameters():
    for channels, count in ((3, 63_696), (1, 62_832)):
        module = ImageFeatures(channels, heads=4, features=12)
        assert sum(p.numel() for p in module.parameters()) == count


def test_image_features_are_equivariant_to_translation_away_from_the_border():
    module = ImageFeatures(1, 2, 3, maps=4).double()
    image = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    image[..., 6:9, 6:9] = torch.rand(3, 3)
    moved = image.roll((1, 2), dims=(-2, -1))
    grid = Grid(16, 16, 3)
    before = module(image.flatten(-2), grid).features.unflatten(-1, (16, 16))
    after = module(moved.flatten(-2), grid).features.unflatten(-1, (16, 16))
    close(after[..., 5:11, 6:12], before[..., 4:10, 4:10], 1e-12)


def test_image_features_refuse_a_general_graph_and_say_what_to_do():
    with pytest.raises(TypeError, match=r'need a Grid, got Graph: .*features_from="mlp" or "gnn"'):
        ImageFeatures(1, 1, 2)(torch.ones(1, 1, 5), Graph(random_edges(5), 5))


@pytest.mark.parametrize("hops", [0, 2])
def test_node_features_are_equivariant_to_a_renumbering_of_the_nodes(hops):
    graph = Graph(random_edges(10, isolated=1), 10)
    order = torch.randperm(10)
    other, _ = permuted(graph, order)
    module = NodeFeatures(2, 3, 4, maps=5, hops=hops).double()
    x = torch.randn(2, 2, 10, dtype=torch.float64)
    assert module(x, graph).features.shape == (2, 3, 4, 10)
    close(module(x[..., order], other).features, module(x, graph).features[..., order])


@on_every_topology()
def test_hops_are_means_over_the_neighbours(topology):
    module = NodeFeatures(2, 1, 3, maps=4, hops=2).double()
    adjacency = dense_adjacency(topology, torch.ones(topology.num_edges).double())
    degree = adjacency.sum(-1)
    mean = adjacency / degree.clamp(min=1)[:, None] + torch.diag((degree == 0).double())
    x = torch.randn(3, 2, topology.num_nodes, dtype=torch.float64)
    seen = torch.cat([x, x @ mean.T, x @ mean.T @ mean.T], dim=1)
    expected = module.net(seen.transpose(1, 2)).transpose(1, 2).unflatten(1, (1, 3))
    close(module(x, topology).features, expected)


def test_an_mlp_sees_each_node_alone():
    graph = Graph(random_edges(8), 8)
    module = NodeFeatures(1, 2, 3)
    x = torch.randn(1, 1, 8, requires_grad=True)
    module(x, graph).features[..., 5].sum().backward()
    assert (x.grad.flatten() != 0).nonzero().flatten().tolist() == [5]


def test_gradients_are_finite_with_isolated_nodes():
    graph = Graph(random_edges(8, isolated=3), 8)
    module = NodeFeatures(1, 2, 3, hops=2)
    x = torch.randn(1, 1, 8, requires_grad=True)
    module(x, graph).features.square().sum().backward()
    assert_all_finite(x.grad, *(p.grad for p in module.net.parameters()))


def test_negative_counts_are_named():
    with pytest.raises(ValueError, match="hops must be at least 0, got -1"):
        NodeFeatures(1, 1, 1, hops=-1)
    with pytest.raises(ValueError, match="residual_pairs must be at least 0, got -1"):
        ImageFeatures(1, 1, 1, residual_pairs=-1)


@pytest.mark.parametrize("kind", [ImageFeatures, NodeFeatures])
def test_residuals_change_nothing_at_first_and_are_added_to_what_they_see(kind):
    torch.manual_seed(0)
    plain, deep = kind(1, 2, 3, maps=4).double(), kind(1, 2, 3, maps=4, residual_pairs=2).double()
    assert deep.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    x, grid = torch.rand(2, 1, 63, dtype=torch.float64), Grid(9, 7, 3)
    before = plain(x, grid)
    close(deep(x, grid).features, before.features, 1e-14)
    for pair in deep.pairs:
        torch.nn.init.normal_(pair[-1].weight)
        torch.nn.init.normal_(pair[-1].bias)
    maps = before.maps
    for first, _, second in deep.pairs:
        maps = (maps + second(first(maps).relu())).relu()
    after = deep(x, grid)
    close(after.maps, maps, 1e-13)
    assert (after.features - before.features).abs().max() > 1e-3


def test_the_features_of_a_cell_are_those_of_an_image_whose_channels_are_its_pixels():
    torch.manual_seed(0)
    options = {"mask_channels": 1, "mean_channels": 1, "residual_pairs": 1}
    module = ImageFeatures(1, 2, 3, maps=4, cell=2, **options).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, mask = torch.rand(1, 1, 6, 8, dtype=torch.float64), torch.rand(1, 1, 6, 8) < 0.5
    found = module(x.flatten(2), Grid(6, 8, 3), mask.flatten(2))

    def cells(image):
        corners = [image[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return torch.cat(corners, 1).double()

    maps = module.net[0](cells(x)) + module.mask(cells(mask))
    for layer in module.net[1:-1]:
        maps = layer(maps)
    maps = (maps + module.pairs[0](maps)).relu()
    close(found.maps, maps, 1e-13)
    features = found.features.unflatten(-1, (6, 8)).flatten(1, 2)
    for layer, result in ((module.net[-1], features), (module.mean, found.mean.view(1, 1, 6, 8))):
        of_cells = layer(maps).unflatten(1, (-1, 4))
        for k, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            close(result[..., row::2, column::2], of_cells[:, :, k], 1e-13)


def test_cells_at_the_border_are_made_whole_with_the_same_values_and_nothing_observed():
    torch.manual_seed(0)
    module = ImageFeatures(1, 1, 2, maps=4, mask_channels=1, cell=3).double()
    torch.nn.init.normal_(module.mask.weight)
    x, mask = torch.rand(1, 1, 7, 5, dtype=torch.float64), torch.rand(1, 1, 7, 5) < 0.5
    wide = x[..., [0, 1, 2, 3, 4, 5, 6, 6, 6], :][..., [0, 1, 2, 3, 4, 4]]
    observed = torch.zeros(1, 1, 9, 6, dtype=torch.bool)
    observed[..., :7, :5] = mask
    part = module(x.flatten(2), Grid(7, 5, 3), mask.flatten(2)).features.unflatten(-1, (7, 5))
    whole = module(wide.flatten(2), Grid(9, 6, 3), observed.flatten(2)).features
    close(part, whole.unflatten(-1, (9, 6))[..., :7, :5], 1e-13)


@pytest.mark.parametrize("origin", [(1, 0), (0, 1), (2, 2), (4, 5)])
def test_cells_start_at_the_origin_of_the_grid(origin):
    torch.manual_seed(0)
    module = ImageFeatures(1, 1, 2, maps=4, mask_channels=1, cell=3).double()
    torch.nn.init.normal_(module.mask.weight)
    x, mask = torch.rand(1, 1, 8, 10, dtype=torch.float64), torch.rand(1, 1, 8, 10) < 0.5
    # As if the image had begun a part of a cell before.
    above, left = (-start % 3 for start in origin)
    pad = (left, 0, above, 0)
    wide = torch.nn.functional.pad(x, pad, mode="replicate")
    seen = torch.nn.functional.pad(mask, pad)
    grid = Grid(8, 10, 3, origin=origin)
    part = module(x.flatten(2), grid, mask.flatten(2)).features.unflatten(-1, (8, 10))
    size = wide.shape[-2:]
    whole = module(wide.flatten(2), Grid(*size, 3), seen.flatten(2)).features.unflatten(-1, size)
    close(part, whole[..., above:, left:], 1e-13)


@pytest.mark.parametrize(("cell", "reach"), [(None, 6), (2, 11), (3, 17)])
def test_image_features_see_one_position_farther_for_each_convolution(cell, reach):
    module = ImageFeatures(1, 1, 2, maps=4, residual_pairs=1, cell=cell).double()
    torch.nn.init.normal_(module.pairs[0][-1].weight)
    assert module.reach(3) == reach
    assert ImageFeatures(1, 1, 2).reach(3) == 4
    # The last pixel of a cell is farthest from the cells before it.
    side = 6 * reach
    middle = side // 2 - 1
    x = torch.rand(1, 1, side, side, dtype=torch.float64)
    touched = x.clone()
    touched[..., middle, middle] += 1
    before, after = (module(v.flatten(-2), Grid(side, side, 3)).features for v in (x, touched))
    changed = (before != after).flatten(0, 2).any(0).view(side, side).nonzero() - middle
    assert int(changed.abs().max()) == reach


@pytest.mark.parametrize("kind", [ImageFeatures, NodeFeatures])
def test_carried_maps_are_mixed_at_each_node(kind):
    torch.manual_seed(0)
    module = kind(1, 2, 3, maps=4, carry=True, carry_mix=True).double()
    x, grid = torch.rand(2, 1, 63, dtype=torch.float64), Grid(9, 7, 3)
    assert not module.carry.weight.any()
    torch.nn.init.normal_(module.carry.weight)
    carried = torch.rand(2, 4, 63, dtype=torch.float64)
    mixed = module.carry.weight.flatten(1) @ carried
    if kind is ImageFeatures:
        carried, mixed = carried.unflatten(-1, (9, 7)), mixed.unflatten(-1, (9, 7))
    else:
        carried, mixed = carried.mT, mixed.mT
    given = module.hidden(x, grid, carried=carried)
    module.carry = None
    first = module.net[0].register_forward_hook(lambda layer, args, result: result + mixed)
    close(given, module.hidden(x, grid), 1e-13)
    first.remove()


@pytest.mark.parametrize("kind", [ImageFeatures, NodeFeatures])
def test_what_is_seen_besides_the_signal_must_be_given(kind):
    grid, x = Grid(3, 4, 3), torch.rand(1, 1, 12)
    with pytest.raises(ValueError, match="observed must be given"):
        kind(1, 1, 2, mask_channels=1)(x, grid)
    with pytest.raises(ValueError, match="carried must be given"):
        kind(1, 1, 2, carry=True)(x, grid)


@pytest.mark.parametrize("kind", [ImageFeatures, NodeFeatures])
def test_the_mean_keeps_its_precision_under_autocast(kind):
    torch.manual_seed(0)
    module = kind(1, 1, 2, mean_channels=1)
    torch.nn.init.zeros_(module.mean.weight)
    torch.nn.init.constant_(module.mean.bias, 0.7001)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean = module(torch.rand(1, 1, 12), Grid(3, 4, 3)).mean
    close(mean, torch.full((1, 1, 12), 0.7001), 1e-7)
