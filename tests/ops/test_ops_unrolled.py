"""A block in one compiled call is the block of separate layers, in values and gradients."""

from __future__ import annotations

import pytest
import torch

from gsp_unroll.models import UGLR, UGTV, UGLRPlus
from gsp_unroll.ops import unrolled
from gsp_unroll.ops.backends import memory
from gsp_unroll.ops.backends.base import SMALLEST_WEIGHT
from gsp_unroll.topology import Graph, Grid

pytest.importorskip("numba")

from gsp_unroll.ops.backends import numba_unrolled, numba_unrolled_loops

PRIORS = pytest.mark.parametrize("prior", ["glr", "gtv", "joint_glr"])
NETWORKS = pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus])
SIZES = pytest.mark.parametrize(
    ("height", "width", "window"),
    # The last one is more than a block of edges.
    [(7, 9, 5), (8, 6, 3), (9, 8, 7), (1, 5, 5), (6, 1, 5), (3, 2, 7), (1, 1, 3), (40, 37, 5)],
)
# With six layers edge variables are kept once, see `numba_unrolled_loops.KEPT`.
LAYERS = pytest.mark.parametrize("layers", [1, 2, 3, 4, 6])


def problem(height, width, window, *, batch=2, channels=3, heads=2, layers=3, steps=4, seed=0):
    """Random arguments of one block: grid, ``(w, x, observed, alpha, beta)``, scalars by layer."""
    rng = torch.Generator().manual_seed(seed)
    grid = Grid(height, width, window)

    def rand(*shape):
        return torch.rand(*shape, generator=rng, dtype=torch.float64)

    w = rand(batch, heads, grid.num_edges) / 12
    w[..., 0] = 0  # an edge that is cut, if the slot holds one
    x = rand(batch, channels, grid.num_nodes)
    observed = rand(batch, channels, grid.num_nodes) < 0.4
    alpha, beta = 0.3 + 0.4 * rand(layers, steps, heads), 0.2 * rand(layers, steps, heads)
    transform = rand(heads, channels, channels)
    by_layer = {
        "glr": (0.1 * rand(layers),),
        "gtv": (0.05 * rand(layers), 0.5 + rand(layers)),
        "joint_glr": (0.1 * rand(layers), transform.mT @ transform / channels),
    }
    return grid, (w, x, observed, alpha, beta), by_layer


def call(prior, grid, arguments, by_layer, **options):
    w, x, observed, alpha, beta = arguments
    if prior == "joint_glr":
        # One system: no scalars for each head.
        alpha, beta = alpha[..., 0], beta[..., 0]
    function = getattr(unrolled, f"unrolled_{prior}")
    solvers = unrolled.solvers(grid, w, x)
    return function(solvers, w, x, observed, alpha, beta, *by_layer, **options)


def model(network, window, layers=3, channels=3, **options):
    """A small float64 network whose learned scalars are all different."""
    torch.manual_seed(1)
    out = network(
        channels, blocks=2, layers=layers, cg_steps=4, heads=2, features=3, maps=4, window=window,
        **options,
    ).double()  # fmt: skip
    with torch.no_grad():
        for name, parameter in out.named_parameters():
            if "net" not in name and "metric" not in name:
                parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
    return out.train()


def run(network, backend, height, width, window, channels=3, **options):
    """Values and gradients, by name, of a network on a grid."""
    net = model(network, window, channels=channels, **options)
    rng = torch.Generator().manual_seed(2)
    shape = (2, channels, height * width)
    mask = torch.rand(shape, generator=rng) < 0.4
    mask[..., 0] = True
    y = torch.rand(shape, generator=rng, dtype=torch.float64).where(mask, torch.zeros(()))
    y.requires_grad_()
    out = net(y, mask, Grid(height, width, window, backend=backend))
    (out * torch.rand(shape, generator=rng, dtype=torch.float64)).sum().backward()
    gradients = {name: p.grad for name, p in net.named_parameters()}
    return out.detach(), {**gradients, "y": y.grad}


def assert_gradients(gradients, expected):
    for name, gradient in expected.items():
        # That of the last bias is rounding alone: distances do not depend on it.
        smallest = 1e-5 if name.endswith("net.6.bias") else 1e-6
        scale = max(float(gradient.abs().max()), smallest)
        close = torch.isclose(gradients[name], gradient, rtol=1e-8, atol=1e-9 * scale)
        assert bool(close.all()), name


