"""Planar operators against dense matrices, finite differences and the properties of a Laplacian."""

import pytest
import torch
from helpers import (
    as_matrix,
    assert_adjoint,
    assert_all_finite,
    assert_null_vector,
    assert_same_function,
    assert_symmetric_psd,
    close,
    dense_adjacency,
    dense_incidence,
    dense_laplacian,
    gradcheck,
    on_every_topology,
    permuted,
    random_edges,
    random_weight,
    spoil_unused,
    used,
)

from gsp_unroll.ops import planar
from gsp_unroll.ops.softmax import edge_softmax
from gsp_unroll.topology import Graph, Grid, Topology

LEAD = (2, 3)
CHANNELS = 2


def nodes(topology: Topology, *lead: int) -> torch.Tensor:
    return torch.randn(*(lead or LEAD), CHANNELS, topology.num_nodes, dtype=torch.float64)


def edges(topology: Topology, *lead: int) -> torch.Tensor:
    shape = (*(lead or LEAD), CHANNELS, topology.num_edges)
    return spoil_unused(topology, torch.randn(shape, dtype=torch.float64))


@on_every_topology()
def test_laplacian_equals_dense_in_value_and_gradients(topology):
    assert_same_function(
        lambda w, x: planar.laplacian(topology, w, x),
        lambda w, x: x @ dense_laplacian(topology, w).mT,
        random_weight(topology, *LEAD),
        nodes(topology),
    )


@on_every_topology()
def test_difference_equals_dense_in_value_and_gradients(topology):
    assert_same_function(
        lambda w, x: used(topology, planar.difference(topology, w, x)),
        lambda w, x: x @ dense_incidence(topology, w).mT,
        random_weight(topology, *LEAD),
        nodes(topology),
    )


@on_every_topology()
def test_divergence_equals_dense_in_value_and_gradients(topology):
    assert_same_function(
        lambda w, e: planar.divergence(topology, w, e),
        lambda w, e: used(topology, e) @ dense_incidence(topology, w),
        random_weight(topology, *LEAD),
        edges(topology),
    )


@on_every_topology()
def test_distance_equals_dense_in_value_and_gradients(topology):
    u, v = topology.ends
    assert_same_function(
        lambda f: used(topology, planar.distance(topology, f)),
        lambda f: (f[..., u] - f[..., v]).square().sum(-2),
        nodes(topology),
    )


@on_every_topology()
def test_degree_equals_dense_in_value_and_gradients(topology):
    assert_same_function(
        lambda w: planar.degree(topology, w),
        lambda w: dense_adjacency(topology, w).sum(-1),
        random_weight(topology, *LEAD),
    )


@on_every_topology()
def test_directed_laplacian_equals_dense_in_value_and_gradients(topology):
    assert_same_function(
        lambda w, x: planar.directed_laplacian(topology, w, x),
        lambda w, x: x @ dense_laplacian(topology, w, directed=True).mT,
        random_weight(topology, *LEAD, directed=True),
        nodes(topology),
    )


@on_every_topology()
def test_edge_results_are_zero_in_unused_slots(topology):
    if topology.used_slots is None:
        return
    unused = torch.ones(topology.num_edges, dtype=torch.bool)
    unused[topology.used_slots] = False
    w, x = random_weight(topology, *LEAD), nodes(topology)
    for result in (planar.difference(topology, w, x), planar.distance(topology, x)):
        assert bool((result[..., unused] == 0).all())


