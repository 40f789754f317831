"""General graphs: structure, batches, components, and every rule of ``edge_index``."""

from unittest import mock

import pytest
import torch
from helpers import both_ways, close, graph_batch, random_edges, ring
from torch_geometric.data import Batch, Data

from gsp_unroll.ops import planar
from gsp_unroll.topology import Graph, Topology
from gsp_unroll.topology import graph as graph_module


def test_ends_hold_each_edge_once_in_sorted_order():
    edges = random_edges(10, seed=1)
    graph = Graph(edges, 10)
    u, v = graph.ends
    expected = sorted({tuple(sorted(pair)) for pair in edges.T.tolist()})
    assert list(zip(u.tolist(), v.tolist(), strict=True)) == expected
    assert graph.num_edges == edges.shape[1] // 2
    assert graph.used_slots is None


def test_edge_slot_says_which_entry_of_the_adjacency_an_edge_is():
    edges = random_edges(10, seed=1)
    graph = Graph(edges, 10)
    u, v = graph.ends
    for (source, target), slot in zip(edges.T.tolist(), graph.edge_slot.tolist(), strict=True):
        half, edge = divmod(slot, graph.num_edges)
        ends = (int(u[edge]), int(v[edge]))
        assert ((target, source) if half == 0 else (source, target)) == ends


def test_pack_and_unpack_are_inverse():
    graph = Graph(random_edges(10, seed=1), 10)
    weight = torch.rand(graph.edge_index.shape[1], 3)
    assert torch.equal(graph.unpack_edges(graph.pack_edges(weight)), weight)


def test_csr_is_the_adjacency_matrix():
    graph = Graph(random_edges(10, seed=1, isolated=2), 10)
    indptr, indices, slot = graph.csr()
    assert indptr.dtype == indices.dtype == torch.int32
    weight = torch.arange(1.0, graph.num_edges + 1)
    dense = torch.zeros(10, 10)
    for row in range(10):
        for k in range(int(indptr[row]), int(indptr[row + 1])):
            dense[row, indices[k]] = weight[slot[k]]
    u, v = graph.ends
    expected = torch.zeros(10, 10)
    expected[u, v] = expected[v, u] = weight
    assert torch.equal(dense, expected)


def test_sums_and_spreads_of_a_batch_stay_inside_each_graph():
    graph = graph_batch((4, 1, 6))
    assert graph.num_graphs == 3
    ones = torch.ones(2, graph.num_nodes)
    assert graph.graph_sum(ones).tolist() == [[4, 1, 6]] * 2
    u = graph.ends[0]
    edges_of = [int((graph.batch[u] == g).sum()) for g in range(3)]
    assert graph.graph_sum_edges(torch.ones(graph.num_edges)).tolist() == edges_of
    value = torch.tensor([10.0, 20.0, 30.0])
    close(graph.graph_spread(value), value[graph.batch], 0)
    close(graph.graph_spread_edges(value), value[graph.batch[u]], 0)


def test_a_batch_of_one_is_a_single_graph():
    graph = Graph(ring(5), 5, torch.zeros(5, dtype=torch.int64))
    assert graph.batch is None
    assert graph.num_graphs == 1
    assert graph.graph_sum(torch.ones(5)).tolist() == [5]


def test_components_and_the_one_without_a_sample():
    graph = Graph(both_ways([(0, 1), (1, 2), (3, 4)]), 6)
    label = graph.components()
    assert label[0] == label[1] == label[2]
    assert label[3] == label[4]
    assert len(label.unique()) == 3
    mask = torch.tensor([True, False, False, False, True, True])
    assert graph.unobserved_component(mask) is None
    mask[4] = False
    assert graph.unobserved_component(mask).tolist() == [3, 4]
    mask = torch.tensor([True, False, False, True, False, False])
    assert graph.unobserved_component(mask).tolist() == [5]


