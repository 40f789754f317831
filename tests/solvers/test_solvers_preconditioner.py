"""Preconditioners: the same solution in fewer steps, each system on its own."""

from unittest import mock

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from helpers import (
    as_matrix,
    assert_batch_independent,
    assert_symmetric_psd,
    close,
    dense_laplacian,
    graph_batch,
    on_every_topology,
    random_edges,
    random_weight,
)

from gsp_unroll import interpolate
from gsp_unroll.graphs import knn_edge_index
from gsp_unroll.priors import GLR, GTV
from gsp_unroll.solvers import ConjugateGradient, GTVSolver, solve_glr
from gsp_unroll.solvers.preconditioner import GraphMatrix, make_preconditioner
from gsp_unroll.topology import Graph, Grid

AMG = pytest.param(
    "amg",
    marks=pytest.mark.skipif(not __import__("importlib").util.find_spec("pyamg"), reason="pyamg"),
)
every_name = pytest.mark.parametrize("name", ["none", "jacobi", AMG])


def spread_weights(topology, decades=4.0):
    return random_weight(topology) ** 0 * 10 ** (-decades * torch.rand(topology.num_edges)).double()


def points(n=300):
    return Graph(knn_edge_index(torch.rand(n, 2), 5), n)


@on_every_topology("grid6x7w5", "graph", "gridgraph", "batch")
def test_diagonal_is_that_of_the_matrix(topology):
    w = random_weight(topology, 2)
    free = torch.rand(2, 3, topology.num_nodes) < 0.6
    shift = torch.rand(2, 3, topology.num_nodes, dtype=torch.float64)
    dense = dense_laplacian(topology, w).diagonal(dim1=-2, dim2=-1).unsqueeze(-2) + shift
    expected = torch.where(free & (dense > 0), dense, 1)
    close(GraphMatrix(topology, w, shift, free).diagonal(), expected)


@every_name
def test_symmetric_and_positive_definite(name):
    graph = Graph(random_edges(12, seed=3), 12)
    like = torch.zeros(1, 12, dtype=torch.float64)
    matrix = GraphMatrix(graph, spread_weights(graph), torch.full((1, 12), 0.1))
    apply = make_preconditioner(name, matrix, like) or (lambda r: r)
    dense = as_matrix(apply, 12)
    assert_symmetric_psd(dense, 1e-9)
    assert float(torch.linalg.eigvalsh(dense).min()) > 0


@every_name
@pytest.mark.parametrize("mu", [None, 0.3])
@pytest.mark.parametrize("laplacian", ["combinatorial", "normalized"])
def test_equals_a_direct_solve(name, mu, laplacian):
    graph = points()
    w = spread_weights(graph, 2.0) / 20
    prior = GLR(graph, w, laplacian)
    y = torch.randn(2, 300, dtype=torch.float64)
    seen = torch.rand(2, 300) < 0.4
    solution = solve_glr(prior, y, seen, mu=mu, preconditioner=name)
    assert solution.converged
    matrix = as_matrix(prior.operator, 300).numpy()
    for c in range(2):
        keep, values = seen[c].numpy(), y[c].numpy()
        expected = values.copy()
        if mu is None:
            free = scipy.sparse.csc_array(matrix[~keep][:, ~keep])
            right = -matrix[~keep][:, keep] @ values[keep]
            expected[~keep] = scipy.sparse.linalg.spsolve(free, right)
            assert torch.equal(solution.value[c, seen[c]], y[c, seen[c]])
        else:
            whole = scipy.sparse.csc_array(np.diag(keep.astype(float)) + mu * matrix)
            expected = scipy.sparse.linalg.spsolve(whole, keep * values)
        close(solution.value[c], torch.from_numpy(expected), 1e-9)


@pytest.mark.parametrize("name", ["jacobi", AMG])
def test_unequal_weights_need_fewer_steps(name):
    graph = points()
    prior = GLR(graph, spread_weights(graph))
    y, seen = torch.randn(1, 300, dtype=torch.float64), torch.rand(1, 300) < 0.2
    plain, other = (solve_glr(prior, y, seen, preconditioner=each) for each in ("none", name))
    close(other.value, plain.value, 1e-10)
    assert 1.5 * int(other.stats["iterations"]) < int(plain.stats["iterations"])


@every_name
def test_a_result_does_not_depend_on_the_rest_of_the_batch(name):
    grid = Grid(6, 5, 5)
    w = random_weight(grid, 3) * torch.tensor([1e-3, 1.0, 50.0])[:, None]
    y = torch.randn(3, 2, 30, dtype=torch.float64) * torch.tensor([1e4, 1.0, 0.0])[:, None, None]
    seen = torch.rand(3, 2, 30) < 0.4

    def run(index):
        chosen = index.long().flatten()
        return solve_glr(GLR(grid, w[chosen]), y[chosen], seen[chosen], preconditioner=name).value

    assert_batch_independent(run, torch.arange(3.0))