@on_every_topology("grid5x4w3", "row1x6w3", "grid2x3w7", "graph", "batch")
def test_gradcheck_and_gradgradcheck_of_the_closed_set(topology):
    # NaN in unused slots would upset the finite differences, not the operators.
    w = torch.rand(2, topology.num_edges, dtype=torch.float64)
    e = torch.randn(2, CHANNELS, topology.num_edges, dtype=torch.float64)
    x, y = nodes(topology, 2), nodes(topology, 2)
    gradcheck(lambda w, x: planar.laplacian(topology, w, x), w, x, second=True)
    gradcheck(lambda x, y: planar._Inner.apply(topology, x, y), x, y, second=True)
    gradcheck(lambda w, x: planar.difference(topology, w, x), w, x, second=True)
    gradcheck(lambda w, e: planar.divergence(topology, w, e), w, e, second=True)
    gradcheck(lambda x, e: planar._Dot.apply(topology, x, e), x, e, second=True)
    gradcheck(lambda x: planar.distance(topology, x), x, second=True)
    gradcheck(lambda x: planar.score(topology, x), x, second=True)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_score_is_minus_the_distance_plus_that_of_the_offset(lead):
    grid = Grid(4, 5, 3)
    heads, offsets = 2, len(grid.offsets)
    x = torch.randn(*lead, heads, CHANNELS, grid.num_nodes, dtype=torch.float64)
    scores = torch.randn(heads, offsets, 1, dtype=torch.float64)
    by_edge = scores.expand(-1, -1, grid.num_nodes).flatten(1)
    close(planar.score(grid, x, scores), by_edge - planar.distance(grid, x))
    close(planar.score(grid, x), -planar.distance(grid, x))
    gradcheck(lambda x, b: planar.score(grid, x, b), x, scores, second=True)
    assert planar.score(grid, x, scores.float()).dtype == torch.float64


@on_every_topology("grid5x4w3", "grid2x3w7", "graph", "batch")
def test_gradcheck_of_degree_and_directed_laplacian(topology):
    w = torch.rand(2, 2, topology.num_edges, dtype=torch.float64)
    gradcheck(lambda w: planar.degree(topology, w), w[:, 0])
    gradcheck(lambda w, x: planar.directed_laplacian(topology, w, x), w, nodes(topology, 2))


@on_every_topology()
def test_difference_and_divergence_are_adjoint(topology):
    w = random_weight(topology, *LEAD)
    e = torch.nan_to_num(edges(topology))
    assert_adjoint(
        lambda x: planar.difference(topology, w, x),
        lambda e: planar.divergence(topology, w, e),
        nodes(topology),
        e,
    )


@on_every_topology()
def test_incidence_squared_is_the_laplacian_of_squared_weights(topology):
    w, x = random_weight(topology, *LEAD), nodes(topology)
    twice = planar.divergence(topology, w, planar.difference(topology, w, x))
    close(twice, planar.laplacian(topology, w.square(), x), 1e-12)


@on_every_topology()
def test_laplacian_is_psd_and_annihilates_constants(topology):
    w = random_weight(topology)
    assert_symmetric_psd(as_matrix(lambda x: planar.laplacian(topology, w, x), topology.num_nodes))
    ones = torch.ones(1, topology.num_nodes, dtype=torch.float64)
    assert_null_vector(lambda x: planar.laplacian(topology, w, x), ones)
    directed = random_weight(topology, directed=True)
    assert_null_vector(lambda x: planar.directed_laplacian(topology, directed, x), ones)


