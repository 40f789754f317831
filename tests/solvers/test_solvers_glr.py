"""GLR interpolation: all its closed forms agree, and it does what is known by hand."""

import pytest
import torch
from helpers import (
    assert_batch_independent,
    both_ways,
    close,
    dense_laplacian,
    graph_batch,
    on_every_topology,
    permuted,
    random_edges,
    random_weight,
    ring,
)

from gsp_unroll.graphs.validate import check_observed
from gsp_unroll.priors import GLR
from gsp_unroll.solvers import ConjugateGradient, Status, solve_glr
from gsp_unroll.topology import Graph, Grid


def problem(topology, channels=2):
    """Laplacian, samples and a mask with a sample in every component."""
    w = random_weight(topology)
    y = torch.randn(1, channels, topology.num_nodes, dtype=torch.float64)
    mask = torch.rand(channels, topology.num_nodes) < 0.3
    mask[:, 0] = True
    for channel in mask:
        while (lost := topology.unobserved_component(channel)) is not None:
            channel[lost[0]] = True
    check_observed(topology, mask)
    return w, y, mask


def kkt(laplacian, y, mask):
    """The saddle-point system of the Lagrangian, solved directly."""
    n, sampling = len(y), torch.eye(len(y), dtype=torch.float64)[mask]
    k = len(sampling)
    matrix = torch.zeros(n + k, n + k, dtype=torch.float64)
    matrix[:n, :n] = 2 * laplacian
    matrix[:n, n:] = -sampling.T
    matrix[n:, :n] = -sampling
    right = torch.cat([torch.zeros(n).double(), -y[mask]])
    return torch.linalg.solve(matrix, right)[:n]


def harmonic(laplacian, y, mask):
    x, free = y.clone(), ~mask
    if bool(free.any()):
        x[free] = torch.linalg.solve(laplacian[free][:, free], -laplacian[free][:, mask] @ y[mask])
    return x


@on_every_topology()
def test_kkt_harmonic_and_cg_agree(topology):
    w, y, mask = problem(topology)
    solution = solve_glr(GLR(topology, w[None]), y, mask)
    assert solution.converged
    laplacian = dense_laplacian(topology, w)
    for c, observed in enumerate(mask):
        expected = kkt(laplacian, y[0, c], observed)
        close(harmonic(laplacian, y[0, c], observed), expected, 1e-10)
        close(solution.value[0, c], expected, 1e-10)


def test_filter_form_agrees():
    graph = Graph(random_edges(10), 10)
    w, y, mask = problem(graph, 1)
    laplacian = dense_laplacian(graph, w)
    expected = kkt(laplacian, y[0, 0], mask[0])
    # Richardson extrapolation removes the O(e) term of L + e I.
    sampling = torch.eye(10, dtype=torch.float64)[mask[0]]

    def filtered(epsilon):
        inverse = torch.linalg.inv(laplacian + epsilon * torch.eye(10, dtype=torch.float64))
        return (
            inverse
            @ sampling.T
            @ torch.linalg.solve(sampling @ inverse @ sampling.T, y[0, 0][mask[0]])
        )

    close(2 * filtered(5e-6) - filtered(1e-5), expected, 1e-9)
    close(solve_glr(GLR(graph, w[None]), y, mask).value[0, 0], expected, 1e-10)


@on_every_topology()
def test_observed_samples_come_back_bit_for_bit(topology):
    w, y, mask = problem(topology)
    y = torch.where(mask, y, torch.nan)
    solution = solve_glr(GLR(topology, w[None]), y, mask)
    assert torch.equal(solution.value[0][mask], y[0][mask])


@on_every_topology("grid5x4w3", "grid2x3w7", "graph", "batch")
def test_penalty_form_equals_a_dense_solve(topology):
    w, y, mask = problem(topology)
    laplacian = dense_laplacian(topology, w)
    for mu in (0.01, 1.0, 30.0):
        solution = solve_glr(GLR(topology, w[None]), y, mask, mu=mu)
        assert solution.converged
        for c, observed in enumerate(mask):
            matrix = torch.diag(observed.double()) + mu * laplacian
            expected = torch.linalg.solve(matrix, observed * y[0, c])
            close(solution.value[0, c], expected, 1e-9)


