"""Backends by name: which are present, what they choose, what they say without a package."""

import sys

import pytest
import torch
from helpers import STRUCTURES, close, needs_backend, random_weight, spoil_unused

from gsp_unroll.ops import available_backends, planar
from gsp_unroll.ops.backends import registry
from gsp_unroll.ops.backends.csr import CSRKernels
from gsp_unroll.ops.backends.gather_scatter import GatherScatterKernels
from gsp_unroll.ops.backends.stencil import StencilKernels
from gsp_unroll.topology import BACKENDS, Graph, Grid

PACKAGES = ("torch_scatter", "torch_sparse", "triton")


@pytest.fixture
def without(monkeypatch):
    """Make packages fail to import."""

    def hide(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)
        registry._problem.cache_clear()

    yield hide
    monkeypatch.undo()
    registry._problem.cache_clear()


def test_available_backends_are_names_in_order():
    for device in ("cpu", "cuda", torch.device("cuda:0"), "meta"):
        found = available_backends(device)
        assert found[:3] == ("native", "torch", "gather_scatter")
        assert [name for name in BACKENDS if name in found] == list(found)


def test_a_missing_package_is_not_available(without):
    without(*PACKAGES)
    assert available_backends("cpu") == available_backends("cuda") == BACKENDS[:3]


def test_triton_needs_cuda_or_its_interpreter(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "triton" not in available_backends("cpu")
    assert "triton" in available_backends("cuda")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "triton" in available_backends("cpu")


@pytest.mark.parametrize("backend", PACKAGES)
def test_a_named_backend_says_which_package_it_misses(without, backend):
    without(backend)
    for topology in (Grid(3, 3, 3, backend=backend), STRUCTURES["graph"](backend)):
        with pytest.raises(ImportError, match=f"backend '{backend}' needs .* pip install"):
            _ = topology.kernels


def test_an_old_triton_is_refused(without, monkeypatch):
    triton = pytest.importorskip("triton")
    without()
    monkeypatch.setattr(triton, "__version__", "3.2.0")
    with pytest.raises(ImportError, match=r"version 3\.2\.0 is too old.*triton>=3\.3"):
        _ = Grid(3, 3, 3, backend="triton").kernels


def test_native_falls_back_to_torch(without):
    without("numba", "triton")
    assert type(Grid(3, 3, 3).kernels) is type(Grid(3, 3, 3, backend="torch").kernels)
    assert isinstance(Grid(3, 3, 3).kernels, StencilKernels)
    assert isinstance(STRUCTURES["graph"]("native").kernels, CSRKernels)
    assert isinstance(Grid(3, 3, 3, backend="gather_scatter").kernels, GatherScatterKernels)


def test_native_takes_the_fastest_for_the_device():
    expected = {"cpu": "numba", "cuda": "triton", "meta": "torch"}
    for kind, name in expected.items():
        found = registry._fastest(kind)
        assert found == name or (found == "torch" and registry._problem(name) is not None)


@pytest.mark.parametrize("name", ["grid5x4w3", "graph"])
def test_native_takes_any_dtype(name):
    topology = STRUCTURES[name]("native")
    w = random_weight(topology, 2)
    x = torch.randn(2, 3, topology.num_nodes, dtype=torch.float64)
    expected = planar.laplacian(topology, w, x)
    for dtype in (torch.float16, torch.bfloat16):
        half = planar.laplacian(topology, w.to(dtype), x.to(dtype))
        assert half.dtype == torch.float32
        close(half.double(), expected, 0.2)


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=needs_backend(name)) for name in BACKENDS[:5]]
)
@pytest.mark.parametrize("name", STRUCTURES)
def test_all_products_equal_those_of_gather_scatter(name, backend):
    assert_same_products(STRUCTURES[name](backend), (2, 3), channels=2)
    assert_same_products(STRUCTURES[name](backend), (), channels=1)


def assert_same_products(topology, lead, channels, kernels=None, products=None):
    """Every product, NaN in unused slots, against the plain way."""
    kernels = kernels or topology.kernels
    reference = GatherScatterKernels(topology)
    x, g = torch.randn(2, *lead, channels, topology.num_nodes, dtype=torch.float64)
    e = torch.randn(*lead, channels, topology.num_edges, dtype=torch.float64)
    w, other = random_weight(topology, *lead), random_weight(topology, *lead)
    e = spoil_unused(topology, e)
    s, t = torch.randn(2, *lead, topology.num_nodes, dtype=torch.float64)
    arguments = {
        "laplacian": (w, x), "edge_inner": (x, g), "edge_dot": (x, e), "difference": (w, x),
        "divergence": (w, e), "at_ends": (w.new_ones(*lead, topology.num_nodes).cumsum(-1),),
        "sum_ends": (w, other), "max_ends": (w,),
        "scale_ends": (w, s), "scaled_gradient": (w, s, t, x[..., 0, :]),
        "neighbour_sum": (w, s), "neighbour_sum_of_products": (w, other, s),
    }  # fmt: skip
    for name in products or arguments:
        expected = getattr(reference, name)(*arguments[name])
        actual = getattr(kernels, name)(*arguments[name])
        pairs = [(actual, expected)] if name != "at_ends" else zip(actual, expected, strict=True)
        for ours, theirs in pairs:
            close(ours, theirs, 1e-12)
    for norm in ("softmax", "symmetric", "directed") if products is None else ():
        score = spoil_unused(topology, 30 * torch.randn_like(w))
        expected = reference.edge_softmax(score, norm)
        for ours, theirs in zip(kernels.edge_softmax(score, norm), expected, strict=True):
            close(ours, theirs, 1e-12)
        back = spoil_unused(topology, torch.randn_like(expected[0]))
        theirs = reference.edge_softmax_backward(back, norm, *expected)
        close(kernels.edge_softmax_backward(back, norm, *expected), theirs, 1e-12)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"backend must be one of 'native', 'torch', .*'triton'"):
        Grid(3, 3, 3, backend="cuda")
    with pytest.raises(ValueError, match="did you mean 'torch_sparse'"):
        Graph(Grid(2, 2, 3).edge_index, 4, backend="torch-sparse")