def test_backend_device_and_text():
    graph = graph_batch((4, 3))
    graph.csr()
    other = graph.with_backend("gather_scatter")
    assert (graph.backend, other.backend) == ("native", "gather_scatter")
    assert other.edge_index is graph.edge_index
    assert graph.to("cpu") is graph
    moved = graph.to("meta")
    assert {t.device.type for t in (moved.edge_index, moved.edge_slot, *moved.ends, moved.batch,
                                    *moved.csr())} == {"meta"}  # fmt: skip
    assert graph.edge_index.device.type == "cpu"
    assert repr(Graph(ring(4), 4)) == (
        "Graph(num_nodes=4, num_edges=4, num_graphs=1, backend='native')"
    )


PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


@pytest.mark.parametrize(
    ("edges", "num_nodes", "error", "message"),
    [
        ([[0, 1], [1, 0]], 2, TypeError, "edge_index must be a torch.Tensor, got list"),
        (PATH.float(), 3, TypeError, "edge_index must be an int64 tensor, got torch.float32"),
        (PATH.int(), 3, TypeError, "edge_index must be an int64 tensor, got torch.int32"),
        (PATH.T, 3, ValueError, r"edge_index must have shape \[2, E\], got \[4, 2\]"),
        (PATH[0], 3, ValueError, r"edge_index must have shape \[2, E\], got \[4\]"),
        (PATH, 2, ValueError, r"lie in \[0, num_nodes\) = \[0, 2\), got column 2: \(1, 2\)"),
        (PATH - 1, 3, ValueError, r"lie in \[0, num_nodes\).* got column 0: \(-1, 0\)"),
        (torch.tensor([[0, 1, 2], [1, 0, 2]]), 3, ValueError,
         r"self-loops, got one in column 2: \(2, 2\); torch_geometric.utils.remove_self_loops"),
        (torch.tensor([[0, 1, 0], [1, 0, 1]]), 2, ValueError,
         r"every edge once, got a duplicate in column [02]: \(0, 1\); .*coalesce"),
        (torch.tensor([[0, 1, 1], [1, 0, 2]]), 3, ValueError,
         r"both directions .* missing of column 2: \(1, 2\); .*to_undirected"),
        (torch.tensor([[2, 0, 1], [1, 1, 0]]), 3, ValueError,
         r"both directions .* missing of column 0: \(2, 1\)"),
        (PATH, 0, ValueError, "num_nodes must be at least 1, got 0"),
        (PATH, 3.0, TypeError, "num_nodes must be an int, got float"),
    ],
)  # fmt: skip
def test_invalid_edges_are_named(edges, num_nodes, error, message):
    with pytest.raises(error, match=message):
        Graph(edges, num_nodes)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (torch.tensor([0.0, 0, 0]), TypeError, "batch must be an int64 tensor, got torch.float32"),
        (torch.tensor([0, 0]), ValueError, r"batch must have shape \[3\], got \[2\]"),
        (torch.tensor([1, 1, 1]), ValueError, "count up from 0 without gaps"),
        (torch.tensor([0, 1, 0]), ValueError, "count up from 0 without gaps"),
        (torch.tensor([0, 0, 2]), ValueError, "count up from 0 without gaps"),
        (torch.tensor([0, 0, 1]), ValueError,
         "edges must stay inside one graph .*, column 2 of edge_index joins graphs 0 and 1"),
        (torch.zeros(3, dtype=torch.int64, device="meta"), ValueError,
         "one device, got edge_index on cpu, batch on meta"),
        ([0, 0, 0], TypeError, "batch must be a torch.Tensor, got list"),
    ],
)  # fmt: skip
def test_invalid_batches_are_named(batch, error, message):
    with pytest.raises(error, match=message):
        Graph(PATH, 3, batch)


def test_unknown_backend_is_named():
    with pytest.raises(ValueError, match=r"backend must be one of .*gather_scatter"):
        Graph(PATH, 3, backend="gather-scatter")


