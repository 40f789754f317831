"""GTV solver against scipy's linear programming, certificates of optimality and cases by hand."""

import numpy as np
import pytest
import torch
from helpers import (
    assert_batch_independent,
    both_ways,
    close,
    dense_incidence,
    graph_batch,
    on_every_topology,
    permuted,
    random_edges,
    random_weight,
    ring,
)
from scipy.optimize import linprog, lsq_linear

from gsp_unroll.graphs.validate import check_observed
from gsp_unroll.priors import GLR, GTV
from gsp_unroll.solvers import GTVSolver, SolverError, Status, solve_glr
from gsp_unroll.solvers.gtv import CONSTRAINTS, SPLITTINGS
from gsp_unroll.topology import Graph, Grid

every_way = pytest.mark.parametrize(
    ("splitting", "constraint"), [(s, c) for s in SPLITTINGS for c in CONSTRAINTS]
)


def problem(topology, channels=1):
    w = random_weight(topology)
    y = torch.randn(1, channels, topology.num_nodes, dtype=torch.float64)
    mask = torch.rand(channels, topology.num_nodes) < 0.25
    mask[:, 0] = True
    for channel in mask:
        while (lost := topology.unobserved_component(channel)) is not None:
            channel[lost[0]] = True
    check_observed(topology, mask)
    start = solve_glr(GLR(topology, w[None]), y, mask).value
    return w, y, mask, start


def linear_program(incidence, y, mask):
    """min 1'z s.t. z >= +-Cx, Hx = y, by HiGHS."""
    c = incidence.numpy()
    m, n = c.shape
    sampling = np.eye(n)[mask.numpy()]
    result = linprog(
        np.concatenate([np.zeros(n), np.ones(m)]),
        A_ub=np.block([[c, -np.eye(m)], [-c, -np.eye(m)]]),
        b_ub=np.zeros(2 * m),
        A_eq=np.hstack([sampling, np.zeros((len(sampling), m))]),
        b_eq=y[mask].numpy(),
        bounds=[(None, None)] * n + [(0, None)] * m,
        method="highs",
    )
    assert result.success
    return result.fun


@every_way
@pytest.mark.parametrize(
    "make",
    [lambda: Grid(4, 5, 5), lambda: Graph(random_edges(14, extra=20), 14)],
    ids=["grid", "graph"],
)
def test_objective_equals_that_of_scipys_linear_program(make, splitting, constraint):
    topology = make()
    w, y, mask, start = problem(topology)
    incidence = dense_incidence(topology, w)
    best = linear_program(incidence, y[0, 0], mask[0])
    solver = GTVSolver(tolerance=1e-6, splitting=splitting, constraint=constraint)
    solution = solver.solve(GTV(topology, w[None]), y, mask, start)
    assert solution.converged
    value = solution.value[0, 0]
    assert torch.equal(value[mask[0]], y[0, 0][mask[0]])
    objective = float((incidence @ value).abs().sum())
    assert objective == pytest.approx(best, rel=1e-5)
    assert float(GTV(topology, w[None]).energy(solution.value)) == pytest.approx(objective)


@on_every_topology("grid5x4w3", "row1x6w3", "pixel1x1", "grid2x3w7", "graph", "empty", "batch")
def test_every_topology_and_backend_reaches_the_optimum(topology):
    w, y, mask, start = problem(topology)
    prior = GTV(topology, w[None])
    solution = GTVSolver(tolerance=1e-6).solve(prior, y, mask, start)
    assert solution.converged
    assert solution.status.shape == (1, 1, topology.num_graphs)
    incidence = dense_incidence(topology, w)
    best = linear_program(incidence, y[0, 0], mask[0]) if len(incidence) else 0.0
    assert float(prior.energy(solution.value).sum()) == pytest.approx(best, rel=1e-5, abs=1e-12)


