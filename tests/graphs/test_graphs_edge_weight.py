"""Weights of edges from distances, against numpy."""

import math

import numpy as np
import pytest
import torch
from helpers import both_ways

from gsp_unroll.graphs import gaussian_edge_weight, knn_edge_index


def points(n=30):
    generator = torch.Generator().manual_seed(0)
    pos = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return pos, knn_edge_index(pos, 5)


@pytest.mark.parametrize("scale", ["median", "local", 0.7])
def test_weights_by_the_formula(scale):
    pos, edges = points()
    i, j = edges.numpy()
    d = np.linalg.norm(pos.numpy()[i] - pos.numpy()[j], axis=1)
    if scale == "local":
        mean = np.array([d[i == k].mean() for k in range(len(pos))])
        expected = np.exp(-(d**2) / (mean[i] * mean[j]))
    else:
        # An even count has two medians; torch takes the lower, and each edge is there twice.
        sigma = np.sort(d)[(len(d) - 1) // 2] if scale == "median" else scale
        expected = np.exp(-((d / sigma) ** 2))
    weight = gaussian_edge_weight(pos, edges, scale, smallest=1e-300)
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", ["median", "local"])
def test_units_do_not_matter_and_both_directions_agree(scale):
    pos, edges = points()
    weight = gaussian_edge_weight(pos, edges, scale)
    torch.testing.assert_close(gaussian_edge_weight(1000 * pos, edges, scale), weight)
    there = {tuple(pair): float(w) for pair, w in zip(edges.T.tolist(), weight, strict=True)}
    assert all(there[j, i] == w for (i, j), w in there.items())


@pytest.mark.parametrize("scale", ["median", "local"])
def test_equal_points_are_as_near_as_can_be(scale):
    edges = both_ways([(0, 1), (1, 2)])
    assert gaussian_edge_weight(torch.zeros(3, 2), edges, scale).tolist() == [1.0] * 4


def test_long_edges_still_connect():
    pos = torch.tensor([[0.0], [1.0], [1000.0]])
    weight = gaussian_edge_weight(pos, both_ways([(0, 1), (1, 2)]), 1.0, smallest=1e-4)
    torch.testing.assert_close(weight, torch.tensor([math.exp(-1), 1e-4] * 2))
    assert gaussian_edge_weight(pos, both_ways([])).shape == (0,)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pos": torch.zeros(3, 2).long()}, TypeError, "pos must be a floating-point tensor"),
        ({"pos": torch.zeros(3)}, ValueError, r"pos must have shape \[N, D\]"),
        ({"pos": torch.full((3, 2), math.nan)}, ValueError, "pos must be finite"),
        ({"edge_index": torch.tensor([[0, 1], [1, 5]])}, ValueError, "edge_index"),
        ({"scale": "medium"}, ValueError, "did you mean 'median'"),
        ({"scale": 0.0}, ValueError, "scale must be finite and > 0"),
        ({"smallest": 0}, ValueError, "smallest must be finite and > 0"),
        ({"smallest": 2.0}, ValueError, "smallest must be .* <= 1"),
    ],
)
def test_wrong_arguments_are_named(options, error, message):
    arguments = {"pos": torch.zeros(3, 2), "edge_index": both_ways([(0, 1), (1, 2)]), **options}
    with pytest.raises(error, match=message):
        gaussian_edge_weight(**arguments)


@pytest.mark.parametrize("scale", ["median", "local"])
@pytest.mark.parametrize(
    ("dtype", "unit"),
    [
        (torch.float32, 1e-25),
        (torch.float32, 1e25),
        (torch.float64, 1e200),
        (torch.float64, 1e-200),
    ],
)
def test_weights_have_no_unit(scale, dtype, unit):
    torch.manual_seed(0)
    pos = torch.rand(20, 2, dtype=torch.float64)
    edges = knn_edge_index(pos, 4)
    expected = gaussian_edge_weight(pos, edges, scale)
    found = gaussian_edge_weight((pos * unit).to(dtype), edges, scale)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


def test_half_precision_keeps_a_long_edge():
    pos = torch.tensor([[0.0], [1.0], [40.0]], dtype=torch.float16)
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    assert bool((gaussian_edge_weight(pos, edges, 1.0, smallest=1e-9) > 0).all())


def test_points_in_one_place_leave_the_median_to_the_others():
    pos = torch.tensor([[0.0], [0.0], [0.0], [1.0]], requires_grad=True)
    edges = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    weight = gaussian_edge_weight(pos, edges)
    torch.testing.assert_close(weight[4:], torch.full((2,), -1.0).exp())
    gaussian_edge_weight(pos, edges, "local").sum().backward()
    assert bool(pos.grad.isfinite().all())
