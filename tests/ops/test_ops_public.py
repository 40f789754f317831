"""Operators in PyG's layout: one meaning on every topology, and clear errors at the door."""

import pytest
import torch
from helpers import (
    assert_adjoint,
    assert_same_function,
    close,
    dense_by_edge,
    gradcheck,
    on_every_topology,
    random_edges,
)

from gsp_unroll import ops
from gsp_unroll.topology import Graph, Grid

HEADS, CHANNELS = 2, 3


def weights(topology, *, symmetric):
    weight = 0.1 + torch.rand(topology.edge_index.shape[1], HEADS, dtype=torch.float64)
    if not symmetric:
        return weight
    dense = dense_by_edge(topology, weight)
    source, target = topology.edge_index
    return (dense + dense.mT)[:, target, source].T / 2


def signal(topology):
    return torch.randn(topology.num_nodes, HEADS, CHANNELS, dtype=torch.float64)


@pytest.mark.parametrize("symmetric", [True, False])
@on_every_topology()
def test_laplacian_equals_dense_in_value_and_gradients(topology, symmetric):
    def dense(weight, x):
        adjacency = dense_by_edge(topology, weight)
        matrix = torch.diag_embed(adjacency.sum(-1)) - adjacency
        return torch.einsum("hij,jhc->ihc", matrix, x)

    assert_same_function(
        lambda weight, x: ops.laplacian(topology, weight, x),
        dense,
        weights(topology, symmetric=symmetric),
        signal(topology),
    )


@on_every_topology()
def test_difference_equals_dense_in_value_and_gradients(topology):
    u, v = topology.ends

    def dense(weight, x):
        adjacency = dense_by_edge(topology, weight)
        mean = ((adjacency + adjacency.mT) / 2)[:, u, v].T
        return mean.unsqueeze(-1) * (x[u] - x[v])

    assert_same_function(
        lambda weight, x: ops.difference(topology, weight, x),
        dense,
        weights(topology, symmetric=False),
        signal(topology),
    )


@on_every_topology()
def test_difference_adjoint_is_the_adjoint_and_squares_to_the_laplacian(topology):
    weight, x = weights(topology, symmetric=True), signal(topology)
    e = torch.randn(len(topology.ends[0]), HEADS, CHANNELS, dtype=torch.float64)
    assert_adjoint(
        lambda x: ops.difference(topology, weight, x),
        lambda e: ops.difference_adjoint(topology, weight, e),
        x,
        e,
    )
    twice = ops.difference_adjoint(topology, weight, ops.difference(topology, weight, x))
    close(twice, ops.laplacian(topology, weight.square(), x), 1e-12)


@on_every_topology()
def test_degree_equals_dense_in_value_and_gradients(topology):
    assert_same_function(
        lambda weight: ops.degree(topology, weight),
        lambda weight: dense_by_edge(topology, weight).sum(-1).T,
        weights(topology, symmetric=False),
    )


@on_every_topology()
def test_a_second_derivative_of_the_degree_is_an_error_not_a_wrong_number(topology):
    weight = weights(topology, symmetric=False).requires_grad_()
    loss = ops.degree(topology, weight).square().sum() + weight.square().sum()
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("norm", ["softmax", "symmetric", "directed"])
@on_every_topology()
def test_edge_softmax_equals_dense_in_value_and_gradients(topology, norm):
    source, target = topology.edge_index

    def dense(score):
        matrix = dense_by_edge(topology, score)
        there = dense_by_edge(topology, torch.ones_like(score)) > 0
        kernel = torch.where(there, ((matrix + matrix.mT) / 2).exp(), 0)
        total = kernel.sum(-1)
        total = torch.where(total > 0, total, 1)
        rows = kernel / total.unsqueeze(-1)
        root = total.rsqrt()
        weight = {
            "directed": rows,
            "softmax": (rows + rows.mT) / 2,
            "symmetric": root.unsqueeze(-1) * kernel * root.unsqueeze(-2),
        }[norm]
        return weight[:, target, source].T

    assert_same_function(
        lambda score: ops.edge_softmax(topology, score, norm),
        dense,
        weights(topology, symmetric=False).log(),
    )


@on_every_topology("grid2x3w7", "graph", "batch")
def test_gradcheck(topology):
    weight, x = weights(topology, symmetric=False), signal(topology)
    e = torch.randn(len(topology.ends[0]), HEADS, CHANNELS, dtype=torch.float64)
    gradcheck(lambda w, x: ops.laplacian(topology, w, x), weight, x)
    gradcheck(lambda w, x: ops.difference(topology, w, x), weight, x, second=True)
    gradcheck(lambda w, e: ops.difference_adjoint(topology, w, e), weight, e, second=True)
    gradcheck(lambda w: ops.degree(topology, w), weight)
    gradcheck(lambda s: ops.edge_softmax(topology, s), weight)