@NETWORKS
@SIZES
@pytest.mark.parametrize(
    "options",
    [{}, {"checkpointing": True}, {"layers": 1}, {"checkpointing": True, "keep_directions": True}],
    ids=["plain", "checkpointed", "single", "kept"],
)
def test_one_call_is_the_layers_one_by_one(network, height, width, window, options):
    value, gradients = run(network, "native", height, width, window, **options)
    expected, layerwise = run(network, "torch", height, width, window, **options)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13)
    assert_gradients(gradients, layerwise)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_joint_system_of_any_number_of_channels(monkeypatch, channels):
    calls = []

    def unrolled_joint_glr(*arguments, **options):
        calls.append(arguments)
        return joint_glr(*arguments, **options)

    joint_glr = unrolled.unrolled_joint_glr
    monkeypatch.setattr(unrolled, "unrolled_joint_glr", unrolled_joint_glr)
    value, gradients = run(UGLRPlus, "native", 37, 40, 5, channels)
    # Two blocks in one call each, if there are no more channels than heads or three.
    assert len(calls) == (2 if channels <= 3 else 0)
    expected, layerwise = run(UGLRPlus, "torch", 37, 40, 5, channels)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13)
    assert_gradients(gradients, layerwise)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_gradients_of_any_number_of_channels_are_those_of_finite_differences(channels):
    grid, (w, x, observed, alpha, beta), by_layer = problem(
        3, 4, 3, batch=1, channels=channels, layers=2, steps=3
    )
    *layerwise, mix = by_layer["joint_glr"]
    inputs = [t.requires_grad_() for t in (x, alpha, beta, *layerwise, mix)]

    def function(x, alpha, beta, *scalars):
        return call("joint_glr", grid, (w, x, observed, alpha, beta), scalars)

    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("layers", [7, 11])
@pytest.mark.parametrize(("height", "width"), [(7, 9), (40, 37)])
def test_many_layers_are_the_layers_one_by_one(layers, height, width):
    value, gradients = run(UGTV, "native", height, width, 5, layers=layers)
    expected, layerwise = run(UGTV, "torch", height, width, 5, layers=layers)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13)
    assert_gradients(gradients, layerwise)


def test_number_of_layers_that_keep_their_edge_variables():
    for layers in range(1, 30):
        kept = [numba_unrolled_loops._is_kept.py_func(layer, layers) for layer in range(layers)]
        assert numba_unrolled_loops.number_kept(layers) == sum(kept)


@pytest.mark.parametrize(
    ("layers", "forward", "kept", "gradients"),
    [(1, 0, 0, 0), (2, 0, 0, 0), (3, 0, 0, 3), (5, 0, 0, 3), (6, 3, 1, 3), (9, 3, 1, 3),
     (10, 3, 2, 3)],
)  # fmt: skip
def test_edge_variables_are_kept_after_every_fourth_layer(
    monkeypatch, layers, forward, kept, gradients
):
    # Of 3 channels; their gradients unless these come from the last layer.
    grid, (w, x, *rest), by_layer = problem(5, 7, 5, batch=1, heads=1, layers=layers)
    asked = []

    def empty(*shape, like):
        asked.append(shape)
        return memory.empty(*shape, like=like)

    monkeypatch.setattr(numba_unrolled, "empty", empty)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        call("gtv", grid, (w.requires_grad_(), x, *rest), by_layer["gtv"]).sum().backward()
    finally:
        torch.set_num_threads(threads)
    edges = len(grid.offsets), 1, numba_unrolled_loops.BLOCK
    asked = [shape[:-3] for shape in asked if shape[-3:] == edges]
    # Of one system at a time; one without channels if there is nothing to keep.
    back = (1, kept, 3) if kept else (1, 1, 0)
    assert asked == [(1, 1, forward), back, (gradients,)]


@PRIORS
@pytest.mark.parametrize("layers", [1, 3, 6, 10])
@pytest.mark.parametrize("threads", [1, 5])
def test_kept_directions_are_those_that_backward_makes_again(monkeypatch, prior, layers, threads):
    def poisoned(*shape, like):
        return memory.empty(*shape, like=like).fill_(torch.nan)

    for name in ("empty", "empty_to_keep"):
        monkeypatch.setattr(numba_unrolled, name, poisoned)
    grid, (w, x, observed, *steps), by_layer = problem(40, 37, 5, batch=1, layers=layers)
    inputs = [v.requires_grad_() for v in (w, x, *steps, *by_layer[prior])]
    before, results = torch.get_num_threads(), []
    try:
        # With more threads than systems these would be shared out by channels.
        torch.set_num_threads(threads)
        for keep in (False, True):
            out = call(prior, grid, (w, x, observed, *steps), by_layer[prior], keep=keep)
            results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(torch.isfinite(v).all() for v in results[0])


@PRIORS
def test_directions_are_kept_for_gradients_only(prior):
    grid, (w, x, *rest), by_layer = problem(5, 7, 5)
    solvers, asked = unrolled.solvers(grid, w, x), []

    class Spy:
        def __getattr__(self, name):
            def spied(*arguments, keep):
                asked.append(keep)
                return getattr(solvers, name)(*arguments, keep=keep)

            return spied

    def result(keep):
        scalars = [v[..., 0] for v in rest[1:]] if prior == "joint_glr" else rest[1:]
        function = getattr(unrolled, f"unrolled_{prior}")
        return function(Spy(), w, x, rest[0], *scalars, *by_layer[prior], keep=keep)

    without = result(True)
    w.requires_grad_()
    with torch.no_grad():
        assert torch.equal(result(True), without)
    result(False)
    assert asked == [False] * 3
    result(True)
    assert asked[3:] == [True]