def certificate(incidence, y, mask, x, mu):
    """Distance from optimality of 1/2 |Hx - y|^2 + mu |Cx|_1.

    x is optimal iff some p with |p| <= mu, p = mu sign(Cx) where Cx is not zero, satisfies
    H'(Hx - y) + C'p = 0: bounded least squares for p.
    """
    c = (incidence @ x).numpy()
    kink = np.abs(c) < 1e-6
    lower = np.where(kink, -mu, mu * np.sign(c)) - 1e-12
    upper = np.where(kink, mu, mu * np.sign(c)) + 1e-12
    pull = (mask * (x - y)).numpy()
    result = lsq_linear(incidence.T.numpy(), -pull, bounds=(lower, upper), tol=1e-13)
    return float(np.abs(incidence.T.numpy() @ result.x + pull).max())


@pytest.mark.parametrize("splitting", SPLITTINGS)
@pytest.mark.parametrize("mu", [0.05, 0.5, 5.0])
def test_noisy_form_satisfies_the_optimality_conditions(mu, splitting):
    grid = Grid(5, 5, 3)
    w, y, mask, start = problem(grid)
    solver = GTVSolver(tolerance=1e-9, max_iterations=20_000, splitting=splitting)
    solution = solver.solve(GTV(grid, w[None]), y, mask, start, mu=mu)
    assert solution.converged
    incidence = dense_incidence(grid, w)
    x = solution.value[0, 0]
    assert certificate(incidence, y[0, 0], mask[0], x, mu) < 1e-6
    # The certificate can fail: it refuses a signal beside the solution.
    assert certificate(incidence, y[0, 0], mask[0], x + 0.01 * torch.randn(25), mu) > 1e-3


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_denoising_equals_the_projection_onto_the_dual_ball(splitting):
    grid, mu = Grid(4, 5, 3), 0.4
    w, y, _, _ = problem(grid)
    incidence = dense_incidence(grid, w)
    dual = lsq_linear(incidence.T.numpy(), y[0, 0].numpy(), bounds=(-mu, mu), tol=1e-14).x
    expected = y[0, 0] - incidence.T @ torch.from_numpy(dual)
    solver = GTVSolver(tolerance=1e-10, max_iterations=20_000, splitting=splitting)
    solution = solver.solve(GTV(grid, w[None]), y, torch.ones(20) > 0, y, mu=mu)
    close(solution.value[0, 0], expected, 1e-6)


def test_noisy_form_from_a_constant_start():
    grid = Grid(4, 4, 3)
    w, y, mask, start = problem(grid)
    prior, solver = GTV(grid, w[None]), GTVSolver(tolerance=1e-9, max_iterations=20_000)
    expected = solver.solve(prior, y, mask, start, mu=0.1)
    for constant in (0.0, 7.0):
        solution = solver.solve(prior, y, mask, torch.full_like(y, constant), mu=0.1)
        assert solution.converged
        close(prior.energy(solution.value), prior.energy(expected.value), 1e-5)


def test_noisy_form_tends_to_the_constrained_one():
    grid = Grid(5, 5, 3)
    w, y, mask, start = problem(grid)
    prior = GTV(grid, w[None])
    best = linear_program(dense_incidence(grid, w), y[0, 0], mask[0])
    solver = GTVSolver(tolerance=1e-9, max_iterations=20_000)
    value = solver.solve(prior, y, mask, start, mu=1e-5).value
    assert float((value - y)[0, 0][mask[0]].abs().max()) < 1e-4
    assert float(prior.energy(value)) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_a_chain_jumps_at_its_weakest_edge(splitting):
    graph = Graph(both_ways([(0, 1), (1, 2), (2, 3)]), 4)
    w = torch.tensor([[2.0, 0.5, 1.0]], dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).view(1, 1, 4)
    mask = torch.tensor([True, False, False, True])
    start = torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=torch.float64).view(1, 1, 4)
    solution = GTVSolver(tolerance=1e-10, splitting=splitting).solve(GTV(graph, w), y, mask, start)
    close(solution.value.flatten(), torch.tensor([0.0, 0, 1, 1]).double(), 1e-8)


def test_ring_of_eight_costs_what_it_costs_by_hand():
    graph = Graph(ring(8), 8)
    mask = torch.tensor([True, False, True, False, True, False, False, False])
    y = torch.tensor([0.0, 0, 4, 0, 4, 0, 0, 0], dtype=torch.float64).view(1, 1, 8)
    prior = GTV(graph, torch.ones(1, 8).double())
    start = torch.where(mask, y, torch.randn(8).double())
    solution = GTVSolver().solve(prior, y, mask, start)
    close(prior.energy(solution.value).flatten(), torch.tensor([8.0]).double(), 1e-6)
    assert float(solution.value[..., 3]) == pytest.approx(4.0, abs=1e-6)


