"""Learned conjugate gradients: exact with the right scalars, trainable with any."""

import pytest
import torch
from helpers import (
    assert_all_finite,
    close,
    dense_laplacian,
    on_every_topology,
    random_weight,
)

from gsp_unroll.nn import UnrolledCG
from gsp_unroll.ops import planar
from gsp_unroll.solvers import ConjugateGradient
from gsp_unroll.topology import Grid


def oracle_scalars(matrix, b, x, steps):
    """alpha, beta of textbook CG on a dense system."""
    r = b - matrix @ x
    p, alphas, betas = r, [], []
    for _ in range(steps):
        ap = matrix @ p
        alpha = (r @ r) / (p @ ap)
        x = x + alpha * p
        new = r - alpha * ap
        beta = (new @ new) / (r @ r)
        p, r = new + beta * p, new
        alphas.append(alpha)
        betas.append(beta)
    return torch.stack(alphas), torch.stack(betas), x


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_oracle_scalars_reproduce_exact_cg(steps):
    grid, heads = Grid(4, 5, 3), 3
    w = random_weight(grid, heads)
    b, x = torch.randn(2, heads, 20, dtype=torch.float64)
    matrices = dense_laplacian(grid, w) + 0.2 * torch.eye(20, dtype=torch.float64)
    module = UnrolledCG(steps, heads).double()
    expected = []
    with torch.no_grad():
        for h in range(heads):
            module.alpha[:, h], module.beta[:, h], value = oracle_scalars(
                matrices[h], b[h], x[h], steps
            )
            expected.append(value)

    def operator(v):
        return planar.laplacian(grid, w[None], v) + 0.2 * v

    start, right = x.view(1, heads, 1, 20), b.view(1, heads, 1, 20)
    result = module(operator, start, right - operator(start))
    result = result.detach()
    close(result[0, :, 0], torch.stack(expected), 1e-10)
    solver = ConjugateGradient(tolerance=0.0, max_iterations=steps)
    close(result, solver.solve(grid, operator, right, start).value, 1e-10)
    if steps == 9:
        exact = torch.linalg.solve(matrices, b)
        assert float((result[0, :, 0] - exact).abs().max()) < 0.1 * float((x - exact).abs().max())


def test_parameters_their_count_and_start():
    module = UnrolledCG(10, 4)
    assert sum(p.numel() for p in module.parameters()) == 80
    close(module.alpha, torch.full((10, 4), 0.5), 0)
    close(module.beta, torch.full((10, 4), 0.1), 0)
    with torch.no_grad():
        module.alpha.zero_()
    module.reset_parameters()
    close(module.alpha, torch.full((10, 4), 0.5), 0)
    assert "steps=10, heads=4" in repr(module)


@on_every_topology("grid5x4w3", "graph", "batch")
def test_gradients_reach_all_scalars_and_equal_plain_autograd(topology):
    w = random_weight(topology, 2)
    laplacian = dense_laplacian(topology, w)
    module = UnrolledCG(3, 2).double()
    r = torch.randn(1, 2, 2, topology.num_nodes, dtype=torch.float64)
    results = []
    for operator in (
        lambda v: planar.laplacian(topology, w[None], v),
        lambda v: torch.einsum("hij,bhcj->bhci", laplacian, v),
    ):
        value = module(operator, torch.zeros_like(r), r)
        results.append(
            (value, *torch.autograd.grad(value.square().sum(), list(module.parameters())))
        )
    for ours, dense in zip(*results, strict=True):
        close(ours, dense)
    assert_all_finite(*results[0])
    assert bool((results[0][1] != 0).all())
    assert bool((results[0][2][:-1] != 0).all())
    assert not bool(results[0][2][-1].any())  # the last beta forms a direction nobody takes


def test_number_of_products_is_one_less_than_steps():
    calls = []
    module = UnrolledCG(4, 1)
    module(lambda v: calls.append(1) or v, torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1, 3))
    assert len(calls) == 3


@pytest.mark.parametrize(("steps", "heads"), [(0, 1), (1, 0)])
def test_sizes_below_one_are_named(steps, heads):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        UnrolledCG(steps, heads)


@pytest.mark.parametrize(
    ("x", "residual", "message"),
    [
        ([60, 4], [60, 4], r"x must have shape \[B, 4, C, N\]"),
        ([1, 3, 9], [1, 3, 9], r"x must have shape \[B, 4, C, N\]"),
        ([1, 2, 3, 9], [1, 2, 3, 9], r"x must have shape \[B, 4, C, N\]"),
        ([1, 4, 3, 9], [1, 4, 1, 9], r"residual must have shape \[1, 4, 3, 9\]"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(x, residual, message):
    with pytest.raises(ValueError, match=message):
        UnrolledCG(3, 4)(lambda p: p, torch.ones(x), torch.ones(residual))
