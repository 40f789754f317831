"""Primal-dual splitting against an independent convex solver, and the distances it learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import pdist

from gsp_unroll.graph_learning import pairwise_distances, pds_step, safe_step, solve_pds, tune_pds
from gsp_unroll.graph_learning.half_vector import degrees, degrees_adjoint
from gsp_unroll.graph_learning.pds import scalars
from gsp_unroll.solvers import Status

NODES, EDGES = 7, 21


def distances(count: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 3 * torch.rand(count, EDGES, generator=rng, dtype=torch.float64).to(dtype)


def convex_optimum(z: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """The primal problem by L-BFGS-B, polished by Newton steps on the weights above zero."""
    u, v = np.triu_indices(NODES, 1)
    dense = np.zeros((NODES, EDGES))
    dense[u, np.arange(EDGES)] = dense[v, np.arange(EDGES)] = 1

    def gradient(w: np.ndarray) -> np.ndarray:
        return 2 * z - alpha * dense.T @ (1 / (dense @ w)) + 2 * beta * w

    def value(w: np.ndarray) -> tuple[float, np.ndarray]:
        f = 2 * z @ w - alpha * np.log(dense @ w).sum() + beta * w @ w
        return float(f), gradient(w)

    tight = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-11}
    bounds = [(1e-9, None)] * EDGES  # never all zero, where the logarithm ends
    w = minimize(value, np.ones(EDGES), jac=True, method="L-BFGS-B", bounds=bounds, options=tight).x
    free = w > 1e-7
    for _ in range(5):
        part = dense[:, free]
        hessian = part.T @ np.diag(alpha / (dense @ w) ** 2) @ part + 2 * beta * np.eye(free.sum())
        w = np.where(free, w, 0)
        w[free] -= np.linalg.solve(hessian, gradient(w)[free])
    # The conditions of the optimum, to be sure of the reference itself.
    assert np.abs(gradient(w)[free]).max() < 1e-9
    assert gradient(w)[~free].min() > 0
    assert w.min() >= 0
    return w


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 0.05), (2.0, 5.0)])
def test_the_solution_is_that_of_a_convex_solver(alpha, beta):
    z = distances()
    solution = solve_pds(z, alpha, beta).raise_for_status()
    for k in range(len(z)):
        exact = convex_optimum(z[k].numpy(), alpha, beta)
        error = np.linalg.norm(solution.value[k].numpy() - exact) / np.linalg.norm(exact)
        assert error < 1e-6
        assert error <= float(solution.stats["residual"][k]) + 1e-10
    assert bool((solution.value >= 0).all())
    assert bool((degrees(solution.value) > 0).all())


def test_the_error_bound_holds_along_the_way():
    z = distances(2)
    exact = solve_pds(z, 1.0, 0.1, tolerance=1e-12).value
    for limit in (10, 40, 120):
        part = solve_pds(z, 1.0, 0.1, max_iterations=limit)
        assert part.status.tolist() == [Status.MAX_ITERATIONS] * 2
        error = (part.value - exact).norm(dim=-1) / part.value.norm(dim=-1)
        assert bool((error <= part.stats["residual"]).all())


def test_a_step_is_the_textbook_iteration_and_rests_at_the_optimum():
    z, alpha, beta = distances(), 0.7, 0.3
    gamma = safe_step(NODES, beta)
    given = scalars(*(torch.tensor(x, dtype=torch.float64) for x in (gamma, alpha, beta)))
    w, v = torch.rand_like(z), -torch.rand(3, NODES, dtype=torch.float64)
    y1 = w - gamma * (2 * beta * w + 2 * z + degrees_adjoint(v))
    y2 = v + gamma * degrees(w)
    p1, p2 = y1.clamp(min=0), (y2 - (y2**2 + 4 * gamma * alpha).sqrt()) / 2
    q1 = p1 - gamma * (2 * beta * p1 + 2 * z + degrees_adjoint(p2))
    q2 = p2 + gamma * degrees(p1)
    after = pds_step(w, v, z, given)
    torch.testing.assert_close(after, (w + q1 - y1, v + q2 - y2), rtol=1e-12, atol=1e-12)

    w = solve_pds(z, alpha, beta, tolerance=1e-13).value
    v = -alpha / degrees(w)
    torch.testing.assert_close(pds_step(w, v, z, given), (w, v), rtol=0, atol=1e-10)


def test_each_graph_is_solved_as_if_alone():
    z = distances(4).reshape(2, 2, EDGES)
    together = solve_pds(z, 1.0, 0.2)
    assert together.status.shape == together.stats["iterations"].shape == (2, 2)
    for k in range(4):
        alone = solve_pds(z.reshape(4, EDGES)[k], 1.0, 0.2)
        torch.testing.assert_close(
            alone.value, together.value.reshape(4, EDGES)[k], rtol=1e-7, atol=0
        )
        assert alone.stats["iterations"] == together.stats["iterations"].reshape(4)[k]


def test_scaling_and_single_precision():
    z = distances()
    one = solve_pds(z, 1.0, 0.6).value
    torch.testing.assert_close(solve_pds(z, 2.0, 0.3).value, 2 * one, rtol=1e-6, atol=1e-9)
    single = solve_pds(distances(dtype=torch.float32), 1.0, 0.6).raise_for_status()
    torch.testing.assert_close(single.value.double(), one, rtol=1e-3, atol=1e-4)


def test_a_step_too_large_is_told():
    solution = solve_pds(distances(), step=30.0, max_iterations=400)
    assert not solution.converged


def test_tuning_finds_the_scalars_that_made_the_graphs():
    z = distances(6)
    truth = solve_pds(z, 3.0, 0.8**2 / 3).value
    tuned = tune_pds(z, truth, [0.4, 0.8, 1.6])
    assert (tuned.alpha, tuned.beta) == pytest.approx((3.0, 0.8**2 / 3), rel=1e-5)
    assert tuned.error < 1e-10


def test_distances_are_mean_squared_differences():
    signals = 100 + torch.randn(2, 11, 5, dtype=torch.float64)
    for k in range(2):
        expected = pdist(signals[k].T.numpy(), "sqeuclidean") / 11
        np.testing.assert_allclose(pairwise_distances(signals)[k].numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: solve_pds(torch.rand(4)), ValueError, "half vector"),
        (lambda: solve_pds(torch.ones(3, dtype=torch.int64)), TypeError, "floating-point"),
        (lambda: solve_pds(-torch.rand(3)), ValueError, "z must hold squared distances"),
        (lambda: solve_pds(torch.full((3,), torch.nan)), ValueError, "z must be finite"),
        (lambda: solve_pds(torch.rand(3), alpha=0.0), ValueError, "alpha must be finite and > 0"),
        (lambda: solve_pds(torch.rand(3), beta=-1.0), ValueError, "beta must"),
        (lambda: solve_pds(torch.rand(3), step=0.0), ValueError, "step must"),
        (lambda: solve_pds(torch.rand(3), max_iterations=0), ValueError, "max_iterations must"),
        (lambda: tune_pds(torch.rand(2, 3), torch.rand(2, 6)), ValueError, "truth must have shape"),
        (lambda: tune_pds(torch.rand(2, 3), torch.rand(2, 3), []), ValueError, "roots must"),
        (lambda: pairwise_distances(torch.rand(5)), ValueError, "signals must have shape"),
        (lambda: pairwise_distances(torch.rand(2, 3) / 0), ValueError, "signals must be finite"),
        (lambda: pairwise_distances(torch.ones(2, 3).int()), TypeError, "signals must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_near_nodes_keep_their_distance_in_single_precision():
    signals = torch.tensor([[0.0, 1e-3, 1e3]])
    expected = pairwise_distances(signals.double()).float()
    torch.testing.assert_close(pairwise_distances(signals), expected, rtol=1e-6, atol=0)
    assert float(expected[0]) == pytest.approx(1e-6, rel=1e-4)


def test_a_graph_without_edges_or_numbers_tunes_nothing():
    z = torch.rand(2, 3, dtype=torch.float64)
    truth = torch.ones_like(z)
    truth[1] = 0
    with pytest.raises(ValueError, match="truth must have an edge in every graph, got none in 1"):
        tune_pds(z, truth)
    truth[1] = torch.nan
    with pytest.raises(ValueError, match="truth must be finite"):
        tune_pds(z, truth)


def test_no_gradient_is_kept():
    solution = solve_pds(torch.rand(2, 3, dtype=torch.float64, requires_grad=True))
    assert not solution.value.requires_grad