def test_grid_equals_graph_of_its_edge_index():
    grid = Grid(4, 6, 5)
    graph = Graph(grid.edge_index, 24)
    weight = torch.rand(grid.edge_index.shape[1], HEADS, dtype=torch.float64)
    inputs = (weight, signal(grid))
    for name in ("laplacian", "difference"):
        operator = getattr(ops, name)
        # The order of undirected edges differs, so compare a function that does not see it.
        summary = (lambda e: e) if name == "laplacian" else (lambda e: e.square().sum(0))
        assert_same_function(
            lambda w, x: summary(operator(grid, w, x)),  # noqa: B023
            lambda w, x: summary(operator(graph, w, x)),  # noqa: B023
            *inputs,
        )


def test_the_order_of_edge_index_is_the_order_of_the_weights():
    edges = random_edges(9, seed=2)
    order = torch.randperm(edges.shape[1])
    weight = torch.rand(edges.shape[1], HEADS, dtype=torch.float64)
    x = torch.randn(9, HEADS, CHANNELS, dtype=torch.float64)
    first = ops.laplacian(Graph(edges, 9), weight, x)
    second = ops.laplacian(Graph(edges[:, order], 9), weight[order], x)
    close(first, second)


def test_laplacian_of_a_path_by_hand():
    path = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
    x = torch.tensor([0.0, 1.0, 4.0]).view(3, 1, 1)
    weight = torch.tensor([2.0, 2.0, 3.0, 3.0]).view(4, 1)
    assert ops.laplacian(path, weight, x).flatten().tolist() == [-2.0, -7.0, 9.0]
    assert ops.degree(path, weight).flatten().tolist() == [2.0, 5.0, 3.0]
    assert ops.difference(path, weight, x).flatten().tolist() == [-2.0, -9.0]


GRAPH = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
GRID = Grid(1, 3, 3)


@pytest.mark.parametrize("topology", [GRAPH, GRID], ids=["graph", "grid"])
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: ops.laplacian(t, torch.ones(3, 1), torch.ones(3, 1, 1)), ValueError,
         r"weight must have shape \[4, heads\], got \[3, 1\]"),
        (lambda t: ops.laplacian(t, torch.ones(4), torch.ones(3, 1, 1)), ValueError,
         r"weight must have shape \[4, heads\], got \[4\]"),
        (lambda t: ops.laplacian(t, torch.ones(4, 2), torch.ones(3, 1, 1)), ValueError,
         r"x must have shape \[3, 2, channels\], got \[3, 1, 1\]"),
        (lambda t: ops.laplacian(t, torch.ones(4, 1), torch.ones(2, 1, 1)), ValueError,
         r"x must have shape \[3, 1, channels\], got \[2, 1, 1\]"),
        (lambda t: ops.laplacian(t, torch.ones(4, 1, dtype=torch.int64), torch.ones(3, 1, 1)),
         TypeError, r"weight must be a floating-point tensor, got torch.int64"),
        (lambda t: ops.laplacian(t, torch.ones(4, 1), [1.0]), TypeError,
         r"x must be a torch.Tensor, got list"),
        (lambda t: ops.laplacian(t, torch.ones(4, 1), torch.ones(3, 1, 1, device="meta")),
         ValueError, r"one device, got .*x on meta"),
        (lambda t: ops.laplacian(t, torch.ones(4, 1, device="meta"),
                                 torch.ones(3, 1, 1, device="meta")),
         ValueError, r"one device, got topology on cpu, weight on meta"),
        (lambda t: ops.difference(t, torch.ones(4, 2), torch.ones(3, 1, 1)), ValueError,
         r"x must have shape \[3, 2, channels\]"),
        (lambda t: ops.difference_adjoint(t, torch.ones(4, 1), torch.ones(3, 1, 1)), ValueError,
         r"e must have shape \[2, 1, channels\], got \[3, 1, 1\]"),
        (lambda t: ops.difference_adjoint(t, torch.ones(4, 1), torch.ones(2, 1, 1).long()),
         TypeError, r"e must be a floating-point tensor"),
        (lambda t: ops.degree(t, torch.ones(5, 1)), ValueError, r"weight must have shape"),
        (lambda t: ops.degree(t, torch.ones(4, 1, device="meta")), ValueError,
         r"topology on cpu, weight on meta"),
        (lambda t: ops.edge_softmax(t, torch.ones(5, 1)), ValueError, r"score must have shape"),
        (lambda t: ops.edge_softmax(t, torch.ones(4, 1), "rows"), ValueError,
         r"norm must be one of 'softmax', 'symmetric', 'directed', got 'rows'"),
        (lambda t: ops.edge_softmax(t, torch.ones(4, 1, device="meta")), ValueError,
         r"topology on cpu, score on meta"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(topology, call, error, message):
    with pytest.raises(error, match=message):
        call(topology)
