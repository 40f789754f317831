"""Gated weights of several graphs against their dense definition."""

import torch
from helpers import (
    assert_all_finite,
    close,
    dense_adjacency,
    dense_laplacian,
    gradcheck,
    on_every_topology,
    random_weight,
    used,
)

from gsp_unroll.nn import gated_weights
from gsp_unroll.ops import planar
from gsp_unroll.topology import Graph, Grid

BATCH, HEADS = 2, 3


def case(topology):
    w = random_weight(topology, BATCH * HEADS).unflatten(0, (BATCH, HEADS))
    gate = torch.rand(BATCH, HEADS, topology.num_nodes, dtype=torch.float64) + 0.1
    return w, gate


@on_every_topology("grid5x4w3", "grid2x3w7", "graph", "batch")
def test_gradients_of_gated_weights(topology):
    w, gate = case(topology)
    # NaN in unused slots would upset the finite differences, not the weights.
    gradcheck(lambda w, gate: gated_weights(topology, w, gate), w.nan_to_num(), gate)


@on_every_topology()
def test_gated_weights_equal_dense_and_have_eigenvalues_of_at_most_two(topology):
    w, gate = case(topology)
    raw = gate.unsqueeze(-1) * dense_adjacency(topology, w) * gate.unsqueeze(-2)
    total = raw.sum((1, -1)).clamp(min=1e-12).rsqrt()
    out = gated_weights(topology, w, gate)
    close(dense_adjacency(topology, out), total[:, None, :, None] * raw * total[:, None, None, :])
    assert (used(topology, out) >= 0).all()
    adjacency = dense_adjacency(topology, out).sum(1)
    if topology.num_nodes:
        assert torch.linalg.eigvalsh(adjacency).abs().max() <= 1 + 1e-9
    assert_all_finite(dense_laplacian(topology, out))


def test_a_node_follows_the_graph_whose_gate_is_open():
    grid = Grid(4, 4, 3)
    w, _ = case(grid)
    gate = torch.full((BATCH, HEADS, 16), 1e-6, dtype=torch.float64)
    gate[:, 1] = 1
    degree = planar.degree(grid, gated_weights(grid, w, gate))
    assert (degree[:, 1] > 0.3).all()
    assert degree[:, [0, 2]].max() < 1e-9


def test_a_common_factor_of_all_gates_changes_nothing():
    grid = Grid(5, 4, 3)
    w, gate = case(grid)
    close(gated_weights(grid, w, 7 * gate), gated_weights(grid, w, gate))


def test_gradients_where_degrees_are_raised_to_the_smallest_one():
    grid = Grid(4, 4, 3)
    w, gate = case(grid)
    w = w.nan_to_num() * torch.tensor([1e-14, 1.0])[:, None, None]
    inputs = w.requires_grad_(), gate.requires_grad_()
    raw = gate.unsqueeze(-1) * dense_adjacency(grid, w) * gate.unsqueeze(-2)
    total = raw.sum((1, -1)).clamp(min=1e-12).rsqrt()
    dense = total[:, None, :, None] * raw * total[:, None, None, :]
    expected = torch.autograd.grad(dense.square().sum() / 2, inputs)
    out = gated_weights(grid, w, gate)
    for ours, theirs in zip(
        torch.autograd.grad(used(grid, out).square().sum(), inputs), expected, strict=True
    ):
        assert (ours - theirs).abs().amax((1, 2)).lt(1e-9 * theirs.abs().amax((1, 2))).all()


def test_a_node_without_an_edge_has_finite_gradients():
    graph = Graph(torch.tensor([[0, 1], [1, 0]]), 3)
    w, gate = case(graph)
    w.requires_grad_()
    gate.requires_grad_()
    gated_weights(graph, w, gate).square().sum().backward()
    assert_all_finite(w.grad, gate.grad)
