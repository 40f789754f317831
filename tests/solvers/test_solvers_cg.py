"""Conjugate gradients: exact, per system, honest about how each system ended."""

import pytest
import torch
from helpers import (
    assert_batch_independent,
    close,
    dense_laplacian,
    graph_batch,
    on_every_topology,
    random_edges,
    random_weight,
)

from gsp_unroll.ops import planar
from gsp_unroll.solvers import ConjugateGradient, SolverError, Status
from gsp_unroll.topology import Graph, Grid


def shifted(topology, w, shift=0.1):
    return lambda x: planar.laplacian(topology, w, x) + shift * x


@on_every_topology()
def test_equals_a_dense_solve(topology):
    w = random_weight(topology, 2)
    b = torch.randn(2, 3, topology.num_nodes, dtype=torch.float64)
    matrix = dense_laplacian(topology, w) + 0.1 * torch.eye(topology.num_nodes, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, b.mT).mT
    for start in (None, torch.randn_like(b)):
        solution = ConjugateGradient().solve(topology, shifted(topology, w), b, start)
        assert solution.converged
        close(solution.value, expected, 1e-10)
        assert solution.status.shape == (2, 3, topology.num_graphs)


def test_ends_after_as_many_steps_as_there_are_nodes():
    graph = Graph(random_edges(9), 9)
    w = random_weight(graph)
    b = torch.randn(1, 9, dtype=torch.float64)
    solution = ConjugateGradient(tolerance=1e-10).solve(graph, shifted(graph, w), b)
    assert int(solution.stats["iterations"]) <= 9


def test_a_result_does_not_depend_on_the_rest_of_the_batch():
    grid = Grid(6, 5, 5)
    # Very different systems: they end at very different iterations.
    w = random_weight(grid, 3) * torch.tensor([1e-3, 1.0, 50.0])[:, None]
    b = torch.randn(3, 2, 30, dtype=torch.float64) * torch.tensor([1e4, 1.0, 0.0])[:, None, None]

    def run(index):
        chosen = index.long().flatten()
        return ConjugateGradient().solve(grid, shifted(grid, w[chosen]), b[chosen]).value

    assert_batch_independent(run, torch.arange(3.0))


def test_graphs_of_a_batch_are_systems_of_their_own():
    graph = graph_batch((5, 1, 7))
    w = random_weight(graph)
    b = torch.randn(2, 13, dtype=torch.float64)
    b[:, 5] = 0
    solution = ConjugateGradient().solve(graph, shifted(graph, w), b)
    assert solution.stats["iterations"].shape == (2, 3)
    assert solution.stats["iterations"][:, 1].tolist() == [0, 0]
    inside = (graph.batch[graph.ends[0]] == 2).nonzero().squeeze(1)
    u, v = (end[inside] - 6 for end in graph.ends)
    single = Graph(torch.stack([torch.cat([u, v]), torch.cat([v, u])]), 7)
    alone = ConjugateGradient().solve(single, shifted(single, w[inside]), b[:, 6:])
    close(solution.value[:, 6:], alone.value, 1e-13)
    assert torch.equal(solution.stats["iterations"][:, 2:], alone.stats["iterations"])


