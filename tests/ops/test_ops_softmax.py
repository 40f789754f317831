"""Normalised edge weights against a dense formula, at the extremes and in their gradients."""

import pytest
import torch
from helpers import (
    assert_all_finite,
    assert_same_function,
    assert_symmetric_psd,
    close,
    dense_adjacency,
    dense_directed,
    gradcheck,
    on_every_topology,
    permuted,
    random_edges,
    spoil_unused,
    used,
)

from gsp_unroll.ops.softmax import NORMS, edge_softmax
from gsp_unroll.topology import Graph, Grid

every_norm = pytest.mark.parametrize("norm", NORMS)


def scores(topology, *lead):
    return spoil_unused(topology, 2 * torch.randn(*lead, topology.num_edges, dtype=torch.float64))


def dense_weights(topology, score, norm):
    """The formulas of the module text with dense matrices; gathered back to the edges."""
    u, v = topology.ends
    connected = dense_adjacency(topology, torch.ones(topology.num_edges)).bool()
    exponential = torch.where(connected, dense_adjacency(topology, score).exp(), 0)
    total = exponential.sum(-1)
    total = torch.where(total > 0, total, 1)
    if norm == "symmetric":
        root = total.rsqrt()
        return (root.unsqueeze(-1) * exponential * root.unsqueeze(-2))[..., u, v]
    rows = exponential / total.unsqueeze(-1)
    if norm == "softmax":
        return ((rows + rows.mT) / 2)[..., u, v]
    return torch.stack([rows[..., u, v], rows[..., v, u]], dim=-2)


@every_norm
@on_every_topology()
def test_equals_the_dense_formula_in_value_and_gradient(topology, norm):
    assert_same_function(
        lambda score: used(topology, edge_softmax(topology, score, norm)),
        lambda score: dense_weights(topology, score, norm),
        scores(topology, 2),
    )


@every_norm
@on_every_topology("grid5x4w3", "grid2x3w7", "graph", "batch")
def test_gradcheck(topology, norm):
    score = torch.randn(2, topology.num_edges, dtype=torch.float64)
    gradcheck(lambda score: edge_softmax(topology, score, norm), score)


@on_every_topology()
def test_directed_rows_sum_to_one_and_are_not_symmetric(topology):
    weight = edge_softmax(topology, scores(topology), "directed")
    rows = dense_directed(topology, weight)
    total = rows.sum(-1)
    has_neighbour = dense_adjacency(topology, torch.ones(topology.num_edges)).sum(-1) > 0
    close(total, has_neighbour.double())
    if topology.num_nodes > 3:
        assert float((rows - rows.T).abs().max()) > 1e-3


@on_every_topology()
def test_symmetric_is_the_normalised_adjacency(topology):
    score = scores(topology)
    adjacency = dense_adjacency(topology, score.exp())
    degree = adjacency.sum(-1)
    root = torch.where(degree > 0, degree, 1).rsqrt()
    weight = edge_softmax(topology, score, "symmetric")
    close(dense_adjacency(topology, weight), root[:, None] * adjacency * root)
    # Spectrum of I - W in [0, 2], with D^1/2 1 in its null space.
    normalised = torch.eye(topology.num_nodes, dtype=torch.float64) - dense_adjacency(
        topology, weight
    )
    assert_symmetric_psd(normalised, 1e-10)
    assert_symmetric_psd(2 * torch.eye(topology.num_nodes, dtype=torch.float64) - normalised, 1e-10)
    close(normalised @ degree.sqrt(), torch.zeros_like(degree))


@on_every_topology()
def test_softmax_is_the_mean_of_the_two_directions_with_mean_degree_one(topology):
    score = scores(topology)
    both = edge_softmax(topology, score, "directed").mean(-2)
    weight = edge_softmax(topology, score, "softmax")
    close(used(topology, weight), used(topology, both), 1e-15)
    connected = dense_adjacency(topology, torch.ones(topology.num_edges)).sum(-1) > 0
    close(dense_adjacency(topology, weight).sum(), connected.sum().double())


@every_norm
@on_every_topology()
def test_unused_slots_are_zero(topology, norm):
    if topology.used_slots is None:
        return
    unused = torch.ones(topology.num_edges, dtype=torch.bool)
    unused[topology.used_slots] = False
    assert bool((edge_softmax(topology, scores(topology), norm)[..., unused] == 0).all())


@every_norm
@on_every_topology("grid5x4w3", "graph", "batch")
def test_a_constant_added_to_the_scores_changes_nothing(topology, norm):
    score = torch.randn(3, topology.num_edges, dtype=torch.float64)
    close(edge_softmax(topology, score + 123.0, norm), edge_softmax(topology, score, norm), 1e-12)


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@on_every_topology("grid5x4w3", "pixel1x1", "graph", "empty", "batch")
def test_huge_scores_give_finite_values_and_gradients(topology, norm, dtype):
    pattern = torch.randint(0, 3, (4, topology.num_edges))
    score = torch.tensor([-1e4, 0.0, 1e4])[pattern].to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = edge_softmax(topology, score, norm)
    assert weight.dtype == torch.float32
    (weight * torch.randn_like(weight)).sum().backward()
    assert_all_finite(weight, score.grad)
    assert bool(((weight >= 0) & (weight <= 1)).all())
    rows = dense_directed(topology, edge_softmax(topology, score.detach(), "directed"))
    connected = dense_adjacency(topology, torch.ones(topology.num_edges)).sum(-1) > 0
    close(rows.sum(-1), connected.float().expand(4, -1), 1e-5)


def test_a_node_whose_edges_all_vanish_keeps_normalised_weights():
    # exp(-1e4) is zero in any precision; the softmax over equal scores is still uniform.
    graph = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
    rows = edge_softmax(graph, torch.full((2,), -1e4), "directed")
    close(dense_directed(graph, rows), torch.tensor([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]]), 1e-6)


@every_norm
def test_grid_equals_graph(norm):
    grid = Grid(5, 6, 5)
    graph = Graph(grid.edge_index, 30)
    by_edge = torch.randn(grid.edge_index.shape[1], 2, dtype=torch.float64)

    def run(topology, by_edge):
        out = edge_softmax(topology, topology.pack_edges(by_edge).mean(-2), norm)
        return topology.unpack_edges(out if norm == "directed" else torch.stack([out, out], -2))

    assert_same_function(lambda s: run(grid, s), lambda s: run(graph, s), by_edge)


@every_norm
def test_equivariant_to_a_renumbering_of_the_nodes(norm):
    graph = Graph(random_edges(12, seed=5), 12)
    order = torch.randperm(12)
    other, slot = permuted(graph, order)
    score = torch.randn(2, graph.num_edges, dtype=torch.float64)
    before = edge_softmax(graph, score, norm)
    after = edge_softmax(other, score[:, slot], norm)
    if norm == "directed":
        close(
            dense_directed(other, after),
            dense_directed(graph, before)[:, order][:, :, order],
        )
    else:
        close(after, before[:, slot])


def test_unknown_norm_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"norm must be one of .* got 'softmaxx'.*did you mean"):
        edge_softmax(Grid(2, 2, 3), torch.zeros(16), "softmaxx")