@PRIORS
@LAYERS
def test_gradients_are_those_of_finite_differences(prior, layers):
    grid, (w, x, observed, alpha, beta), by_layer = problem(
        3, 4, 3, batch=1, layers=layers, steps=3
    )
    used = grid.used_slots
    small = w[..., used].clamp(min=0.01).requires_grad_()
    inputs = [small, *(t.requires_grad_() for t in (x, alpha, beta, *by_layer[prior]))]

    def function(w_used, x, alpha, beta, *scalars):
        w = x.new_zeros(1, 2, grid.num_edges).index_copy(-1, used, w_used)
        return call(prior, grid, (w, x, observed, alpha, beta), scalars)

    assert torch.autograd.gradcheck(function, inputs)


@LAYERS
def test_weights_below_the_smallest_one_get_no_gradient(layers):
    block = model(UGTV, 5, layers=layers).blocks[0]
    _, (w, x, observed, *_), _ = problem(9, 8, 5)
    rng = torch.Generator().manual_seed(3)
    raised = torch.rand(w.shape, generator=rng) < 0.3
    w = w.masked_fill(raised, SMALLEST_WEIGHT / 100)
    target, gradients = torch.rand(2, 2, 3, 72, generator=rng, dtype=torch.float64), []
    for backend in ("native", "torch"):
        grid = Grid(9, 8, backend=backend)
        weight = w.clone().requires_grad_()
        (block.solve(grid, weight, x, observed) * target).sum().backward()
        used = weight.grad[..., grid.used_slots]
        assert not used[raised[..., grid.used_slots]].any()
        gradients.append(used)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@PRIORS
def test_unused_slots_are_never_read_and_get_no_gradient(prior):
    grid, (w, x, *rest), by_layer = problem(4, 5, 5)
    unused = torch.ones(grid.num_edges, dtype=torch.bool)
    unused[grid.used_slots] = False
    w.requires_grad_()
    poisoned = w.masked_fill(unused, torch.nan).detach().requires_grad_()
    clean, dirty = (call(prior, grid, (v, x, *rest), by_layer[prior]) for v in (w, poisoned))
    assert torch.equal(clean, dirty)
    dirty.square().sum().backward()
    assert torch.isfinite(poisoned.grad).all()
    assert not poisoned.grad[..., unused].any()


@PRIORS
def test_results_do_not_depend_on_the_number_of_threads(prior):
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            for batch in (1, 3):  # with one image the channels are shared out, too
                grid, (w, x, *rest), by_layer = problem(9, 7, 5, batch=batch)
                arguments = (w.requires_grad_(), x.requires_grad_(), *rest)
                value = call(prior, grid, arguments, by_layer[prior])
                gradients = torch.autograd.grad(value.square().sum(), arguments[:2])
                results.append((batch, value.detach(), *gradients))
    finally:
        torch.set_num_threads(before)
    for batch, *tensors in results[2:]:
        expected = results[0 if batch == 1 else 1][1:]
        assert all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True))


@PRIORS
def test_single_precision_is_the_same_to_rounding(prior):
    grid, arguments, by_layer = problem(8, 9, 5)
    double = call(prior, grid, arguments, by_layer[prior])
    single = call(
        prior,
        grid,
        [t.float() if t.is_floating_point() else t for t in arguments],
        [t.float() for t in by_layer[prior]],
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, double.float(), rtol=1e-5, atol=1e-6)


def test_observed_samples_come_back_bit_for_bit():
    for prior in ("glr", "gtv"):
        grid, (w, x, observed, *rest), by_layer = problem(6, 6, 5)
        out = call(prior, grid, (w, x, observed, *rest), by_layer[prior])
        for h in range(2):
            assert torch.equal(out[:, h][observed], x[observed])
    out = call("joint_glr", grid, (w, x, observed, *rest), by_layer["joint_glr"])
    assert torch.equal(out[observed], x[observed])


@PRIORS
def test_signals_and_weights_of_another_grid_are_refused(prior):
    grid, (w, x, observed, *rest), by_layer = problem(5, 4, 3)
    _, (other_w, other_x, other_observed, *_), _ = problem(5, 5, 3)
    for arguments in ((other_w, x, observed), (w, other_x, other_observed)):
        with pytest.raises(ValueError, match="cannot reshape array"):
            call(prior, grid, (*arguments, *rest), by_layer[prior])


def test_second_derivatives_are_refused():
    grid, (w, x, *rest), by_layer = problem(3, 3, 3)
    value = call("glr", grid, (w.requires_grad_(), x, *rest), by_layer["glr"])
    (gradient,) = torch.autograd.grad(value.square().sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_what_is_not_compiled_runs_layer_by_layer():
    grid = Grid(4, 4, 3)
    single, double = torch.rand(2), torch.rand(2, dtype=torch.float64)
    assert unrolled.solvers(grid, single, single) is not None
    assert unrolled.solvers(grid, single, double) is None
    assert unrolled.solvers(grid, single.half()) is None
    assert unrolled.solvers(grid.with_backend("torch"), single) is None
    assert unrolled.solvers(Graph(grid.edge_index, 16), single) is None
