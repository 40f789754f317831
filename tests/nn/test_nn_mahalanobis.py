"""Learned graphs: PyG's way equals the planar one, and nothing breaks at the extremes."""

import pytest
import torch
from helpers import (
    assert_all_finite,
    assert_batch_independent,
    assert_same_function,
    close,
    on_every_topology,
    permuted,
    random_edges,
    used,
)
from torch_geometric.nn import MessagePassing

from gsp_unroll.nn import MahalanobisGraph
from gsp_unroll.ops.softmax import NORMS
from gsp_unroll.topology import Graph, Grid
from gsp_unroll.topology.grid import half_offsets

HEADS, FEATURES = 3, 4
every_norm = pytest.mark.parametrize("norm", NORMS)


def learner(norm="softmax", dtype=torch.float64, window=None):
    module = MahalanobisGraph(HEADS, FEATURES, norm, window=window).to(dtype)
    with torch.no_grad():
        module.metric_root.add_(0.3 * torch.randn_like(module.metric_root))
        if window is not None:
            module.offset_score.add_(torch.randn_like(module.offset_score))
    return module


def by_edge(topology, weight, norm):
    """Planar weights [1, heads, (2,) M] -> [E, heads]."""
    weight = weight[0]
    return topology.unpack_edges(
        weight if norm == "directed" else torch.stack([weight, weight], dim=-2)
    )


@every_norm
@on_every_topology()
def test_message_passing_equals_planar_in_value_and_gradients(topology, norm):
    module = learner(norm)

    def passing(x, root):
        return _with_root(module, root)(x, topology.edge_index)

    def planar(x, root):
        weight = _with_root(module, root).weights(topology, x.permute(1, 2, 0)[None])
        return by_edge(topology, weight, norm)

    x = torch.randn(topology.num_nodes, HEADS, FEATURES, dtype=torch.float64)
    assert_same_function(passing, planar, x, module.metric_root)


def _with_root(module, root):
    """The module with a tensor in place of its parameter, so that gradients reach the tensor."""
    del module.metric_root
    module.metric_root = root
    return module


def test_weights_are_those_of_the_formula():
    graph = Graph(random_edges(7), 7)
    module = learner("symmetric")
    x = torch.randn(7, HEADS, FEATURES, dtype=torch.float64)
    u, v = graph.ends
    kernel = torch.zeros(HEADS, 7, 7, dtype=torch.float64)
    for h in range(HEADS):
        metric = module.metric_root[h] @ module.metric_root[h].T
        d = x[u, h] - x[v, h]
        kernel[h, u, v] = kernel[h, v, u] = torch.einsum("ef,fg,eg->e", d, metric, d).neg().exp()
    root = kernel.sum(-1).rsqrt()
    expected = (root[:, :, None] * kernel * root[:, None])[:, u, v]
    close(module.weights(graph, x.permute(1, 2, 0)[None])[0], expected)


def test_distances_are_never_negative_whatever_the_parameters():
    # M is PSD: in the path 0 - 1 - 2, where 0 and 1 are equal, node 1 never prefers node 2.
    module = MahalanobisGraph(HEADS, FEATURES, "directed").double()
    with torch.no_grad():
        module.metric_root.copy_(torch.randn_like(module.metric_root) - 3)
    path = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
    f = torch.randn(200, HEADS, FEATURES, 3, dtype=torch.float64)
    f[..., 1] = f[..., 0]
    weight = module.weights(path, f).detach()
    to_equal, to_other = weight[..., 1, 0], weight[..., 0, 1]  # W[1, 0] and W[1, 2]
    close(to_equal + to_other, torch.ones_like(to_equal))
    assert bool((to_equal >= to_other).all())
    assert bool((to_equal > 0.9).any())


def test_is_a_message_passing_layer():
    module = MahalanobisGraph(2, 3, scale=0.5)
    assert isinstance(module, MessagePassing)
    close(module.metric_root, 0.5 * torch.eye(3).expand(2, 3, 3), 0)
    with torch.no_grad():
        module.metric_root.zero_()
    module.reset_parameters()
    close(module.metric_root, 0.5 * torch.eye(3).expand(2, 3, 3), 0)
    assert repr(module) == "MahalanobisGraph(2, 3, norm='softmax')"
    module = MahalanobisGraph(2, 3, window=5)
    assert repr(module) == "MahalanobisGraph(2, 3, norm='softmax', window=5)"
    assert torch.equal(module.offset_score, torch.zeros(2, 12, 1))


@every_norm
def test_scores_of_offsets_are_added_to_minus_the_distance(norm):
    """Against dense matrices, pixel by pixel."""
    height, width, window = 4, 5, 5
    grid, module = Grid(height, width, window=window), learner(norm, window=window)
    x = torch.randn(grid.num_nodes, HEADS, FEATURES, dtype=torch.float64)
    score = torch.full((HEADS, grid.num_nodes, grid.num_nodes), -torch.inf, dtype=torch.float64)
    projected = torch.einsum("hgf,nhg->nhf", module.metric_root, x)
    for k, (dr, dc) in enumerate(half_offsets(window)):
        for r in range(height - dr):
            for c in range(max(0, -dc), min(width, width - dc)):
                i, j = r * width + c, (r + dr) * width + c + dc
                distance = (projected[i] - projected[j]).square().sum(-1)
                score[:, i, j] = score[:, j, i] = module.offset_score[:, k, 0] - distance
    p = score.softmax(2)
    total = score.exp().sum(2)
    expected = {
        "directed": p,
        "softmax": (p + p.mT) / 2,
        "symmetric": score.exp() / (total[:, :, None] * total[:, None]).sqrt(),
    }[norm]
    found = by_edge(grid, module.weights(grid, x.permute(1, 2, 0)[None]), norm)
    u, v = grid.edge_index
    # `v` gathers from `u`.
    close(found, expected[:, v, u].T)


