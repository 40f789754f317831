"""Triton kernels, interpreted on the CPU; `test_cuda.py` runs them on a CUDA device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import (
    STRUCTURES,
    assert_same_function,
    dense_incidence,
    dense_laplacian,
    graph_batch,
    random_edges,
    random_weight,
    spoil_unused,
    used,
)
from test_backends_registry import assert_same_products

from gsp_unroll.ops import planar
from gsp_unroll.ops.softmax import NORMS, edge_softmax
from gsp_unroll.topology import Graph, Grid

triton = pytest.importorskip("triton", reason="triton is not installed")
if torch.cuda.is_available():
    pytest.skip("kernels are compiled for CUDA, see test_cuda.py", allow_module_level=True)

from gsp_unroll.ops.backends.triton_graph import TritonGraphKernels  # noqa: E402
from gsp_unroll.ops.backends.triton_grid import TritonGridKernels  # noqa: E402
from gsp_unroll.ops.backends.triton_launch import launch  # noqa: E402


@pytest.mark.parametrize(
    "topology",
    [
        Grid(3, 4, 3, backend="triton"),
        Grid(1, 5, 3, backend="triton"),
        Grid(1, 1, 3, backend="triton"),
        *(STRUCTURES[name]("triton") for name in ("graph", "empty", "batch")),
    ],
    ids=repr,
)
def test_all_products_equal_those_of_gather_scatter(topology):
    assert_same_products(topology, (2,), channels=2)


@pytest.mark.parametrize("topology", [Grid(4, 1, 5), Grid(2, 3, 7)], ids=repr)
def test_wide_windows(topology):
    kernels = TritonGridKernels(topology)
    kernels.rows = 1
    products = ("laplacian", "difference", "sum_ends", "max_ends")
    assert_same_products(topology, (), 1, kernels, products)


@pytest.mark.parametrize("topology", [Grid(2, 3, 3), graph_batch((4, 3))])
def test_more_channels_than_a_thread_holds(topology):
    kernels = topology.with_backend("triton").kernels
    products = ("laplacian", "edge_inner", "edge_dot", "difference", "divergence")
    assert_same_products(topology, (1,), 6, kernels, products)


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (2, 2), (4, 4)])
def test_tiles_smaller_than_the_image(rows, columns):
    grid = Grid(7, 5, 3)
    kernels = TritonGridKernels(grid)
    kernels.rows, kernels.columns, kernels.threads = rows, columns, 8
    assert_same_products(grid, (2,), 1, kernels, ("laplacian", "difference", "max_ends"))


def test_rows_longer_than_a_tile():
    graph = Graph(random_edges(9, extra=40), 9)
    kernels = TritonGraphKernels(graph)
    kernels.rows, kernels.neighbours, kernels.edges = 4, 2, 8
    assert_same_products(graph, (2,), 2, kernels)


class Renumbered(Graph):
    """A graph whose edge slots do not follow the numbers of its nodes."""

    flipped = torch.tensor([5, 3, 0, 1, 4, 2])

    @property
    def ends(self):
        u, v = super().ends
        return v, u

    @property
    def node_order(self):
        return self.flipped


def test_the_first_end_may_be_the_larger_node():
    graph = Renumbered(random_edges(6), 6)
    assert bool((graph.ends[0] > graph.ends[1]).all())
    assert_same_products(graph, (2,), 2, TritonGraphKernels(graph))


@pytest.mark.parametrize(
    "topology", [Grid(3, 3, 3, backend="triton"), STRUCTURES["graph"]("triton")], ids=repr
)
def test_gradients_equal_those_of_dense_matrices(topology):
    w = random_weight(topology, 1)
    x = torch.randn(1, 2, topology.num_nodes, dtype=torch.float64)
    e = torch.randn(1, 2, topology.num_edges, dtype=torch.float64)
    assert_same_function(
        lambda w, x: planar.laplacian(topology, w, x),
        lambda w, x: x @ dense_laplacian(topology, w).mT,
        w, x,
    )  # fmt: skip
    assert_same_function(
        lambda w, x: used(topology, planar.difference(topology, w, x)),
        lambda w, x: x @ dense_incidence(topology, w).mT,
        w, x,
    )  # fmt: skip
    assert_same_function(
        lambda w, e: planar.divergence(topology, w, e),
        lambda w, e: used(topology, e) @ dense_incidence(topology, w),
        w, spoil_unused(topology, e),
    )  # fmt: skip
    plain = topology.with_backend("gather_scatter")
    for norm in NORMS:
        assert_same_function(
            lambda s, n=norm: edge_softmax(topology, s, n),
            lambda s, n=norm: edge_softmax(plain, s, n),
            w,
        )


@pytest.mark.parametrize("name", ["grid5x4w3", "graph"])
def test_float32_and_repeats_are_bitwise_equal(name):
    topology = STRUCTURES[name]("triton")
    w = random_weight(topology, 2, dtype=torch.float32)
    x = torch.randn(2, 3, topology.num_nodes)
    first = topology.kernels.laplacian(w, x)
    assert first.dtype == torch.float32
    assert torch.equal(topology.kernels.laplacian(w, x), first)
    # Leading dimensions that are expanded or strided are read right.
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(topology.kernels.laplacian(w, turned), first)


def test_tensors_on_the_cpu_are_refused_by_compiled_kernels():
    def nothing():
        pass

    with pytest.raises(ValueError, match=r"backend 'triton' computes on CUDA tensors, got .* cpu"):
        launch(triton.JITFunction(nothing), 1, torch.zeros(1))


def test_all_kernels_compile_for_a_hopper_gpu(tmp_path):
    script = Path(__file__).with_name("compile_triton.py")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "_laplacian" in done.stdout
