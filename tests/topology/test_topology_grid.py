"""Window grids: which edges there are, in which order, and what is refused."""

import pytest
import torch
from helpers import close

from gsp_unroll.topology import Graph, Grid

SIZES = [(5, 4, 3), (6, 7, 5), (1, 6, 3), (5, 1, 5), (1, 1, 5), (2, 3, 7), (3, 3, 9)]
every_size = pytest.mark.parametrize(("height", "width", "window"), SIZES)


def brute_force(height, width, window):
    """Directed edges, sorted, by testing all pairs of pixels."""
    reach = window // 2
    pixels = [(r, c) for r in range(height) for c in range(width)]
    return [
        (i, j)
        for i, (r, c) in enumerate(pixels)
        for j, (s, d) in enumerate(pixels)
        if i != j and abs(r - s) <= reach and abs(c - d) <= reach
    ]


@every_size
def test_edge_index_is_every_pair_inside_the_window_in_sorted_order(height, width, window):
    grid = Grid(height, width, window)
    assert [tuple(edge) for edge in grid.edge_index.T.tolist()] == brute_force(
        height, width, window
    )
    assert grid.edge_index.dtype == torch.int64


@every_size
def test_slots_agree_with_ends_and_each_edge_has_one(height, width, window):
    grid = Grid(height, width, window)
    u, v = grid.ends
    pairs = sorted(zip(u.tolist(), v.tolist(), strict=True))
    expected = [(i, j) for i, j in brute_force(height, width, window) if i < j]
    assert sorted((min(p), max(p)) for p in pairs) == expected
    # edge_slot of (source, target): the first half holds W[u, v], fed by v -> u.
    place = {int(slot): k for k, slot in enumerate(grid.used_slots)}
    for (source, target), slot in zip(grid.edge_index.T.tolist(), grid.edge_slot.tolist(),
                                      strict=True):  # fmt: skip
        half, edge = divmod(slot, grid.num_edges)
        ends = (int(u[place[edge]]), int(v[place[edge]]))
        assert ((target, source) if half == 0 else (source, target)) == ends


@every_size
def test_slices_show_the_same_edges_as_ends(height, width, window):
    grid = Grid(height, width, window)
    number = torch.arange(grid.num_nodes).view(height, width)
    u = torch.cat([number[first].flatten() for first, _ in grid.slices()])
    v = torch.cat([number[second].flatten() for _, second in grid.slices()])
    assert torch.equal(torch.stack([u, v]), torch.stack(grid.ends))


@every_size
def test_pack_and_unpack_are_inverse_and_zero_elsewhere(height, width, window):
    grid = Grid(height, width, window)
    weight = 1 + torch.rand(grid.edge_index.shape[1], 2, 3)
    packed = grid.pack_edges(weight)
    assert packed.shape == (2, 3, 2, grid.num_edges)
    assert torch.equal(grid.unpack_edges(packed), weight)
    assert int((packed != 0).sum()) == weight.numel()


@every_size
def test_sum_over_edges_reads_used_slots_only(height, width, window):
    grid = Grid(height, width, window)
    value = torch.full((2, grid.num_edges), torch.nan)
    value[:, grid.used_slots] = 1.0
    count = float(len(grid.used_slots))
    assert grid.graph_sum_edges(value).tolist() == [[count], [count]]
    assert grid.graph_sum(torch.ones(2, grid.num_nodes)).tolist() == [[height * width]] * 2


def test_interior_pixel_of_the_default_window_has_24_neighbours_and_4096_pixels_47250_edges():
    grid = Grid(64, 64)
    degree = torch.bincount(grid.edge_index[0])
    assert int(degree.max()) == 24
    assert len(grid.used_slots) == 47250
    assert grid.edge_index.shape == (2, 94500)


def test_edge_index_is_a_valid_graph():
    grid = Grid(4, 5, 5)
    assert Graph(grid.edge_index, 20).num_edges == len(grid.used_slots)


def test_backend_device_and_equality():
    grid = Grid(3, 4, 3)
    other = grid.with_backend("gather_scatter")
    assert (other.backend, other.height, other.width, other.window) == ("gather_scatter", 3, 4, 3)
    assert grid.to("cpu") is grid
    assert grid.to("meta").device.type == "meta"
    assert grid == Grid(3, 4, 3)
    assert hash(grid) == hash(Grid(3, 4, 3))
    assert grid != other
    assert grid != Grid(4, 3, 3)
    assert grid != grid.to("meta")
    moved = grid.with_origin((1, 0))
    assert moved != grid.with_origin((0, 0)) == grid
    assert moved.with_backend("torch").origin == moved.to("meta").origin == (1, 0)
    assert repr(grid) == "Grid(3, 4, window=3, backend='native')"


def test_one_sample_is_enough_for_a_grid():
    grid = Grid(2, 3, 3)
    mask = torch.zeros(6, dtype=torch.bool)
    assert grid.unobserved_component(mask).tolist() == list(range(6))
    mask[4] = True
    assert grid.unobserved_component(mask) is None


def test_graph_spread_is_the_value_itself():
    grid, value = Grid(2, 2, 3), torch.randn(3, 1)
    close(grid.graph_spread(value), value, 0)
    close(grid.graph_spread_edges(value), value, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3), ValueError, "height must be at least 1, got 0"),
        ((3, -1), ValueError, "width must be at least 1, got -1"),
        ((3.0, 3), TypeError, "height must be an int, got float 3.0"),
        ((3, True), TypeError, "width must be an int, got bool True"),
        ((3, 3, 4), ValueError, "window must be odd, got 4; use 3 or 5"),
        ((3, 3, 1), ValueError, "window must be at least 3, got 1"),
        ((3, 3, 5.0), TypeError, "window must be an int, got float"),
    ],
)
def test_wrong_sizes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Grid(*arguments)


def test_a_wrong_origin_is_named():
    with pytest.raises(ValueError, match="origin must be at least 0, got -1"):
        Grid(3, 3, origin=(0, -1))


def test_unknown_backend_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"backend must be one of .*did you mean 'native'"):
        Grid(3, 3, backend="nativ")
    with pytest.raises(ValueError, match="backend"):
        Grid(3, 3).with_backend("cuda")
