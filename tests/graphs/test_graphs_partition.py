"""Parts are equal in size and compact, on any graph."""

import pytest
import torch
from helpers import both_ways, random_edges, ring

from gsp_unroll.graphs import cut_share, grid_edge_index, knn_edge_index, partition


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 12])
def test_parts_are_balanced_whatever_their_number(parts):
    part = partition(grid_edge_index(12, 11, window=3), 132, parts)
    sizes = torch.bincount(part)
    assert len(sizes) == parts
    assert int(sizes.max() - sizes.min()) <= 2


def test_a_path_is_cut_into_ranges():
    path = both_ways([(i, i + 1) for i in range(63)])
    name = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    part = partition(name[path], 64, 8)
    assert int((part[name].diff() != 0).sum()) == 7
    assert cut_share(path, part[name]) == pytest.approx(7 / 63)


def test_a_grid_is_cut_about_as_well_as_by_squares():
    edges = grid_edge_index(32, 32, window=3)
    square = (torch.arange(32) // 8).repeat_interleave(32) * 4 + (torch.arange(32) // 8).repeat(32)
    part = partition(edges, 1024, 16)
    assert cut_share(edges, part) < 1.35 * cut_share(edges, square)
    assert cut_share(edges, part) < 0.2 < 0.9 < cut_share(edges, torch.randperm(1024) % 16)


def test_points_are_cut_about_as_well_as_if_positions_were_known():
    pos = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
    edges = knn_edge_index(pos, 8)
    band = (pos[:, 0].argsort().argsort() * 4 // 2000) * 4
    known = band.clone()
    for k in range(4):
        inside = (band == 4 * k).nonzero().squeeze(1)
        known[inside[pos[inside, 1].argsort()]] += torch.arange(len(inside)) * 4 // len(inside)
    assert cut_share(edges, partition(edges, 2000, 16)) < 1.5 * cut_share(edges, known)


def test_components_stay_whole_where_they_can():
    edges = torch.cat([ring(6), ring(6) + 6, ring(12) + 12], dim=1)
    part = partition(edges, 24, 2)
    assert cut_share(edges, part) == 0
    assert torch.bincount(part).tolist() == [12, 12]
    # Nodes without an edge, and nothing else.
    assert torch.bincount(partition(both_ways([]), 9, 3)).tolist() == [3, 3, 3]
    # The place of the cut is inside of one component only.
    assert cut_share(edges, partition(edges, 24, 4)) == pytest.approx(4 / 48, abs=0.01)


def test_names_of_nodes_do_not_matter_to_the_cut():
    edges = random_edges(60, extra=20)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    assert cut_share(edges, partition(edges, 60, 4)) < 0.5
    assert cut_share(order[edges], partition(order[edges], 60, 4)) < 0.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ring(3), 3, 4), ValueError, r"parts must be at most the number of nodes \(3\), got 4"),
        ((ring(3), 3, 0), ValueError, "parts must be at least 1"),
        (
            (ring(3), 2, 1),
            ValueError,
            r"edge_index must lie in .*= \[0, 2\), got column 1: \(1, 2\)",
        ),
        ((torch.tensor([[0, 1, 2], [1, 2, 3]]), 4, 2), ValueError, "both directions of every edge"),
        ((ring(3).float(), 3, 1), TypeError, "edge_index must be an int64 tensor"),
        ((ring(3)[0], 3, 1), ValueError, r"edge_index must have shape \[2, E\]"),
    ],
)
def test_what_cannot_be_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        partition(*arguments)
