"""Blocks of a network as CUDA graphs: one launch instead of thousands, for small batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gsp_unroll import checks
from gsp_unroll.topology import Topology

# cuDNN and Triton choose, compile and allocate in the first calls; those cannot be captured.
_WARMUP = 3


def capture_blocks(network: nn.Module) -> nn.Module:
    """Return ``network`` with its blocks captured as CUDA graphs, forward and backward.

    The first call with a new shape (or topology, dtype, grad mode, autocast) runs the block a few
    times and records it; later ones copy the input and replay. Checks of the arguments and the
    first guess, which ask the device for values, stay outside. The result shares its parameters
    with ``network``: train it, and save ``network``. Each shape holds its memory until the result
    is deleted. Not for ``checkpointing``, nor for gradients of gradients, nor for
    ``DistributedDataParallel``; a backward must come before the next forward of the same shape.

    Args:
        network: An unrolled network on a CUDA device.

    Raises:
        ValueError: If the network is not on a CUDA device, or uses checkpointing.

    Examples:
        >>> fast = capture_blocks(UGLR().cuda())  # doctest: +SKIP
        >>> fast(y, mask)  # doctest: +SKIP
    """
    device = _device(network)
    if device.type != "cuda":
        raise ValueError(
            f"network must be on a CUDA device to be captured, got {device}; use network.cuda(), "
            "or the network as it is on other devices"
        )
    if network.config.checkpointing:
        raise ValueError("network must not use checkpointing, which a CUDA graph cannot repeat")
    captured = copy.copy(network)
    # A module keeps its parts in a dictionary that the copy would share.
    captured._modules = dict(network._modules)
    captured.blocks = nn.ModuleList(CapturedBlock(block) for block in network.blocks)
    return captured


class CapturedBlock(nn.Module):
    """A block that runs as a CUDA graph, one for each kind of input.

    Args:
        block: :class:`~gsp_unroll.models.unrolled.UnrolledBlock`; it must not ask the device for
            values.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self._recorded: dict[tuple[Any, ...], Recording] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("block"), name)

    def forward(
        self,
        topology: Topology,
        x: Tensor,
        observed: Tensor,
        attributes: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Any:
        """As the block itself; no gradient goes through the returned weights."""
        given = (x, observed, attributes, carried)
        present = [k for k, value in enumerate(given) if value is not None]
        inputs = tuple(given[k] for k in present)
        key = (topology, torch.is_grad_enabled(), self.training, *_autocast(), *present)
        key += tuple(map(_kind, inputs))
        if key not in self._recorded:
            # Graphs give tensors only: which of the results of the block those are.
            form: list[Any] = []

            def run(*values: Tensor) -> tuple[Tensor, ...]:
                arguments: list[Tensor | None] = [None] * len(given)
                for k, value in zip(present, values, strict=True):
                    arguments[k] = value
                result = self.block(topology, *arguments)
                result = result._replace(weight=result.weight.detach())
                form[:] = [result._make(value is not None for value in result)]
                return tuple(value for value in result if value is not None)

            self._recorded[key] = Recording(run, inputs, tuple(self.block.parameters())), form
        recording, form = self._recorded[key]
        found = iter(recording(*inputs))
        return form[0]._make(next(found) if there else None for there in form[0])


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _kind(value: Tensor) -> tuple[Any, ...]:
    return value.shape, value.dtype, value.device, value.requires_grad


def _autocast() -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")


class Recording:
    """A function on a CUDA device recorded once, with its backward, to be replayed.

    Args:
        function: Takes tensors and returns a tuple of tensors.
        inputs: Arguments like those of every later call.
        parameters: Further tensors that it reads and that may want gradients.

    Raises:
        ValueError: If an input is not on a CUDA device.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: tuple[Tensor, ...],
        parameters: tuple[Tensor, ...],
    ) -> None:
        _require_cuda(inputs)
        self.parameters = parameters
        self.calls = 0
        # Plain tensors even in inference mode: they are written to outside of it later.
        needs_grad = torch.is_grad_enabled()
        with (
            torch.inference_mode(False),
            torch.set_grad_enabled(needs_grad),
            torch.cuda.device(inputs[0].device),
        ):
            self.inputs = tuple(_static(value) for value in inputs)
            self._record(function)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Replay with new values of the inputs."""
        if self.backward is None:
            return self.run(*inputs)
        return _Replay.apply(self, *inputs, *self.parameters)

    @torch.no_grad()
    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Replay the forward; results are copies, which the next replay does not overwrite."""
        self.calls += 1
        for static, value in zip(self.inputs, inputs, strict=True):
            static.copy_(value)
        self.forward.replay()
        return tuple(output.clone() for output in self.outputs)

    @torch.no_grad()
    def run_back(self, *grads: Tensor | None) -> list[Tensor | None]:
        """Replay the backward; one gradient, or ``None``, for each input and parameter."""
        for static, grad in zip(self.grad_outputs, grads, strict=True):
            if static is not None:
                static.zero_() if grad is None else static.copy_(grad)
        self.backward.replay()
        found = iter(self.grads)
        every = (next(found) if t.requires_grad else None for t in self._surface())
        return [None if grad is None else grad.clone() for grad in every]

    def _surface(self) -> tuple[Tensor, ...]:
        return *self.inputs, *self.parameters

    def _record(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        wanted = [tensor for tensor in self._surface() if tensor.requires_grad]
        # Cached casts of autocast would be made once, outside of the graph.
        on, dtype = _autocast()
        with torch.autocast("cuda", dtype=dtype, enabled=on, cache_enabled=False):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARMUP):
                    outputs = function(*self.inputs)
                    self._back(outputs, [torch.empty_like(o) for o in outputs], wanted)
                del outputs
            torch.cuda.current_stream().wait_stream(side)
            self.forward = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.forward):
                self.outputs = function(*self.inputs)
        self.grad_outputs = [torch.empty_like(o) if o.requires_grad else None for o in self.outputs]
        self.backward: torch.cuda.CUDAGraph | None = None
        self.grads: tuple[Tensor | None, ...] = ()
        if any(output.requires_grad for output in self.outputs):
            self.backward = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.backward, pool=self.forward.pool()):
                self.grads = self._back(self.outputs, self.grad_outputs, wanted)

    @staticmethod
    def _back(
        outputs: tuple[Tensor, ...], grads: list[Tensor | None], wanted: list[Tensor]
    ) -> tuple[Tensor | None, ...]:
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
        if not pairs:
            return ()
        values, directions = zip(*pairs, strict=True)
        return torch.autograd.grad(values, wanted, directions, allow_unused=True)


class _Replay(Function):
    @staticmethod
    def forward(ctx: Any, recording: Recording, *tensors: Tensor) -> tuple[Tensor, ...]:
        results = recording.run(*tensors[: len(recording.inputs)])
        ctx.recording, ctx.call = recording, recording.calls
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(
            *(
                result
                for result, static in zip(results, recording.outputs, strict=True)
                if not static.requires_grad
            )
        )
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.call != ctx.recording.calls:
            raise RuntimeError(
                "backward of a captured block must come before its next forward with inputs of "
                "the same shape, which overwrites what backward needs"
            )
        return None, *ctx.recording.run_back(*grads)


def _require_cuda(inputs: tuple[Tensor, ...]) -> None:
    for number, value in enumerate(inputs):
        if not value.is_cuda:
            raise ValueError(
                f"inputs of a CUDA graph must be on a CUDA device, got {value.device} for number "
                f"{number}"
            )
    checks.same_device(**{f"input {k}": value for k, value in enumerate(inputs)})


def _static(value: Tensor) -> Tensor:
    copied = value.detach().clone(memory_format=torch.contiguous_format)
    return copied.requires_grad_(value.requires_grad)
