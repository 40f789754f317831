"""The same numbers on a CUDA device as on the CPU."""

import functools

import pytest
import torch
from helpers import (
    STRUCTURES,
    assert_all_finite,
    close,
    needs_backend,
    random_edges,
    uglr_plus_with_all,
)
from torch_geometric.data import Batch, Data

from gsp_unroll import ops
from gsp_unroll.graphs import image_to_data, knn_edge_index
from gsp_unroll.models import IGLR, IGTV, UGLR, UGTV, load_pretrained, save_pretrained
from gsp_unroll.nn import capture_blocks
from gsp_unroll.ops import planar
from gsp_unroll.ops.softmax import NORMS, edge_softmax
from gsp_unroll.priors import GLR, GTV
from gsp_unroll.solvers import ConjugateGradient, GTVSolver, solve_glr
from gsp_unroll.topology import BACKENDS, Graph, Grid, Topology

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

every_topology = pytest.mark.parametrize("name", STRUCTURES)
every_backend = pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=needs_backend(name, "cuda")) for name in BACKENDS]
)
SMALL = {"blocks": 2, "layers": 2, "cg_steps": 3, "heads": 2, "features": 3, "maps": 6, "window": 3}


@pytest.fixture(autouse=True)
def _exact_products():
    """Compare in full float32: no TF32, and sums in a fixed order where there is a choice."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def assert_same_on_both(function, *inputs, tolerance=1e-11):
    """``function(device, *inputs)`` agrees in value and gradients."""
    results = []
    for device in ("cpu", "cuda"):
        leaves = [value.detach().to(device).requires_grad_() for value in inputs]
        value = function(device, *leaves)
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(7))
        gradients = torch.autograd.grad(
            value, leaves, direction.to(value), allow_unused=True, materialize_grads=True
        )
        results.append([tensor.detach().cpu() for tensor in (value, *gradients)])
    for ours, reference in zip(results[1], results[0], strict=True):
        close(ours, reference, tolerance)


def on_both(name, backend):
    """A topology, and for each device what computes there: the plain way on the CPU."""
    topology = STRUCTURES[name]("gather_scatter")
    return topology, {"cpu": topology, "cuda": topology.with_backend(backend).to("cuda")}


@every_backend
@every_topology
def test_planar_operators(name, backend):
    topology, moved = on_both(name, backend)
    w = torch.rand(2, topology.num_edges).double()
    both = torch.rand(2, 2, topology.num_edges).double()
    x = torch.randn(2, 3, topology.num_nodes).double()
    e = torch.randn(2, 3, topology.num_edges).double()
    assert_same_on_both(lambda d, w, x: planar.laplacian(moved[d], w, x), w, x)
    assert_same_on_both(lambda d, w, x: planar.difference(moved[d], w, x), w, x)
    assert_same_on_both(lambda d, w, e: planar.divergence(moved[d], w, e), w, e)
    assert_same_on_both(lambda d, x: planar.distance(moved[d], x), x)
    assert_same_on_both(lambda d, w: planar.degree(moved[d], w), w)
    assert_same_on_both(lambda d, w, x: planar.directed_laplacian(moved[d], w, x), both, x)
    for norm in NORMS:
        assert_same_on_both(lambda d, s, n=norm: edge_softmax(moved[d], s, n), w)


@every_backend
@every_topology
def test_public_operators(name, backend):
    topology, moved = on_both(name, backend)
    weight = torch.rand(topology.edge_index.shape[1], 2).double()
    x = torch.randn(topology.num_nodes, 2, 3).double()
    e = torch.randn(len(topology.ends[0]), 2, 3).double()
    assert_same_on_both(lambda d, w, x: ops.laplacian(moved[d], w, x), weight, x)
    assert_same_on_both(lambda d, w, x: ops.difference(moved[d], w, x), weight, x)
    assert_same_on_both(lambda d, w, e: ops.difference_adjoint(moved[d], w, e), weight, e)
    assert_same_on_both(lambda d, w: ops.degree(moved[d], w), weight)
    assert_same_on_both(lambda d, w: ops.edge_softmax(moved[d], w), weight)


@every_backend
@pytest.mark.parametrize("name", ["grid", "graph"])
def test_float32_is_near_float64_at_size(name, backend):
    """Several tiles, borders that fit none of them, more channels than a thread holds."""
    grid = Grid(67, 131, 5, backend=backend, device="cuda")
    topology = grid if name == "grid" else Graph(grid.edge_index, grid.num_nodes, backend=backend)
    plain = topology.with_backend("gather_scatter").to("cpu")
    for channels in (1, 3, 6):
        w = torch.rand(2, 2, topology.num_edges)
        x = torch.randn(2, 2, channels, topology.num_nodes)
        e = torch.randn(2, 2, channels, topology.num_edges)
        for function, inputs in (
            (planar.laplacian, (w, x)),
            (planar.difference, (w, x)),
            (planar.divergence, (w, e)),
            (planar.distance, (x,)),
            (planar.degree, (w,)),
            (edge_softmax, (10 * w,)),
        ):
            expected = gradients_of(function, plain, [i.double() for i in inputs])
            actual = gradients_of(function, topology, [i.cuda() for i in inputs])
            for ours, reference in zip(actual, expected, strict=True):
                close(ours.double(), reference, 2e-4)


def gradients_of(function, topology, inputs):
    """Value and gradients, on the CPU."""
    leaves = [value.requires_grad_() for value in inputs]
    value = function(topology, *leaves)
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(7))
    found = torch.autograd.grad(value, leaves, direction.to(value))
    return [tensor.detach().cpu() for tensor in (value, *found)]


@pytest.mark.parametrize("backend", ["native", "triton", "torch"])
@pytest.mark.parametrize("name", ["grid6x7w5", "graph", "batch"])
def test_repeats_are_bitwise_equal(name, backend):
    topology = STRUCTURES[name](backend).to("cuda")
    if backend == "torch" and isinstance(topology, Graph):
        pytest.skip("index_add_ on CUDA adds in any order")
    w = torch.rand(4, topology.num_edges, device="cuda")
    x = torch.randn(4, 3, topology.num_nodes, device="cuda")
    e = torch.randn(4, 3, topology.num_edges, device="cuda")
    for function, inputs in (
        (planar.laplacian, (w, x)),
        (planar.difference, (w, x)),
        (planar.divergence, (w, e)),
        (planar.distance, (x,)),
        (edge_softmax, (w,)),
    ):
        first = gradients_of(function, topology, [i.clone() for i in inputs])
        for _ in range(3):
            again = gradients_of(function, topology, [i.clone() for i in inputs])
            assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))


def test_native_is_triton():
    pytest.importorskip("triton")
    for topology in (Grid(3, 3, 3, device="cuda"), STRUCTURES["graph"]("native").to("cuda")):
        assert type(topology.kernels) is type(topology.with_backend("triton").kernels)


def test_a_topology_on_another_device_is_named():
    graph = Graph(random_edges(5), 5)
    weight = torch.ones(graph.edge_index.shape[1], 1, device="cuda")
    with pytest.raises(ValueError, match="one device, got topology on cpu, weight on cuda:0"):
        ops.laplacian(graph, weight, torch.ones(5, 1, 1, device="cuda"))
    for grid in (Grid(2, 2, 3, device="cuda"), Grid(2, 2, 3).to("cuda")):
        ops.degree(grid, torch.ones(12, 1, device="cuda"))


def test_data_on_the_device_stays_there():
    pos = torch.rand(20, 2, device="cuda")
    edges = knn_edge_index(pos, 3)
    assert edges.is_cuda
    topology = Topology.from_data(Data(pos=pos, edge_index=edges))
    assert topology.device.type == "cuda"
    image = image_to_data(torch.rand(3, 4, 5, device="cuda"))
    assert {image.x.device, image.edge_index.device, image.pos.device} == {pos.device}
    assert isinstance(Topology.from_data(image), Grid)


@every_topology
def test_solvers(name):
    topology = STRUCTURES[name]("native")
    moved = topology.to("cuda")
    w = 0.1 + torch.rand(1, topology.num_edges).double()
    y = torch.randn(1, 2, topology.num_nodes).double()
    mask = torch.rand(2, topology.num_nodes) < 0.3
    mask[:, 0] = True
    for channel in mask:
        while (lost := topology.unobserved_component(channel)) is not None:
            channel[lost[0]] = True
    glr = solve_glr(GLR(topology, w), y, mask)
    other = solve_glr(GLR(moved, w.cuda()), y.cuda(), mask.cuda())
    assert other.converged
    close(other.value.cpu(), glr.value, 1e-9)
    solver = GTVSolver(tolerance=1e-6)
    gtv = solver.solve(GTV(topology, w), y, mask, glr.value)
    other = solver.solve(GTV(moved, w.cuda()), y.cuda(), mask.cuda(), glr.value.cuda())
    assert other.converged
    close(GTV(topology, w).energy(other.value.cpu()), GTV(topology, w).energy(gtv.value), 1e-4)


def images(dtype):
    y = torch.rand(2, 3, 9, 8, dtype=dtype)
    mask = torch.rand(3, 9, 8) < 0.4
    mask[:, 0, 0] = True
    return y, mask


@pytest.mark.parametrize("network", [UGLR, UGTV])
def test_networks_in_value_and_gradients(network):
    y, mask = images(torch.float64)
    model = network(3, **SMALL).double()
    results = []
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        out = model(y.to(device), mask.to(device))
        out.square().sum().backward()
        results.append([out.detach().cpu(), *(p.grad.cpu().clone() for p in model.parameters())])
        kept = mask.expand_as(y)
        assert torch.equal(out.detach().cpu()[kept], y[kept])
    for ours, reference in zip(results[1], results[0], strict=True):
        close(ours, reference, 1e-8)


@pytest.mark.parametrize(
    "network",
    [
        UGLR,
        UGTV,
        uglr_plus_with_all,
        functools.partial(uglr_plus_with_all, repeats=1, residual_pairs=1, carry_mix=True),
        functools.partial(uglr_plus_with_all, cell=2),
    ],
)
def test_captured_blocks_give_the_same_values_and_gradients(network):
    model = network(3, **SMALL).double().cuda()
    captured = capture_blocks(model)
    results = {model: [], captured: []}
    for seed in range(3):
        torch.manual_seed(seed)
        y, mask = (value.cuda() for value in images(torch.float64))
        for each, found in results.items():
            model.zero_grad()
            # Gradients of two backwards add up.
            for part in (y[:1], y[1:]):
                each(part, mask).square().sum().backward()
            with torch.inference_mode():
                found.append(each(y, mask).clone())
            found.extend(p.grad.clone() for p in model.parameters())
    for ours, reference in zip(results[captured], results[model], strict=True):
        close(ours, reference, 1e-11)


def test_captured_blocks_refuse_a_late_backward():
    captured = capture_blocks(UGLR(3, **SMALL).cuda())
    y, mask = (value.cuda() for value in images(torch.float32))
    first = captured(y, mask)
    second = captured(y, mask)
    second.sum().backward()
    with pytest.raises(RuntimeError, match="must come before its next forward"):
        first.sum().backward()


def test_captured_blocks_under_autocast():
    model = UGLR(3, **SMALL).cuda()
    captured = capture_blocks(model)
    y, mask = (value.cuda() for value in images(torch.float32))
    with torch.autocast("cuda", dtype=torch.bfloat16):
        close(captured(y, mask), model(y, mask), 1e-3)
        captured(y, mask).sum().backward()
    assert_all_finite(*(p.grad for p in model.parameters()))


@pytest.mark.parametrize("network", [UGLR, UGTV])
def test_networks_on_a_batch_of_graphs(network):
    model = network(1, **{**SMALL, "features_from": "gnn"}).double()
    data = [
        Data(
            x=torch.rand(n, 1).double(),
            mask=torch.arange(n) % 3 == 0,
            edge_index=random_edges(n, seed=n),
        )
        for n in (5, 9)
    ]
    expected = model.restore(Batch.from_data_list(data)).x
    moved = model.cuda().restore(Batch.from_data_list(data).to("cuda")).x
    close(moved.detach().cpu(), expected.detach(), 1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("network", [UGLR, UGTV])
def test_autocast_is_finite_and_keeps_the_samples(network, dtype):
    y, mask = images(torch.float32)
    y, mask = y.cuda().requires_grad_(), mask.cuda()
    model = network(3, **SMALL).cuda()
    expected = model(y, mask)
    with torch.autocast("cuda", dtype=dtype):
        out = model(y, mask)
    assert out.dtype == torch.float32
    out.square().mean().backward()
    assert_all_finite(out, y.grad, *(p.grad for p in model.parameters()))
    kept = mask.expand_as(y)
    assert torch.equal(out[kept], y[kept])
    close(out, expected, 0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_operators_under_autocast_compute_in_float32(dtype):
    for topology in (Grid(5, 6, 5), Graph(random_edges(12), 12).to("cuda")):
        w = torch.rand(2, topology.num_edges, device="cuda", requires_grad=True)
        x = torch.randn(2, 3, topology.num_nodes, device="cuda", requires_grad=True)
        expected = planar.laplacian(topology, w, x)
        with torch.autocast("cuda", dtype=dtype):
            inside = planar.laplacian(topology, w, x)
            inside.square().sum().backward()
        assert inside.dtype == torch.float32
        close(inside, expected, 1e-5)
        assert_all_finite(w.grad, x.grad)


@pytest.mark.parametrize("method", [IGLR(cg=ConjugateGradient(tolerance=1e-12)), IGTV()])
def test_model_based_methods(method):
    y, mask = images(torch.float64)
    close(method(y.cuda(), mask.cuda()).cpu(), method(y, mask), 1e-6)


def test_a_saved_network_loads_onto_the_device(tmp_path):
    model = UGLR(1, **SMALL).cuda()
    path = save_pretrained(model, tmp_path / "net.safetensors")
    loaded = load_pretrained(path, device="cuda")
    assert {p.device.type for p in loaded.parameters()} == {"cuda"}
    assert {p.device.type for p in load_pretrained(path).parameters()} == {"cpu"}
