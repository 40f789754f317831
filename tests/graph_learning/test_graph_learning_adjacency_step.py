"""Steps on the adjacency: derivatives, projections, what they keep."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from gsp_unroll.graph_learning.adjacency_step import (
    adjacency_gradient,
    curvature,
    project_mean_degree,
    project_non_negative,
    sparsify,
)
from gsp_unroll.graph_learning.space_time_prior import gram_over_time, laplacian_matrix

N, T, DECAY = 6, 11, 0.7
ROW, COLUMN = torch.triu_indices(N, N, offset=1)


def adjacency_of(weight):
    upper = torch.zeros(N, N, dtype=weight.dtype).index_put((ROW, COLUMN), weight)
    return upper + upper.T


def random_problem(seed=0):
    rng = torch.Generator().manual_seed(seed)
    weight = torch.rand(len(ROW), generator=rng, dtype=torch.float64)
    x = torch.randn(N, T, generator=rng, dtype=torch.float64)
    return weight, gram_over_time(x, 0.5, 0.2)


def objective(weight, gram):
    laplacian = laplacian_matrix(adjacency_of(weight))
    return (laplacian * gram).sum() + DECAY / 2 * laplacian.square().sum()


def test_the_objective_step_is_the_derivative_by_the_weight_of_an_edge():
    weight, gram = random_problem()
    found = adjacency_gradient(adjacency_of(weight), gram, DECAY, "objective")[ROW, COLUMN]
    weight.requires_grad_()
    objective(weight, gram).backward()
    torch.testing.assert_close(found, weight.grad)
    weight = weight.detach()
    slope = scipy.optimize.approx_fprime(
        weight.numpy(), lambda w: objective(torch.tensor(w), gram).item(), 1e-6
    )
    np.testing.assert_allclose(found.numpy(), slope, rtol=1e-4)


def test_the_offdiagonal_step_leaves_out_the_diagonal_of_the_laplacian():
    weight, gram = random_problem()
    adjacency = adjacency_of(weight)
    found = adjacency_gradient(adjacency, gram, DECAY, "offdiagonal")
    expected = -(gram + DECAY * -adjacency)
    expected.fill_diagonal_(0)
    torch.testing.assert_close(found, expected)
    # Its fixed point is the positive part of the Gram matrix.
    fixed = project_non_negative(gram) / DECAY
    moved = fixed - 0.3 * adjacency_gradient(fixed, gram, DECAY, "offdiagonal")
    torch.testing.assert_close(project_non_negative(moved), fixed)


@pytest.mark.parametrize("gradient", ["objective", "offdiagonal"])
def test_the_curvature_bounds_that_of_the_quadratic(gradient):
    zero = torch.zeros(N, N, dtype=torch.float64)
    eye = torch.eye(len(ROW), dtype=torch.float64)
    hessian = torch.stack(
        [adjacency_gradient(adjacency_of(e), zero, DECAY, gradient)[ROW, COLUMN] for e in eye]
    )
    largest = torch.linalg.eigvalsh(hessian).max().item()
    assert largest == pytest.approx(curvature(N, DECAY, gradient))


def test_many_steps_reach_the_minimum_with_a_given_sum_of_weights():
    _, gram = random_problem()
    gram = gram / gram.diagonal().mean()
    adjacency = torch.zeros(N, N, dtype=torch.float64)
    step = 1 / curvature(N, DECAY, "objective")
    for _ in range(500):
        moved = adjacency - step * adjacency_gradient(adjacency, gram, DECAY, "objective")
        adjacency = project_mean_degree(moved, 1.0)
    best = scipy.optimize.minimize(
        lambda w: objective(torch.tensor(w), gram).item(),
        np.full(len(ROW), N / 2 / len(ROW)),
        bounds=[(0, None)] * len(ROW),
        constraints={"type": "eq", "fun": lambda w: w.sum() - N / 2},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    found = adjacency[ROW, COLUMN]
    np.testing.assert_allclose(found.numpy(), best.x, atol=1e-5)
    assert objective(found, gram).item() <= best.fun + 1e-10


@pytest.mark.parametrize("mean_degree", [0.3, 1.0, 7.0])
def test_the_projection_is_the_nearest_graph_of_that_mean_degree(mean_degree):
    rng = torch.Generator().manual_seed(1)
    start = torch.randn(3, N, N, generator=rng, dtype=torch.float64)
    start = start + start.mT
    found = project_mean_degree(start, mean_degree)
    assert torch.equal(found, found.mT)
    assert (found >= 0).all()
    assert (found.diagonal(dim1=-2, dim2=-1) == 0).all()
    degree = found.sum(-1).mean(-1)
    torch.testing.assert_close(degree, torch.full_like(degree, mean_degree))
    point = start[0][ROW, COLUMN].numpy()
    best = scipy.optimize.minimize(
        lambda w: 0.5 * np.sum((w - point) ** 2),
        np.full(len(ROW), mean_degree * N / 2 / len(ROW)),
        jac=lambda w: w - point,
        bounds=[(0, None)] * len(ROW),
        constraints={"type": "eq", "fun": lambda w: w.sum() - mean_degree * N / 2},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(found[0][ROW, COLUMN].numpy(), best.x, atol=1e-6)
    torch.testing.assert_close(project_mean_degree(found, mean_degree), found)


def test_sparsify_takes_a_share_of_the_mean_weight():
    adjacency = adjacency_of(torch.tensor([0.0] * 12 + [1.0, 2.0, 6.0], dtype=torch.float64))
    found = sparsify(adjacency, 0.5)[ROW, COLUMN]
    assert found[-3:].tolist() == [0.0, 0.5, 4.5]
    assert (found[:-3] == 0).all()
    assert torch.equal(sparsify(torch.zeros(N, N), 0.5), torch.zeros(N, N))


def test_the_projection_has_the_right_gradient():
    weight, _ = random_problem()
    weight = (3 * weight - 1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w: project_mean_degree(adjacency_of(w), 1.0)[ROW, COLUMN], (weight,)
    )


def test_another_gradient_is_named():
    weight, gram = random_problem()
    with pytest.raises(ValueError, match="gradient must be one of 'objective', 'offdiagonal'"):
        adjacency_gradient(adjacency_of(weight), gram, 1.0, "diagonal")