def test_penalty_form_tends_to_the_constrained_one_linearly_in_mu():
    grid = Grid(5, 5, 3)
    w, y, mask = problem(grid)
    prior = GLR(grid, w[None])
    limit = solve_glr(prior, y, mask).value
    gap = [
        float((solve_glr(prior, y, mask, mu=mu).value - limit).abs().max())
        for mu in (1e-3, 1e-4, 1e-5)
    ]
    assert gap[2] < 1e-4
    assert gap[0] / gap[1] == pytest.approx(10, rel=0.2)
    assert gap[1] / gap[2] == pytest.approx(10, rel=0.05)


@on_every_topology()
def test_maximum_principle(topology):
    w, y, mask = problem(topology)
    value = solve_glr(GLR(topology, w[None]), y, mask).value[0]
    for c, observed in enumerate(mask):
        low, high = y[0, c][observed].min(), y[0, c][observed].max()
        assert bool(((value[c] >= low - 1e-10) & (value[c] <= high + 1e-10)).all())


@on_every_topology("grid5x4w3", "graph")
def test_normalised_laplacian_equals_dense(topology):
    from gsp_unroll.ops.softmax import edge_softmax

    w = edge_softmax(topology, -random_weight(topology), "symmetric")
    _, y, mask = problem(topology)
    prior = GLR(topology, w[None], "normalized")
    adjacency = torch.diag(dense_laplacian(topology, w).diagonal()) - dense_laplacian(topology, w)
    matrix = torch.eye(topology.num_nodes, dtype=torch.float64) - adjacency
    value = solve_glr(prior, y, mask).value[0]
    for c, observed in enumerate(mask):
        close(value[c], harmonic(matrix, y[0, c], observed), 1e-9)


def test_ring_of_eight_by_hand():
    graph = Graph(ring(8), 8)
    mask = torch.tensor([True, False, True, False, True, False, False, False])
    y = torch.tensor([0.0, 0, 4, 0, 4, 0, 0, 0], dtype=torch.float64).view(1, 1, 8)
    value = solve_glr(GLR(graph, torch.ones(1, 8).double()), y, mask).value.flatten()
    close(value, torch.tensor([0.0, 2, 4, 4, 4, 3, 2, 1]).double(), 1e-12)


def test_increments_on_a_chain_are_inverse_to_the_weights():
    graph = Graph(both_ways([(0, 1), (1, 2), (2, 3)]), 4)
    w = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).view(1, 1, 4)
    mask = torch.tensor([True, False, False, True])
    value = solve_glr(GLR(graph, w), y, mask).value.flatten()
    close(value.diff(), torch.tensor([4.0, 2.0, 1.0]).double() / 7, 1e-12)


def test_seven_by_seven_grid_with_twelve_samples_in_twenty_steps():
    grid = Grid(7, 7, 5)
    w, y = random_weight(grid), torch.randn(1, 1, 49, dtype=torch.float64)
    mask = torch.zeros(49, dtype=torch.bool)
    mask[torch.randperm(49)[:12]] = True
    exact = kkt(dense_laplacian(grid, w), y[0, 0], mask)

    def error(steps):
        cg = ConjugateGradient(tolerance=0.0, max_iterations=steps)
        value = solve_glr(GLR(grid, w[None]), y, mask, cg=cg).value[0, 0]
        return float((value - exact).abs().max())

    assert error(5) > error(10) > error(20)
    assert error(10) < 1e-2
    assert error(20) < 1e-6