@pytest.mark.parametrize(
    ("height", "width", "window"), [(5, 6, 3), (4, 7, 5), (1, 5, 3), (2, 3, 9)]
)
def test_grid_equals_the_graph_of_its_edge_index(height, width, window):
    grid = Grid(height, width, window)
    graph = Graph(grid.edge_index, grid.num_nodes)
    by_edge = 0.1 + torch.rand(grid.edge_index.shape[1], 2, dtype=torch.float64)

    def run(topology: Topology, by_edge: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        w = topology.pack_edges(by_edge).mean(-2).unsqueeze(1)
        y = planar.laplacian(topology, w, x)
        total = planar.difference(topology, w, x).square().sum() + planar.degree(topology, w).sum()
        return y + planar.distance(topology, x).sum() + total

    x = torch.randn(2, 1, CHANNELS, grid.num_nodes, dtype=torch.float64)
    assert_same_function(lambda b, x: run(grid, b, x), lambda b, x: run(graph, b, x), by_edge, x)


def test_operators_are_equivariant_to_a_renumbering_of_the_nodes():
    graph = Graph(random_edges(12, seed=3), 12)
    order = torch.randperm(12)
    other, slot = permuted(graph, order)
    w, x = random_weight(graph, 2), torch.randn(2, CHANNELS, 12, dtype=torch.float64)
    close(
        planar.laplacian(other, w[:, slot], x[..., order]),
        planar.laplacian(graph, w, x)[..., order],
    )
    close(planar.degree(other, w[:, slot]), planar.degree(graph, w)[..., order])
    close(planar.distance(other, x[..., order]), planar.distance(graph, x)[..., slot])
    total = planar.difference(graph, w, x).abs().sum()
    close(planar.difference(other, w[:, slot], x[..., order]).abs().sum(), total)


@on_every_topology("grid5x4w3", "graph", "batch")
def test_zero_weights_give_zero_and_finite_gradients(topology):
    w = torch.zeros(2, topology.num_edges, requires_grad=True)
    x = torch.randn(2, CHANNELS, topology.num_nodes, requires_grad=True)
    y = planar.laplacian(topology, w, x)
    assert not bool(y.any())
    e = planar.difference(topology, w, x)
    (y.sum() + e.square().sum() + planar.degree(topology, w).sum()).backward()
    assert_all_finite(w.grad, x.grad)


@on_every_topology("grid5x4w3", "graph", "batch")
def test_operators_compute_in_float32_under_autocast(topology):
    w = torch.rand(2, topology.num_edges, requires_grad=True)
    x = torch.randn(2, CHANNELS, topology.num_nodes, requires_grad=True)
    expected = planar.laplacian(topology, w, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = planar.laplacian(topology, w, x)
        half = planar.laplacian(topology, w.bfloat16(), x.bfloat16())
        e = planar.difference(topology, w.bfloat16(), x.bfloat16())
        inside.square().sum().backward()
    assert inside.dtype == half.dtype == e.dtype == torch.float32
    assert torch.equal(inside, expected)
    assert_all_finite(half, e, w.grad, x.grad)
    gradients = torch.autograd.grad(expected.square().sum(), (w, x))
    close(w.grad, gradients[0], 1e-6)
    close(x.grad, gradients[1], 1e-6)


def test_backward_keeps_the_arguments_only():
    grid = Grid(16, 16, 5)
    w = torch.rand(4, grid.num_edges, requires_grad=True)
    x = torch.randn(4, 3, grid.num_nodes, requires_grad=True)
    kept: set[int] = set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        planar.laplacian(grid, w, x)
        planar.difference(grid, w, x)
        planar.distance(grid, x)
        planar.degree(grid, w)
    assert kept == {w.untyped_storage().data_ptr(), x.untyped_storage().data_ptr()}


@on_every_topology("grid6x7w5", "graph", "empty")
def test_an_empty_batch_stays_empty(topology):
    w = random_weight(topology, 0, 3).requires_grad_()
    x, e = nodes(topology, 0, 3).requires_grad_(), edges(topology, 0, 3)
    results = {
        "laplacian": planar.laplacian(topology, w, x),
        "difference": planar.difference(topology, w, x),
        "divergence": planar.divergence(topology, w, e),
        "distance": planar.distance(topology, x),
        "degree": planar.degree(topology, w),
        "sum_ends": planar.sum_ends(topology, w, w),
        "softmax": edge_softmax(topology, w),
    }
    sizes = {name: tuple(result.shape) for name, result in results.items()}
    n, m = topology.num_nodes, topology.num_edges
    assert sizes == {
        "laplacian": (0, 3, CHANNELS, n), "difference": (0, 3, CHANNELS, m),
        "divergence": (0, 3, CHANNELS, n), "distance": (0, 3, m), "degree": (0, 3, n),
        "sum_ends": (0, 3, n), "softmax": (0, 3, m),
    }  # fmt: skip
    for name in ("laplacian", "difference", "degree", "softmax"):
        grads = torch.autograd.grad(results[name].sum(), (w, x), allow_unused=True)
        assert all(g is None or g.shape[0] == 0 for g in grads), name
