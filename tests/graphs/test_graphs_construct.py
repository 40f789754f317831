"""Edge lists against brute force."""

import math

import pytest
import torch

from gsp_unroll.graphs import grid_edge_index, knn_edge_index, radius_edge_index
from gsp_unroll.topology import Graph


def as_set(edge_index):
    return [tuple(pair) for pair in edge_index.T.tolist()]


def knn_brute_force(pos, k):
    distance = torch.cdist(pos.double(), pos.double())
    distance.fill_diagonal_(math.inf)
    near = distance.argsort(dim=1)[:, :k]
    pairs = {(i, int(j)) for i in range(len(pos)) for j in near[i]}
    return sorted(pairs | {(j, i) for i, j in pairs})


@pytest.mark.parametrize("dimensions", [1, 2, 5])
@pytest.mark.parametrize("k", [1, 3, 19])
def test_knn_equals_brute_force(dimensions, k):
    pos = torch.rand(20, dimensions)
    assert as_set(knn_edge_index(pos, k)) == knn_brute_force(pos, k)


def test_knn_among_equal_points_joins_each_to_k_others():
    edges = knn_edge_index(torch.zeros(6, 2), 1)
    Graph(edges, 6)
    # Each point chooses one neighbour, so there are at most 6 undirected edges.
    assert edges.shape[1] <= 12
    assert set(edges[0].tolist()) == set(range(6))


@pytest.mark.parametrize("radius", [0.05, 0.3, 2.0])
def test_radius_equals_brute_force(radius):
    pos = torch.rand(25, 3)
    distance = torch.cdist(pos.double(), pos.double())
    expected = [(i, j) for i in range(25) for j in range(25) if i != j and distance[i, j] <= radius]
    assert as_set(radius_edge_index(pos, radius)) == expected


def test_radius_includes_points_at_exactly_that_distance():
    assert as_set(radius_edge_index(torch.tensor([[0.0], [1.0], [3.0]]), 1.0)) == [(0, 1), (1, 0)]


def test_results_are_valid_graphs():
    pos = torch.rand(30, 2)
    for edges in (knn_edge_index(pos, 4), radius_edge_index(pos, 0.2)):
        assert edges.dtype == torch.int64
        Graph(edges, 30)
    assert Graph(radius_edge_index(pos, 1e-9), 30).num_edges == 0


def test_grid_edge_index_by_hand():
    assert grid_edge_index(1, 3, window=3).tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert grid_edge_index(1, 1).shape == (2, 0)
    assert grid_edge_index(2, 2, window=3).shape == (2, 12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: knn_edge_index(torch.ones(4, 2), 0), ValueError, "k must be at least 1, got 0"),
        (lambda: knn_edge_index(torch.ones(4, 2), 4), ValueError,
         r"k must be below the number of points \(4\), got 4"),
        (lambda: knn_edge_index(torch.ones(4, 2), 2.0), TypeError, "k must be an int"),
        (lambda: knn_edge_index(torch.ones(4), 1), ValueError, r"pos must have shape \[N, D\]"),
        (lambda: knn_edge_index(torch.ones(4, 2).long(), 1), TypeError, "pos must be a floating"),
        (lambda: knn_edge_index(torch.full((4, 2), math.nan), 1), ValueError,
         r"pos must be finite, got nan at index \(0, 0\)"),
        (lambda: radius_edge_index(torch.ones(4, 2), 0), ValueError,
         "radius must be .* > 0, got 0"),
        (lambda: radius_edge_index(torch.ones(4, 2), math.inf), ValueError,
         "radius must be finite"),
        (lambda: grid_edge_index(3, 3, 4), ValueError, "window must be odd, got 4"),
        (lambda: grid_edge_index(0, 3), ValueError, "height must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_points_without_coordinates_have_no_neighbours():
    with pytest.raises(ValueError, match=r"pos must have at least one coordinate, got .*\[5, 0\]"):
        knn_edge_index(torch.zeros(5, 0), 2)
