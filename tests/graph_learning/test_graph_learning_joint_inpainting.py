"""The system of nodes and time against a Kronecker product solved by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch

from gsp_unroll.graph_learning.joint_inpainting import fill_missing, inpaint
from gsp_unroll.graph_learning.space_time_prior import (
    gram_over_time,
    laplacian_matrix,
    over_time,
    space_time_energy,
    time_diagonal,
    time_norm,
)

N, T = 6, 9
P = (0.7, 1.3)


def problem(seed=0, missing=0.4):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((N, N)) * (rng.random((N, N)) < 0.7), 1)
    upper[np.arange(N - 1), np.arange(1, N)] += 0.2
    y = rng.standard_normal((N, T))
    mask = rng.random((N, T)) >= missing
    mask[0] = True
    return torch.tensor(upper + upper.T), torch.tensor(y), torch.tensor(mask)


def temporal_matrix(steps=T, p1=P[0], p2=P[1]):
    difference = np.diff(np.eye(steps), axis=0).T
    path = difference @ difference.T
    return np.eye(steps) + p1 * path + p2 * path @ path


def laplacian(adjacency):
    return scipy.sparse.csgraph.laplacian(adjacency.numpy())


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_the_operator_of_time_is_the_matrix_of_first_differences(steps):
    x = torch.randn(2, N, steps, dtype=torch.float64)
    z = temporal_matrix(steps)
    torch.testing.assert_close(over_time(x, *P), x @ torch.tensor(z))
    torch.testing.assert_close(time_diagonal(x, *P), torch.tensor(np.diag(z).copy()))
    p = torch.tensor(P, dtype=torch.float64)
    assert time_norm(steps, *p).item() == pytest.approx(np.linalg.norm(z) ** 2)


def test_what_does_not_change_in_time_has_the_cost_of_the_identity_only():
    still = torch.randn(N, 1, dtype=torch.float64).expand(N, T)
    torch.testing.assert_close(over_time(still, *P), still)


def test_the_energy_is_the_quadratic_form_of_the_kronecker_product():
    adjacency, x, _ = problem()
    lap = laplacian(adjacency)
    vector = x.numpy().ravel(order="F")
    expected = vector @ np.kron(temporal_matrix(), lap) @ vector
    found = space_time_energy(laplacian_matrix(adjacency), x, *P)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    gram = gram_over_time(x, *P).numpy()
    assert np.sum(gram * lap) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("preconditioner", ["jacobi", "none"])
def test_noisy_samples_give_the_kronecker_solution(preconditioner):
    adjacency, y, mask = problem()
    rho = 0.15
    system = np.diag(mask.numpy().ravel(order="F").astype(float))
    system += 2 * rho * np.kron(temporal_matrix(), laplacian(adjacency))
    rhs = torch.where(mask, y, 0).numpy().ravel(order="F")
    expected = scipy.linalg.solve(system, rhs, assume_a="pos").reshape(N, T, order="F")
    found = inpaint(adjacency, y, mask, *P, mu=2 * rho, steps=200, preconditioner=preconditioner)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("preconditioner", ["jacobi", "none"])
def test_kept_samples_give_the_constrained_solution(preconditioner):
    adjacency, y, mask = problem()
    system = np.kron(temporal_matrix(), laplacian(adjacency) + 0.1 * np.eye(N))
    seen = mask.numpy().ravel(order="F")
    x = y.numpy().ravel(order="F")
    rhs = -system[np.ix_(~seen, seen)] @ x[seen]
    x[~seen] = scipy.linalg.solve(system[np.ix_(~seen, ~seen)], rhs, assume_a="pos")
    found = inpaint(adjacency, y, mask, *P, ridge=0.1, steps=200, preconditioner=preconditioner)
    np.testing.assert_allclose(found.numpy(), x.reshape(N, T, order="F"), rtol=0, atol=1e-12)
    assert torch.equal(found[mask], y[mask])


def test_small_mu_tends_to_the_kept_samples():
    adjacency, y, mask = problem()
    kept = inpaint(adjacency, y, mask, *P, steps=200)
    noisy = inpaint(adjacency, y, mask, *P, mu=1e-8, steps=400)
    torch.testing.assert_close(noisy, kept, rtol=0, atol=1e-6)


def test_signals_in_a_batch_are_systems_of_their_own():
    problems = [problem(seed) for seed in range(3)]
    together = inpaint(*(torch.stack(part) for part in zip(*problems, strict=True)), *P, steps=4)
    for k, (adjacency, y, mask) in enumerate(problems):
        torch.testing.assert_close(together[k], inpaint(adjacency, y, mask, *P, steps=4))


def test_a_start_shortens_the_way():
    adjacency, y, mask = problem()
    solution = inpaint(adjacency, y, mask, *P, steps=200)
    again = inpaint(adjacency, y, mask, *P, steps=1, start=solution)
    torch.testing.assert_close(again, solution, rtol=0, atol=1e-12)


def test_what_is_missing_is_never_read_and_only_that_is_filled():
    adjacency, y, mask = problem()
    holes = torch.where(mask, y, torch.nan)
    for mu in (None, 0.1):
        x = inpaint(adjacency, holes, mask, *P, mu=mu)
        assert x.isfinite().all()
        filled = fill_missing(x, holes, mask)
        assert torch.equal(filled[mask], y[mask])
        assert torch.equal(filled[~mask], x[~mask])


@pytest.mark.parametrize("mu", [None, 0.2])
def test_gradients_go_through_the_steps(mu):
    adjacency, y, mask = problem()
    scalars = torch.tensor([*P, 0.1], dtype=torch.float64, requires_grad=True)

    def run(weight, scalars):
        symmetric = (weight + weight.T) * (1 - torch.eye(N))
        return inpaint(symmetric, y, mask, scalars[0], scalars[1], ridge=scalars[2], mu=mu, steps=5)

    weight = (adjacency / 2).requires_grad_()
    assert torch.autograd.gradcheck(run, (weight, scalars))


def test_a_solved_system_keeps_finite_gradients():
    adjacency, y, mask = problem()
    p1 = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    x = inpaint(adjacency, y, torch.ones_like(mask), p1, 1.0, steps=5)
    x.sum().backward()
    assert p1.grad == 0


def test_what_cannot_be_is_named():
    adjacency, y, mask = problem()
    with pytest.raises(ValueError, match="preconditioner must be one of 'jacobi', 'none'"):
        inpaint(adjacency, y, mask, *P, preconditioner="ilu")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        inpaint(adjacency, y, mask, *P, steps=0)


@pytest.mark.parametrize("mu", [None, 0.1])
@pytest.mark.parametrize("preconditioner", ["jacobi", "none"])
def test_gradients_of_a_system_that_is_solved_long_before_the_last_step(mu, preconditioner):
    for seed in range(10):
        adjacency, y, mask = problem(seed)
        scalars = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in P]

        def total(p1, p2, problem=(adjacency, y, mask)):
            adjacency, y, mask = problem
            options = {"mu": mu, "steps": 200, "preconditioner": preconditioner}
            return inpaint(adjacency, y, mask, p1, p2, **options).square().sum()

        grads = torch.autograd.grad(total(*scalars), scalars)
        for k, grad in enumerate(grads):
            ends = []
            for change in (1e-5, -1e-5):
                moved = [value.detach() + change * (j == k) for j, value in enumerate(scalars)]
                ends.append(total(*moved))
            torch.testing.assert_close(grad, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-6)