@pytest.mark.parametrize("mu", [None, 0.3])
def test_a_result_does_not_depend_on_the_rest_of_the_batch(mu):
    grid = Grid(6, 5, 5)
    w = random_weight(grid, 3) * torch.tensor([1e-2, 1.0, 50.0])[:, None]
    y = torch.randn(3, 2, 30, dtype=torch.float64) * torch.tensor([1e3, 1.0, 1e-6])[:, None, None]
    mask = torch.rand(3, 2, 30) < 0.3
    mask[..., 0] = True

    def run(index):
        chosen = index.long().flatten()
        return solve_glr(GLR(grid, w[chosen]), y[chosen], mask[chosen], mu=mu).value

    assert_batch_independent(run, torch.arange(3.0))


def test_equivariant_to_a_renumbering_of_the_nodes():
    graph = Graph(random_edges(12), 12)
    w, y, mask = problem(graph)
    order = torch.randperm(12)
    other, slot = permuted(graph, order)
    before = solve_glr(GLR(graph, w[None]), y, mask).value
    after = solve_glr(GLR(other, w[None, slot]), y[..., order], mask[:, order]).value
    close(after, before[..., order], 1e-10)


def test_graphs_of_a_batch_are_solved_apart():
    graph = graph_batch((6, 4))
    w, y, mask = problem(graph)
    solution = solve_glr(GLR(graph, w[None]), y, mask)
    assert solution.status.shape == (1, 2, 2)
    changed = y.clone()
    changed[..., 6:] *= 100
    again = solve_glr(GLR(graph, w[None]), changed, mask)
    assert torch.equal(again.value[..., :6], solution.value[..., :6])


def test_a_component_without_a_sample_keeps_the_start():
    graph = Graph(both_ways([(0, 1), (2, 3)]), 4)
    y = torch.tensor([5.0, 0, 0, 0], dtype=torch.float64).view(1, 1, 4)
    mask = torch.tensor([True, False, False, False])
    start = torch.full_like(y, 2.0)
    prior = GLR(graph, torch.ones(1, 2).double())
    solution = solve_glr(prior, y, mask, start=start)
    close(solution.value.flatten(), torch.tensor([5.0, 5, 2, 2]).double())
    assert solution.converged


def test_everything_observed_returns_the_samples():
    grid = Grid(3, 3, 3)
    y = torch.randn(1, 1, 9)
    prior = GLR(grid, random_weight(grid, 1, dtype=torch.float32))
    solution = solve_glr(prior, y, torch.ones(9) > 0)
    assert torch.equal(solution.value, y)
    assert solution.converged


def test_negative_weights_are_reported_as_breakdown():
    graph = Graph(ring(4), 4)
    prior = GLR(graph, -torch.ones(1, 4).double())
    y = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).view(1, 1, 4)
    solution = solve_glr(prior, y, torch.tensor([True, False, False, False]))
    assert solution.status.tolist() == [[[Status.BREAKDOWN]]]
    assert "edge weights zero or negative" in solution.message()


GRAPH = Graph(ring(4), 4)
PRIOR = GLR(GRAPH, torch.ones(1, 4))
Y, MASK = torch.ones(1, 1, 4), torch.tensor([True, False, True, False])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: solve_glr(PRIOR, Y, MASK, mu=0), ValueError, "mu must be .*> 0, got 0"),
        (lambda: solve_glr(PRIOR, Y, MASK, mu=float("nan")), ValueError, "mu must be .*got nan"),
        (lambda: solve_glr(PRIOR, Y, MASK.float()), TypeError, "mask must be a bool tensor"),
        (lambda: solve_glr(PRIOR, Y, MASK[:3]), ValueError, r"mask .* broadcasts to y \[1, 1, 4\]"),
        (lambda: solve_glr(PRIOR, Y * torch.nan, MASK), ValueError,
         "y must be finite where observed, got nan"),
        (lambda: solve_glr(PRIOR, Y.long(), MASK), TypeError, "y must be a floating-point"),
        (lambda: solve_glr(GLR(GRAPH, torch.ones(1, 2, 4), directed=True), Y, MASK), ValueError,
         "prior must be symmetric"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