@every_way
@pytest.mark.parametrize("mu", [None, 0.2])
def test_a_result_does_not_depend_on_the_rest_of_the_batch(mu, splitting, constraint):
    grid = Grid(5, 5, 3)
    # Systems of very different difficulty and size.
    w = random_weight(grid, 3) * torch.tensor([1e-2, 1.0, 30.0])[:, None]
    y = torch.randn(3, 2, 25, dtype=torch.float64) * torch.tensor([1e3, 1.0, 1e-2])[:, None, None]
    mask = torch.rand(3, 2, 25) < 0.3
    mask[..., 0] = True
    start = solve_glr(GLR(grid, w), y, mask).value
    solver = GTVSolver(
        tolerance=1e-4, max_iterations=60, splitting=splitting, constraint=constraint
    )

    def run(index):
        k = index.long().flatten()
        return solver.solve(GTV(grid, w[k]), y[k], mask[k], start[k], mu=mu).value

    assert_batch_independent(run, torch.arange(3.0))


def test_graphs_of_a_batch_are_solved_apart():
    graph = graph_batch((6, 9))
    w, y, mask, start = problem(graph)
    solver = GTVSolver(max_iterations=80)
    solution = solver.solve(GTV(graph, w[None]), y, mask, start)
    assert solution.status.shape == (1, 1, 2)
    y2, start2 = y.clone(), start.clone()
    y2[..., 6:] *= 100
    start2[..., 6:] = torch.randn(9)
    start2 = torch.where(mask, y2, start2)
    again = solver.solve(GTV(graph, w[None]), y2, mask, start2)
    assert torch.equal(again.value[..., :6], solution.value[..., :6])


def test_equivariant_to_a_renumbering_of_the_nodes():
    graph = Graph(random_edges(12), 12)
    w, y, mask, start = problem(graph)
    order = torch.randperm(12)
    other, slot = permuted(graph, order)
    solver = GTVSolver(tolerance=1e-8)
    before = solver.solve(GTV(graph, w[None]), y, mask, start).value
    after = solver.solve(
        GTV(other, w[None, slot]), y[..., order], mask[:, order], start[..., order]
    ).value
    close(after, before[..., order], 1e-5)


def test_the_solution_scales_with_signal_and_does_not_change_with_the_unit_of_weights():
    grid = Grid(4, 4, 3)
    w, y, mask, start = problem(grid)
    solver = GTVSolver(tolerance=1e-6)
    base = solver.solve(GTV(grid, w[None]), y, mask, start)
    for unit in (1e-4, 255.0):
        scaled = solver.solve(GTV(grid, w[None]), unit * y, mask, unit * start)
        close(scaled.value / unit, base.value, 1e-4)
        heavier = solver.solve(GTV(grid, unit * w[None]), y, mask, start)
        close(heavier.value, base.value, 1e-4)


def test_unobserved_values_are_never_read():
    grid = Grid(4, 4, 3)
    w, y, mask, start = problem(grid)
    solver = GTVSolver(tolerance=1e-6)
    expected = solver.solve(GTV(grid, w[None]), y, mask, start).value
    spoiled = torch.where(mask, y, torch.nan)
    assert torch.equal(solver.solve(GTV(grid, w[None]), spoiled, mask, start).value, expected)
    noisy = solver.solve(GTV(grid, w[None]), spoiled, mask, start, mu=0.1).value
    assert bool(torch.isfinite(noisy).all())


def test_iteration_limit_is_honoured_and_reported():
    grid = Grid(5, 5, 3)
    w, y, mask, start = problem(grid)
    solution = GTVSolver(tolerance=1e-12, max_iterations=7).solve(
        GTV(grid, w[None]), y, mask, start
    )
    assert solution.status.flatten().tolist() == [Status.MAX_ITERATIONS]
    assert solution.stats["iterations"].flatten().tolist() == [7]
    assert float(solution.stats["residual"]) > 1e-12
    assert torch.equal(solution.value[0][mask], y[0][mask])
    with pytest.raises(SolverError, match="stopped at max_iterations"):
        solution.raise_for_status()