def test_gradients_of_scores_of_offsets():
    grid, module = Grid(4, 3, window=3), learner(window=3)
    f = torch.randn(2, HEADS, FEATURES, grid.num_nodes, dtype=torch.float64, requires_grad=True)

    def weights(score, f):
        del module.offset_score
        module.offset_score = score
        return used(grid, module.weights(grid, f))

    assert torch.autograd.gradcheck(weights, (module.offset_score.detach().requires_grad_(), f))


@every_norm
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
@on_every_topology("grid5x4w3", "pixel1x1", "graph", "batch")
def test_extreme_features_under_autocast_stay_finite(topology, size, norm):
    module = learner(norm, torch.float32)
    f = (size * torch.randn(2, HEADS, FEATURES, topology.num_nodes)).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = module.weights(topology, f)
        (weight * torch.randn_like(weight)).sum().backward()
    assert weight.dtype == torch.float32
    assert_all_finite(weight, f.grad, module.metric_root.grad)


@every_norm
def test_both_ways_keep_float32_under_autocast(norm):
    graph = Graph(random_edges(9), 9)
    module = learner(norm, torch.float32)
    x = torch.randn(9, HEADS, FEATURES)
    planar = x.permute(1, 2, 0)[None]
    outside = module(x, graph.edge_index), module.weights(graph, planar)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = module(x, graph.edge_index), module.weights(graph, planar)
    for a, b in zip(outside, inside, strict=True):
        assert torch.equal(a, b)


def test_double_features_with_single_parameters():
    graph = Graph(random_edges(9), 9)
    module = learner(dtype=torch.float32)
    x = torch.randn(9, HEADS, FEATURES, dtype=torch.float64)
    passing = module(x, graph.edge_index)
    assert passing.dtype == torch.float64
    close(passing, by_edge(graph, module.weights(graph, x.permute(1, 2, 0)[None]), "softmax"))


@every_norm
def test_equivariant_to_a_renumbering_of_the_nodes(norm):
    graph = Graph(random_edges(11), 11)
    order = torch.randperm(11)
    other, slot = permuted(graph, order)
    module, f = learner(norm), torch.randn(1, HEADS, FEATURES, 11, dtype=torch.float64)
    after = module.weights(other, f[..., order])
    before = module.weights(graph, f)
    if norm == "directed":
        after, before = after.sum(-2), before.sum(-2)
    close(after, before[..., slot])


@on_every_topology("grid5x4w3", "graph")
def test_a_sample_does_not_depend_on_its_batch(topology):
    module = learner()
    samples = torch.randn(3, HEADS, FEATURES, topology.num_nodes, dtype=torch.float64)
    assert_batch_independent(
        lambda f: used(topology, module.weights(topology, f)), samples, tolerance=1e-14
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MahalanobisGraph(0, 3), ValueError, "heads must be at least 1, got 0"),
        (lambda: MahalanobisGraph(2, 3.0), TypeError, "features must be an int, got float"),
        (lambda: MahalanobisGraph(2, 3, "soft"), ValueError, "norm must be one of .*'softmax'"),
        (lambda: MahalanobisGraph(2, 3)(torch.ones(4, 3), torch.zeros(2, 0).long()), ValueError,
         r"x must have shape \[nodes, 2, 3\], got \[4, 3\]"),
        (lambda: MahalanobisGraph(2, 3)(torch.ones(4, 2, 3).long(), torch.zeros(2, 0).long()),
         TypeError, "x must be a floating-point tensor"),
        (lambda: MahalanobisGraph(2, 3)(torch.ones(4, 2, 3), torch.tensor([[0], [1]])), ValueError,
         "both directions of every edge"),
        (lambda: MahalanobisGraph(2, 3, window=4), ValueError, "window must be odd, got 4"),
        (lambda: MahalanobisGraph(2, 3, scale=float("nan")), ValueError, "scale must be finite"),
        (lambda: MahalanobisGraph(2, 3, window=3)(torch.ones(4, 2, 3), torch.zeros(2, 0).long()),
         ValueError, "window must be None for edge_index, got 3"),
        (lambda: MahalanobisGraph(2, 3, window=3).weights(Grid(4, 4), torch.ones(1, 2, 3, 16)),
         ValueError, "topology must be a Grid with window=3.*got a Grid with window=5"),
        (lambda: MahalanobisGraph(2, 3, window=3).weights(
            Graph(torch.zeros(2, 0).long(), 4), torch.ones(1, 2, 3, 4)),
         ValueError, "topology must be a Grid with window=3.*got a Graph with window=None"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