@every_name
def test_graphs_of_a_batch_are_solved_as_if_alone(name):
    graph = graph_batch((9, 1, 14))
    w, y = random_weight(graph), torch.randn(1, 24, dtype=torch.float64)
    seen = torch.zeros(1, 24, dtype=torch.bool)
    seen[0, [0, 3, 9, 12, 20]] = True
    inside = (graph.batch[graph.ends[0]] == 2).nonzero().squeeze(1)
    u, v = (end[inside] - 10 for end in graph.ends)
    single = Graph(torch.stack([torch.cat([u, v]), torch.cat([v, u])]), 14)
    together = solve_glr(GLR(graph, w), y, seen, preconditioner=name)
    alone = solve_glr(GLR(single, w[inside]), y[:, 10:], seen[:, 10:], preconditioner=name)
    close(together.value[:, 10:], alone.value, 1e-11)
    assert together.stats["iterations"][0, 2] == alone.stats["iterations"][0, 0]
    assert together.stats["iterations"][0, 1] == 0


@every_name
def test_a_part_that_no_sample_reaches_keeps_its_start(name):
    graph = Graph(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), 5)
    y = torch.tensor([[7.0, 0, 0, 0, 0]], dtype=torch.float64)
    seen = torch.tensor([[True, False, False, False, False]])
    solution = solve_glr(GLR(graph, torch.ones(2).double()), y, seen, preconditioner=name)
    assert solution.converged
    close(solution.value, torch.tensor([[7.0, 7, 0, 0, 0]], dtype=torch.float64))


@pytest.mark.parametrize("name", ["jacobi", AMG])
@pytest.mark.parametrize("mu", [None, 0.05])
@pytest.mark.parametrize("constraint", ["eliminate", "multiplier"])
def test_total_variation_is_the_same(name, mu, constraint):
    graph = points(60)
    prior = GTV(graph, spread_weights(graph, 1.0))
    y, seen = torch.randn(1, 60, dtype=torch.float64), torch.rand(1, 60) < 0.5
    start = torch.zeros_like(y)
    plain, other = (
        GTVSolver(tolerance=1e-7, constraint=constraint, preconditioner=each).solve(
            prior, y, seen, start, mu=mu
        )
        for each in ("none", name)
    )
    assert plain.converged
    assert other.converged
    close(prior.energy(other.value), prior.energy(plain.value), 1e-4)


@every_name
@pytest.mark.parametrize("prior", ["glr", "gtv"])
def test_interpolate_takes_it(name, prior):
    from torch_geometric.data import Data

    x = torch.tensor([0.0, torch.nan, torch.nan, 3.0])
    path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    out = interpolate(Data(x=x, edge_index=path), prior, preconditioner=name).x
    assert out[[0, 3]].tolist() == [0, 3]
    if prior == "glr":
        assert out.tolist() == pytest.approx([0, 1, 2, 3], abs=1e-6)


def test_iterations_are_differentiable_too():
    grid = Grid(4, 4, 3)
    w = random_weight(grid).nan_to_num(0.0)
    b = torch.randn(1, 16, dtype=torch.float64, requires_grad=True)
    prior = GLR(grid, w)
    inverse = make_preconditioner("jacobi", GraphMatrix(grid, w, 0.5), b)
    solution = ConjugateGradient(tolerance=1e-10).solve(
        grid, lambda x: prior.operator(x) + 0.5 * x, b, preconditioner=inverse
    )
    (gradient,) = torch.autograd.grad(solution.value.sum(), b)
    close(gradient, torch.full_like(gradient, 2.0), 1e-6)  # A^-1 1 = 1 / 0.5


def test_unknown_name_and_missing_package_are_named():
    graph = points(20)
    y, seen = torch.zeros(1, 20), torch.ones(1, 20, dtype=torch.bool)
    prior = GLR(graph, torch.ones(graph.num_edges))
    with pytest.raises(
        ValueError, match=r"preconditioner must be one of .* got 'jacobbi'; did you"
    ):
        solve_glr(prior, y, seen, preconditioner="jacobbi")
    with pytest.raises(ValueError, match=r"preconditioner must be one of"):
        GTVSolver(preconditioner="ilu")
    with (
        mock.patch.dict("sys.modules", {"pyamg": None}),
        pytest.raises(ImportError, match=r"needs the package pyamg: pip install pyamg"),
    ):
        solve_glr(prior, y, seen, preconditioner="amg")
