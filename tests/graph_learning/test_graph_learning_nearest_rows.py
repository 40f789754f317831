"""The first graph: distances over what two rows have in common."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gsp_unroll.graph_learning.nearest_rows import nearest_rows, row_distance
from gsp_unroll.graphs import knn_edge_index


def rows(seed=0, missing=0.3):
    rng = torch.Generator().manual_seed(seed)
    y = torch.randn(8, 30, generator=rng, dtype=torch.float64)
    return y, torch.rand(8, 30, generator=rng) >= missing


def test_the_distance_is_the_mean_over_common_times():
    y, mask = rows()
    found = row_distance(torch.where(mask, y, torch.nan), mask)
    for i in range(8):
        for j in range(8):
            common = mask[i] & mask[j]
            expected = np.mean((y[i] - y[j])[common].numpy() ** 2)
            assert found[i, j].item() == pytest.approx(expected, abs=1e-12)


def test_without_gaps_the_edges_are_those_of_the_nearest_points():
    y, _ = rows()
    adjacency = nearest_rows(y, torch.ones_like(y, dtype=torch.bool), 3)
    edges = set(map(tuple, adjacency.nonzero().tolist()))
    assert edges == set(map(tuple, knn_edge_index(y, 3).T.tolist()))
    assert torch.equal(adjacency, adjacency.T)


def test_rows_never_seen_together_are_not_joined():
    y, _ = rows()
    mask = torch.zeros_like(y, dtype=torch.bool)
    mask[:4, :15] = mask[4:, 15:] = True
    assert row_distance(y, mask)[0, 4].isinf()
    adjacency = nearest_rows(y, mask, 7)
    assert adjacency.isfinite().all()
    assert (adjacency[:4, 4:] == 0).all()
    assert (adjacency[:4, :4] + torch.eye(4) > 0).all()


@pytest.mark.parametrize("neighbours", [0, 8])
def test_neighbours_out_of_range_are_named(neighbours):
    y, mask = rows()
    with pytest.raises(ValueError, match=f"neighbours must be .* got {neighbours}"):
        nearest_rows(y, mask, neighbours)


def test_an_offset_costs_no_digits_in_single_precision():
    torch.manual_seed(0)
    y = 300 + 0.1 * torch.randn(6, 100)
    mask = torch.rand(6, 100) < 0.8
    y = torch.where(mask, y, torch.nan)
    double = row_distance(y.double(), mask)
    assert row_distance(y, mask).dtype == torch.float32
    torch.testing.assert_close(row_distance(y, mask).double(), double, rtol=1e-5, atol=0)


def test_a_sample_that_is_not_finite_is_named():
    y = torch.tensor([[1.0, torch.nan], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"y must be finite where observed.*\(0, 1\)"):
        nearest_rows(y, torch.ones(2, 2, dtype=torch.bool), 1)
    with pytest.raises(TypeError, match="mask must be a bool tensor"):
        row_distance(y, torch.ones(2, 2))
