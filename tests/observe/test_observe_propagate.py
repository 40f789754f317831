"""First guess on a graph: ring by ring, means of what is already known."""

import pytest
import torch
from helpers import (
    assert_batch_independent,
    both_ways,
    close,
    graph_batch,
    on_every_topology,
    permuted,
    random_edges,
)

from gsp_unroll.observe.propagate import propagate_fill
from gsp_unroll.topology import Graph, Grid


def by_hand(topology, y, mask):
    """One channel with sets and loops."""
    neighbours = {i: set() for i in range(topology.num_nodes)}
    for i, j in topology.edge_index.T.tolist():
        neighbours[j].add(i)
    known = {i: float(y[i]) for i in mask.nonzero().flatten().tolist()}
    while True:
        fresh = {
            i: [known[j] for j in near if j in known]
            for i, near in neighbours.items()
            if i not in known and any(j in known for j in near)
        }
        if not fresh:
            return torch.tensor([known.get(i, 0.0) for i in neighbours], dtype=y.dtype)
        known |= {i: sum(values) / len(values) for i, values in fresh.items()}


@on_every_topology()
def test_equals_the_loop_and_keeps_the_samples(topology):
    y = torch.randn(2, 2, topology.num_nodes, dtype=torch.float64)
    mask = torch.rand(2, 2, topology.num_nodes) < 0.2
    out = propagate_fill(topology, torch.where(mask, y, torch.nan), mask)
    assert torch.equal(out[mask], y[mask])
    for b in range(2):
        for c in range(2):
            close(out[b, c], by_hand(topology, y[b, c], mask[b, c]))


def test_chain_by_hand():
    chain = Graph(both_ways([(0, 1), (1, 2), (2, 3), (3, 4)]), 5)
    y = torch.tensor([[1.0, 0.0, 0.0, 5.0, 0.0]])
    out = propagate_fill(chain, y, torch.tensor([True, False, False, True, False]))
    assert out.tolist() == [[1.0, 1.0, 5.0, 5.0, 5.0]]


def test_nodes_that_no_sample_reaches_are_zero():
    graph = Graph(both_ways([(0, 1)]), 4)
    out = propagate_fill(graph, torch.full((1, 4), 2.0), torch.tensor([True, False, False, False]))
    assert out.tolist() == [[2.0, 2.0, 0.0, 0.0]]


def test_is_linear_in_the_samples_with_the_gradient_of_a_mean():
    grid = Grid(3, 4, 3)
    mask = torch.rand(12) < 0.4
    mask[0] = True
    y = torch.randn(1, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: propagate_fill(grid, y, mask), y)
    (gradient,) = torch.autograd.grad(propagate_fill(grid, y, mask).sum(), y)
    close(gradient.sum(), torch.tensor(12.0, dtype=torch.float64))
    assert not bool(gradient[0, ~mask].any())


def test_equivariant_and_independent_of_the_batch():
    graph = Graph(random_edges(12), 12)
    order = torch.randperm(12)
    other, _ = permuted(graph, order)
    y, mask = torch.randn(3, 1, 12, dtype=torch.float64), torch.rand(12) < 0.3
    mask[0] = True
    after = propagate_fill(other, y[..., order], mask[order])
    close(after, propagate_fill(graph, y, mask)[..., order])
    assert_batch_independent(lambda y: propagate_fill(graph, y, mask), y)


@pytest.mark.parametrize("changed", [0, 1])
def test_graphs_of_a_batch_do_not_touch(changed):
    graph = graph_batch((5, 6))
    y, mask = torch.rand(1, 11), torch.rand(11) < 0.3
    mask[[0, 5]] = True
    before = propagate_fill(graph, y, mask)
    y = torch.where(graph.batch == changed, y + 1, y)
    after = propagate_fill(graph, y, mask)
    same = graph.batch != changed
    assert torch.equal(after[:, same], before[:, same])
    assert not torch.equal(after[:, ~same], before[:, ~same])
