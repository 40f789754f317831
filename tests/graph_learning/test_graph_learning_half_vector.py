"""Half vectors: their order, the degree operator and its adjoint, and the way from and to PyG."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import squareform

from gsp_unroll.graph_learning.half_vector import (
    degrees,
    degrees_adjoint,
    from_matrix,
    num_edges,
    num_nodes,
    to_edge_index,
    to_matrix,
)


@pytest.mark.parametrize("nodes", [2, 3, 7, 20])
def test_the_order_is_that_of_squareform(nodes):
    half = torch.rand(num_edges(nodes), dtype=torch.float64)
    matrix = to_matrix(half)
    assert matrix.numpy().tolist() == squareform(half.numpy()).tolist()
    assert torch.equal(from_matrix(matrix), half)
    assert num_nodes(half) == nodes


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_degrees_are_row_sums_and_the_adjoint_is_one(lead):
    w = torch.rand(*lead, 15, dtype=torch.float64)
    v = torch.randn(*lead, 6, dtype=torch.float64)
    torch.testing.assert_close(degrees(w), to_matrix(w).sum(-1))
    torch.testing.assert_close(
        (degrees(w) * v).sum(-1), (w * degrees_adjoint(v)).sum(-1), rtol=1e-12, atol=1e-12
    )


def test_the_norm_of_the_degree_operator():
    dense = degrees(torch.eye(num_edges(9), dtype=torch.float64)).T
    assert float(torch.linalg.matrix_norm(dense, 2)) == pytest.approx(16**0.5, rel=1e-12)


def test_gradients():
    w = torch.rand(2, 10, dtype=torch.float64, requires_grad=True)
    v = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    for operator, x in ((degrees, w), (degrees_adjoint, v)):
        assert torch.autograd.gradcheck(operator, x)
        assert torch.autograd.gradgradcheck(lambda x, f=operator: f(x).square(), x)


def test_to_pyg():
    half = torch.tensor([0.5, 0.0, 2.0, 0.0, 0.0, 1e-5])
    edge_index, weight = to_edge_index(half)
    assert edge_index.tolist() == [[0, 0, 2, 1, 3, 3], [1, 3, 3, 0, 0, 2]]
    assert torch.equal(weight, torch.tensor([0.5, 2.0, 1e-5, 0.5, 2.0, 1e-5]))
    assert to_edge_index(half, 1e-4)[0].shape == (2, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: degrees(torch.rand(4)), r"m \(m - 1\) / 2 entries .* got shape \[4\]"),
        (lambda: to_matrix(torch.rand(2, 0)), r"got shape \[2, 0\]"),
        (lambda: num_nodes(torch.tensor(1.0)), r"got shape \[\]"),
        (lambda: from_matrix(torch.rand(3, 4)), r"matrix must have shape .* got \[3, 4\]"),
        (lambda: to_edge_index(torch.rand(2, 3)), "half must have shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_kept_between_calls_serves_autograd_whoever_asked_first():
    half = torch.rand(num_edges(13), dtype=torch.float64)
    with torch.inference_mode():
        to_matrix(half)
        degrees(half)
    (to_matrix(half.requires_grad_()).sum() + degrees(half).sum()).backward()
    assert torch.equal(half.grad, torch.full_like(half, 4.0))