def test_a_finished_system_is_frozen():
    grid = Grid(6, 6, 3)
    operator = shifted(grid, random_weight(grid))
    b = torch.randn(2, 36, dtype=torch.float64)
    start = ConjugateGradient().solve(grid, operator, b).value
    # The first system starts within the tolerance, the second far outside.
    start[0] += 0.01 * torch.randn(36)
    start[1] += 1e4 * torch.randn(36)
    solution = ConjugateGradient(tolerance=0.2).solve(grid, operator, b, start)
    assert float(solution.stats["residual"][0]) > 0.01
    assert torch.equal(solution.value[0], start[0])
    assert solution.stats["iterations"].flatten()[0] == 0
    assert solution.stats["iterations"].flatten()[1] > 3


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_iteration_limit_is_honoured_and_reported(limit):
    grid = Grid(6, 6, 3)
    calls = []
    operator = shifted(grid, random_weight(grid))

    def counted(x):
        calls.append(1)
        return operator(x)

    b = torch.randn(1, 36, dtype=torch.float64)
    solution = ConjugateGradient(max_iterations=limit).solve(grid, counted, b)
    assert solution.status.tolist() == [[Status.MAX_ITERATIONS]]
    assert solution.stats["iterations"].tolist() == [[limit]]
    assert len(calls) == limit + 1  # one more for the residual
    true = (b - operator(solution.value)).norm() / b.norm()
    close(solution.stats["residual"].squeeze(), true, 1e-12)
    with pytest.raises(SolverError, match=r"1 of 1 systems stopped at max_iterations; raise it"):
        solution.raise_for_status()


def test_an_indefinite_operator_is_a_breakdown_of_that_system_only():
    grid = Grid(1, 4, 3)
    sign = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    b = torch.randn(2, 4, dtype=torch.float64)
    solution = ConjugateGradient().solve(grid, lambda x: sign * x, b)
    assert solution.status.flatten().tolist() == [Status.CONVERGED, Status.BREAKDOWN]
    close(solution.value[0], b[0])
    assert "1 of 2 systems met a direction of no curvature" in solution.message()
    assert not solution.converged


def test_nan_is_reported_for_that_system_only():
    grid = Grid(2, 2, 3)
    b = torch.ones(2, 4, dtype=torch.float64)
    b[1, 2] = torch.nan
    solution = ConjugateGradient().solve(grid, lambda x: 2 * x, b)
    assert solution.status.flatten().tolist() == [Status.CONVERGED, Status.NON_FINITE]
    close(solution.value[0], b[0] / 2)
    assert "became NaN or infinite" in solution.message()


def test_an_operator_that_makes_nan_is_reported():
    grid = Grid(2, 2, 3)
    solution = ConjugateGradient().solve(grid, lambda x: x * torch.nan, torch.ones(1, 4))
    assert solution.status.tolist() == [[Status.NON_FINITE]]


def test_zero_right_hand_side_needs_no_step():
    grid = Grid(2, 2, 3)
    solution = ConjugateGradient().solve(grid, lambda x: 2 * x, torch.zeros(1, 4))
    assert not bool(solution.value.any())
    assert solution.converged
    assert solution.raise_for_status() is solution
    assert solution.message() == "all 1 systems converged"
    assert float(solution.stats["residual"]) == 0


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_default_tolerance_follows_the_dtype(dtype, bound):
    grid = Grid(5, 5, 3)
    w = random_weight(grid, dtype=dtype)
    b = torch.randn(1, 25, dtype=dtype)
    solution = ConjugateGradient().solve(grid, shifted(grid, w), b)
    assert solution.converged
    assert solution.value.dtype == dtype
    assert float(solution.stats["residual"]) < bound


def test_scale_sets_what_the_tolerance_refers_to():
    grid = Grid(5, 5, 3)
    w, b = random_weight(grid), torch.randn(1, 25, dtype=torch.float64)
    solver = ConjugateGradient(tolerance=1e-6)
    loose = solver.solve(grid, shifted(grid, w), b, scale=torch.full((1, 1), 1e4 * float(b.norm())))
    tight = solver.solve(grid, shifted(grid, w), b)
    assert loose.stats["iterations"] < tight.stats["iterations"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tolerance": -1e-3}, ValueError, "tolerance must be .*>= 0, got -0.001"),
        ({"tolerance": float("nan")}, ValueError, "tolerance must be .*got nan"),
        ({"max_iterations": -1}, ValueError, "max_iterations must be at least 0, got -1"),
        ({"max_iterations": 10.0}, TypeError, "max_iterations must be an int, got float"),
    ],
)
def test_wrong_settings_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ConjugateGradient(**arguments)