def test_a_constant_signal_is_its_own_solution():
    grid = Grid(3, 3, 3)
    y = torch.full((1, 1, 9), 0.7)
    w = random_weight(grid, 1, dtype=torch.float32)
    solution = GTVSolver().solve(GTV(grid, w), y, torch.arange(9) < 2, y)
    assert torch.equal(solution.value, y)
    assert solution.converged


@pytest.mark.parametrize("splitting", SPLITTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_samples_converge_from_a_start_that_is_constant_up_to_rounding(splitting, dtype):
    grid = Grid(4, 5, 3)
    y = torch.full((1, 2, 20), 0.7, dtype=dtype)
    y[:, 1] = 300.0
    w = random_weight(grid, 1, dtype=dtype)
    mask = torch.arange(20) % 7 == 0
    noise = 4 * torch.finfo(dtype).eps * torch.randn(y.shape, dtype=dtype)
    start = torch.where(mask, y, y * (1 + noise))
    solution = GTVSolver(splitting=splitting).solve(GTV(grid, w), y, mask, start)
    assert solution.converged, solution.message()
    close(solution.value, y, 20 * torch.finfo(dtype).eps)


@on_every_topology("graph", "batch")
def test_one_sample_in_a_component_gives_a_constant_and_converges(topology):
    w = random_weight(topology, 1)
    y = torch.randn(1, 3, topology.num_nodes, dtype=torch.float64)
    mask = torch.zeros(topology.num_nodes, dtype=torch.bool)
    while (lost := topology.unobserved_component(mask)) is not None:
        mask[lost[-1]] = True
    start = solve_glr(GLR(topology, w), y, mask).value
    prior = GTV(topology, w)
    solution = GTVSolver().solve(prior, y, mask, start)
    assert solution.converged, solution.message()
    assert float(prior.energy(solution.value).max()) < 1e-10


def test_nan_is_reported_for_that_system_only():
    grid = Grid(3, 3, 3)
    w, y, mask, start = problem(grid, 2)
    start[0, 1, 5] = torch.nan
    mask[1, 5] = False
    solution = GTVSolver(tolerance=1e-6).solve(GTV(grid, w[None]), y, mask, start)
    assert solution.status.flatten().tolist() == [Status.CONVERGED, Status.NON_FINITE]


GRAPH = Graph(ring(4), 4)
PRIOR = GTV(GRAPH, torch.ones(1, 4))
Y, MASK = torch.rand(1, 1, 4), torch.tensor([True, False, True, False])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GTVSolver(gamma=0), ValueError, "gamma must be .*> 0, got 0"),
        (lambda: GTVSolver(tolerance=-1), ValueError, "tolerance must be .*>= 0, got -1"),
        (lambda: GTVSolver(max_iterations=0), ValueError, "max_iterations must be at least 1"),
        (lambda: GTVSolver(cg_iterations=0), ValueError, "cg_iterations must be at least 1"),
        (lambda: GTVSolver(constraint="elimin"), ValueError, "constraint .*mean 'eliminate'"),
        (lambda: GTVSolver(splitting="admm"), ValueError,
         "splitting must be one of 'shrink', 'lp'"),
        (lambda: GTVSolver().solve(PRIOR, Y, MASK, Y, mu=-1), ValueError, "mu must be .*> 0"),
        (lambda: GTVSolver().solve(PRIOR, Y, MASK.float(), Y), TypeError, "mask must be a bool"),
        (lambda: GTVSolver().solve(PRIOR, Y, MASK[:3], Y), ValueError, "mask .* broadcasts to y"),
        (lambda: GTVSolver().solve(PRIOR, Y * torch.nan, MASK, Y), ValueError,
         "y must be finite where observed, got nan"),
        (lambda: GTVSolver().solve(PRIOR, Y, MASK, Y[..., :3]), ValueError,
         r"start must have shape \[1, 1, 4\], got \[1, 1, 3\]"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
