"""Compiled graph kernels: the same as the plain way, in any internal order and any chunks."""

from unittest import mock

import numpy as np
import pytest
import torch
from helpers import close, graph_batch, random_edges

numba_graph = pytest.importorskip("gsp_unroll.ops.backends.numba_graph")

from gsp_unroll.ops.backends.gather_scatter import GatherScatterKernels  # noqa: E402
from gsp_unroll.topology import Graph, Grid  # noqa: E402
from gsp_unroll.topology import graph as graph_module  # noqa: E402

PRODUCTS = (
    "laplacian", "edge_inner", "edge_dot", "difference", "divergence",
    "at_ends", "sum_ends", "max_ends",
)  # fmt: skip


def shuffled_image(side: int = 20) -> torch.Tensor:
    """Edges of a grid whose pixels are numbered at random, in random order."""
    edges = torch.randperm(side * side)[Grid(side, side, 5).edge_index]
    return edges[:, torch.randperm(edges.shape[1])]


def near_order(edges: torch.Tensor, num_nodes: int) -> Graph:
    """A graph whose nodes get an internal order however small it is."""
    with mock.patch.object(graph_module, "_FAR", 1):
        return Graph(edges, num_nodes)


def kernels(graph: Graph, edges_in_chunk: int = 64) -> numba_graph.NumbaGraphKernels:
    with mock.patch.object(numba_graph, "_CHUNK_EDGES", edges_in_chunk):
        return numba_graph.NumbaGraphKernels(graph)


GRAPHS = {
    "random": lambda: Graph(random_edges(200, extra=300, isolated=3), 200),
    "batch": lambda: graph_batch((50, 1, 70)),
    "reordered": lambda: near_order(shuffled_image(), 400),
}


def arguments(graph, product, lead, channels, dtype):
    make = dict(dtype=dtype, generator=torch.Generator().manual_seed(3))
    x, g = (torch.randn(*lead, channels, graph.num_nodes, **make) for _ in range(2))
    w, s = torch.rand(*lead, graph.num_edges, **make), x[..., 0, :]
    e = torch.randn(*lead, channels, graph.num_edges, **make)
    return {
        "laplacian": (w, x), "edge_inner": (x, g), "edge_dot": (x, e), "difference": (w, x),
        "divergence": (w, e), "at_ends": (s,), "sum_ends": (w, e[..., 0, :]), "max_ends": (w,),
    }[product]  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(
    ("lead", "channels"),
    # One column, lanes of channels, lanes of heads, each with and without idle lanes.
    [((), 1), ((), 4), ((), 6), ((4,), 3), ((2, 3), 1), ((5,), 2), ((1, 2), 9)],
)
def test_equals_gather_scatter(name, product, lead, channels):
    graph = GRAPHS[name]()
    values = arguments(graph, product, lead, channels, torch.float64)
    actual = getattr(kernels(graph), product)(*values)
    expected = getattr(GatherScatterKernels(graph), product)(*values)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("product", PRODUCTS)
def test_single_precision(product):
    graph = GRAPHS["reordered"]()
    values = arguments(graph, product, (4,), 3, torch.float32)
    actual = getattr(kernels(graph), product)(*values)
    expected = getattr(GatherScatterKernels(graph), product)(*values)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(("lead", "channels"), [((), 1), ((4,), 3)])
def test_bit_for_bit_the_same_on_any_number_of_threads(product, lead, channels):
    graph = GRAPHS["reordered"]()
    product_of = getattr(kernels(graph), product)
    values = arguments(graph, product, lead, channels, torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(product_of(*values))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bit_for_bit_the_same_alone_as_among_others(product, channels):
    # One system runs in other lanes than five: planes, lanes of channels, lanes of systems.
    graph = GRAPHS["reordered"]()
    product_of = getattr(kernels(graph), product)
    values = arguments(graph, product, (5,), channels, torch.float32)
    together, alone = product_of(*values), product_of(*(value[2:3] for value in values))
    pairs = zip(together, alone, strict=True) if product == "at_ends" else [(together, alone)]
    for many, one in pairs:
        assert torch.equal(many[2:3], one)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_has_an_exactly_zero_laplacian(channels):
    graph = GRAPHS["reordered"]()
    w = torch.rand(graph.num_edges)
    x = torch.full((channels, graph.num_nodes), 0.1)
    assert not bool(kernels(graph).laplacian(w, x).any())
    assert not bool(kernels(graph).difference(w, x).any())


def test_arguments_may_be_strided_and_need_gradients():
    graph = GRAPHS["reordered"]()
    x = torch.randn(graph.num_nodes, 3, 2).permute(2, 1, 0).requires_grad_()
    w = torch.rand(graph.num_edges, 2).T
    close(
        kernels(graph).laplacian(w, x),
        GatherScatterKernels(graph).laplacian(w, x.detach()),
        1e-5,
    )


def test_other_dtypes_and_graphs_without_edges_work():
    graph = GRAPHS["random"]()
    x = torch.randn(2, graph.num_nodes).bfloat16()
    at_u, _ = kernels(graph).at_ends(x)
    assert torch.equal(at_u, x[:, graph.ends[0]])
    empty = kernels(Graph(torch.zeros(2, 0, dtype=torch.int64), 3))
    assert not bool(empty.laplacian(torch.zeros(0), torch.ones(2, 3)).any())
    assert empty.max_ends(torch.zeros(0)).tolist() == [-torch.inf] * 3


def test_chunks_own_their_nodes_and_see_every_edge():
    graph = GRAPHS["reordered"]()
    edges = kernels(graph)._edges
    chunk = np.searchsorted(edges.bound, np.arange(400), side="right")
    assert len(edges.bound) > 10
    first = np.repeat(np.arange(400), np.diff(edges.start))
    crossing = chunk[first] != chunk[edges.end]
    assert 0 < crossing.sum() < len(crossing)
    assert sorted(edges.cut_edge) == np.flatnonzero(crossing).tolist()
    assert np.array_equal(first[edges.cut_edge], edges.cut_first)
    assert np.array_equal(edges.end[edges.cut_edge], edges.cut_second)
    assert np.array_equal(
        edges.start[1:] - edges.inner, np.bincount(first[crossing], minlength=400)
    )
