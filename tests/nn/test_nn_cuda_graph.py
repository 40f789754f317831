"""Captured blocks, as far as a CPU can tell; `test_cuda.py` replays them."""

import contextlib

import pytest
import torch
from helpers import STRUCTURES, uglr_plus_with_all
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gsp_unroll.models import UGLR, UGTV
from gsp_unroll.nn import capture_blocks, cuda_graph
from gsp_unroll.topology import Grid

SMALL = {"blocks": 1, "layers": 2, "cg_steps": 3, "heads": 2, "features": 3, "maps": 6, "window": 3}

# Operations whose result, or its shape, is only known once the device has computed it.
ASKING = {
    "aten::_local_scalar_dense", "aten::is_nonzero", "aten::item", "aten::nonzero",
    "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::equal", "aten::bincount",
}  # fmt: skip


class NoQuestions(TorchDispatchMode):
    """Raise where the host would have to wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func._schema.name not in ASKING, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("network", [UGLR, UGTV, uglr_plus_with_all])
@pytest.mark.parametrize("norm", ["softmax", "symmetric"])
@pytest.mark.parametrize("name", ["grid5x4w3", "graph"])
def test_a_block_asks_the_device_for_no_value(network, norm, name):
    topology = STRUCTURES[name]("gather_scatter" if name == "graph" else "torch")
    features = "cnn" if isinstance(topology, Grid) else "mlp"
    block = network(1, **SMALL, norm=norm, features_from=features).blocks[0]
    x = torch.rand(2, 1, topology.num_nodes, requires_grad=True)
    observed = torch.arange(topology.num_nodes) % 2 == 0
    # What a topology caches is made before a capture.
    block(topology, x, observed.expand_as(x), None)[0].sum().backward()
    with NoQuestions():
        block(topology, x, observed.expand_as(x), None)[0].sum().backward()


def test_the_guard_sees_questions():
    with NoQuestions(), pytest.raises(AssertionError, match="waits for the device"):
        bool(torch.ones(3).any())


def test_only_networks_on_cuda_are_captured():
    with pytest.raises(ValueError, match=r"network must be on a CUDA device .* got cpu; use netw"):
        capture_blocks(UGLR(1, **SMALL))
    with pytest.raises(ValueError, match="must be on a CUDA device, got cpu for number 0"):
        cuda_graph.Recording(lambda x: (x,), (torch.ones(2),), ())


class Repeat:
    """Stands in for a recording: runs the function each time."""

    made = 0

    def __init__(self, function, inputs, parameters):
        type(self).made += 1
        self.function, self.parameters = function, parameters

    def __call__(self, *inputs: Tensor):
        return self.function(*inputs)


def test_each_kind_of_input_is_recorded_once(monkeypatch):
    monkeypatch.setattr(cuda_graph, "Recording", Repeat)
    monkeypatch.setattr(Repeat, "made", 0)
    block = UGLR(1, **SMALL).blocks[0]
    captured = cuda_graph.CapturedBlock(block)
    grid = Grid(4, 5, 3)
    x, observed = torch.rand(2, 1, 20), (torch.arange(20) % 2 == 0).expand(2, 1, 20)
    kinds = [
        (grid, x, observed), (Grid(4, 5, 3), x + 1, ~observed),  # the same kind
        (grid, x[:1], observed[:1]), (Grid(5, 4, 3), x, observed),
        (grid, x.clone().requires_grad_(), observed),
    ]  # fmt: skip
    for arguments in kinds:
        result = captured(*arguments, None)
        assert torch.equal(result.estimate, block(*arguments, None).estimate)
        assert not result.weight.requires_grad
        assert result.mean is result.maps is None
    assert Repeat.made == 4
    with torch.no_grad():
        captured(grid, x, observed, None)
    captured.eval()(grid, x, observed, None)
    monkeypatch.setattr(cuda_graph, "_autocast", lambda: (True, torch.bfloat16))
    captured(grid, x, observed, None)
    assert Repeat.made == 7
    assert captured.reach == block.reach
    assert captured.skip is block.skip
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = captured.nothing


def test_a_block_that_repeats_with_deeper_features_is_captured_too(monkeypatch):
    monkeypatch.setattr(cuda_graph, "Recording", Repeat)
    block = uglr_plus_with_all(1, **SMALL, repeats=1, residual_pairs=1).blocks[-1]
    x, observed = torch.rand(2, 1, 20), (torch.arange(20) % 2 == 0).expand(2, 1, 20)
    maps = torch.rand(2, block.config.maps, 4, 5) if block.features.carry is not None else None
    arguments = Grid(4, 5, 3), x, observed, None, maps
    for got, expected in zip(
        cuda_graph.CapturedBlock(block)(*arguments), block(*arguments), strict=True
    ):
        assert torch.equal(got, expected)


def test_the_copy_shares_parameters_and_leaves_the_network_alone(monkeypatch):
    monkeypatch.setattr(cuda_graph, "Recording", Repeat)
    network = UGLR(1, **SMALL)
    monkeypatch.setattr(cuda_graph, "_device", lambda network: torch.device("cuda"))
    before = list(network.state_dict())
    captured = capture_blocks(network)
    assert [id(p) for p in captured.parameters()] == [id(p) for p in network.parameters()]
    assert list(network.state_dict()) == before
    y, mask = torch.rand(1, 1, 6, 7), torch.rand(1, 6, 7) < 0.5
    assert torch.equal(captured(y, mask), network(y, mask))
    full = uglr_plus_with_all(1, **SMALL)
    assert torch.equal(capture_blocks(full)(y, mask), full(y, mask))
    with pytest.raises(ValueError, match="must not use checkpointing"):
        capture_blocks(UGLR(1, **SMALL, checkpointing=True))


@pytest.fixture
def fake_cuda(monkeypatch):
    """Streams and graphs that do nothing: what was recorded is what a replay gives."""

    class Graph:
        def replay(self):
            pass

        def pool(self):
            return None

    class Stream:
        def wait_stream(self, other):
            pass

    nothing = lambda *args, **kwargs: contextlib.nullcontext()  # noqa: E731
    for name, value in {
        "Stream": Stream, "current_stream": Stream, "stream": nothing, "graph": nothing,
        "device": nothing, "CUDAGraph": Graph,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(cuda_graph, "_require_cuda", lambda inputs: None)


def test_results_of_a_recording_are_copies_with_gradients_of_their_own(fake_cuda):
    layer = torch.nn.Linear(3, 3)
    unused = torch.ones(1, requires_grad=True)
    x, other = torch.rand(2, 3, requires_grad=True), torch.rand(2, 3)
    recording = cuda_graph.Recording(
        lambda x, other: (layer(x) * other, other + 1), (x, other), (*layer.parameters(), unused)
    )
    value, plain = recording(x, other)
    assert torch.equal(value, layer(x) * other)
    assert torch.equal(plain, other + 1)
    assert value.requires_grad
    assert not plain.requires_grad
    assert value.data_ptr() != recording.outputs[0].data_ptr()
    value.sum().backward()
    assert x.grad.shape == x.shape
    assert unused.grad is None
    kept = {grad.data_ptr() for grad in recording.grads if grad is not None}
    assert not kept & {p.grad.data_ptr() for p in (x, *layer.parameters())}


def test_a_late_backward_is_refused(fake_cuda):
    x = torch.rand(3, requires_grad=True)
    recording = cuda_graph.Recording(lambda x: (2 * x,), (x,), ())
    first, second = recording(x)[0], recording(x)[0]
    with pytest.raises(RuntimeError, match="backward of a captured block must come before"):
        first.sum().backward()
    second.sum().backward()


def test_without_gradients_there_is_no_backward_to_record(fake_cuda):
    x = torch.rand(3)
    with torch.inference_mode():
        recording = cuda_graph.Recording(lambda x: (2 * x,), (x,), (torch.nn.Parameter(x),))
    assert recording.backward is None
    with torch.no_grad():
        assert not recording(x)[0].requires_grad