def shuffled_image():
    from gsp_unroll.topology import Grid

    edges = torch.randperm(300)[Grid(15, 20, 3).edge_index]
    return edges[:, torch.randperm(edges.shape[1])]


def near_order(edges, num_nodes):
    with mock.patch.object(graph_module, "_FAR", 1):
        return Graph(edges, num_nodes)


def test_far_neighbours_get_an_internal_order_that_brings_them_together():
    edges = shuffled_image()
    plain, near = Graph(edges, 300), near_order(edges, 300)
    assert plain.node_order is None
    assert sorted(near.node_order.tolist()) == list(range(300))
    indptr, indices = near.upper()
    row = torch.repeat_interleave(torch.arange(300), indptr.diff().long())
    assert bool((indices > row).all())
    order = near.node_order.long()
    pairs = {frozenset(pair) for pair in edges.T.tolist()}
    assert {frozenset(p) for p in zip(*(e.tolist() for e in near.ends), strict=True)} == pairs
    assert torch.equal(near.ends[0], order[row])
    assert torch.equal(near.ends[1], order[indices.long()])
    assert (indices - row).double().mean() < (plain.ends[1] - plain.ends[0]).double().mean() / 4


def test_nodes_stay_where_no_order_helps():
    # In a complete graph every order is as good.
    edges = both_ways([(i, j) for j in range(30) for i in range(j)])
    assert near_order(edges, 30).node_order is None


def test_slots_of_a_reordered_graph_are_found():
    edges = shuffled_image()
    graph = near_order(edges, 300)
    u, v = graph.ends
    half, edge = graph.edge_slot // graph.num_edges, graph.edge_slot % graph.num_edges
    into_u = torch.stack([v[edge], u[edge]])
    assert torch.equal(edges, torch.where(half == 0, into_u, into_u.flip(0)))
    weight = torch.rand(edges.shape[1], 2)
    assert torch.equal(graph.unpack_edges(graph.pack_edges(weight)), weight)


def test_components_of_a_reordered_graph_have_the_numbers_of_the_user():
    edges = shuffled_image()
    both = near_order(torch.cat([edges, edges + 300], dim=1), 600)
    assert both.node_order is not None
    mask = torch.zeros(600, dtype=torch.bool)
    mask[17] = True
    assert both.unobserved_component(mask).tolist() == list(range(300, 600))


def test_a_graph_moves_with_its_order():
    moved = near_order(shuffled_image(), 300).to("meta")
    assert {t.device.type for t in (moved.node_order, *moved.upper(), *moved.ends)} == {"meta"}


@pytest.mark.parametrize("graphs", [1, 2])
def test_repeat_is_a_batch_of_copies(graphs):
    data = [Data(edge_index=random_edges(6 + k, isolated=1), num_nodes=6 + k) for k in range(2)]
    one = data[0] if graphs == 1 else Batch.from_data_list(data)
    single = Topology.from_data(one)
    expected = Topology.from_data(Batch.from_data_list(data[:graphs] * 3))
    repeated = single.repeat(3)
    assert torch.equal(repeated.edge_index, expected.edge_index)
    assert (repeated.num_nodes, repeated.num_graphs) == (expected.num_nodes, 3 * graphs)
    if graphs == 2:
        assert torch.equal(repeated.batch, expected.batch)
    x = torch.randn(3, 2, single.num_nodes, dtype=torch.float64)
    w = torch.rand(single.num_edges, dtype=torch.float64)
    apart = torch.stack([planar.laplacian(single, w, value) for value in x])
    # The same weight on every copy, whatever slot its edges have there.
    both = single.unpack_edges(w.expand(2, -1).contiguous())
    beside = repeated.pack_edges(both.repeat(3))[0]
    together = planar.laplacian(repeated, beside, x.transpose(0, 1).flatten(1))
    close(together.unflatten(1, (3, -1)).transpose(0, 1), apart)
    with pytest.raises(ValueError, match="copies must be at least 1"):
        single.repeat(0)
