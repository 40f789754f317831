"""How Triton kernels are launched, and what those on grids and on graphs share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import triton
from torch import Tensor

# A kernel holds this many channels of a node at once, and loops over the rest.
_MOST_CHANNELS = 4


def launch(kernel: Any, programs: int, *arguments: Tensor | int, **constants: Any) -> None:
    """Run ``programs`` instances of ``kernel`` on the device of its tensors.

    Args:
        kernel: A function made by ``triton.jit``.
        programs: Number of instances; nothing happens if it is 0.
        arguments: Tensors of one device, and numbers.
        constants: ``constexpr`` arguments and options of the compiler.

    Raises:
        ValueError: If a tensor is not on a CUDA device and kernels are not interpreted.
    """
    values = [a.contiguous() if isinstance(a, Tensor) else a for a in arguments]
    tensors = [value for value in values if isinstance(value, Tensor)]
    interpreted = not isinstance(kernel, triton.JITFunction)
    for tensor in tensors:
        if not (tensor.is_cuda or interpreted):
            raise ValueError(
                f"backend 'triton' computes on CUDA tensors, got one on {tensor.device}; move it, "
                "or start Python with TRITON_INTERPRET=1 to debug kernels on the CPU"
            )
    if programs:
        with torch.cuda.device_of(tensors[0]):
            # Fused multiply-adds, said aloud: the default differs between versions of Triton.
            kernel[(programs,)](*values, enable_fp_fusion=True, **constants)


def new(shape: Sequence[int], *operands: Tensor) -> Tensor:
    """An uninitialised result of ``operands``."""
    dtype = reduce(torch.promote_types, (operand.dtype for operand in operands))
    return torch.empty(shape, dtype=dtype, device=operands[0].device)


def channels_at_once(x: Tensor) -> int:
    """Channels of ``x [*, C, N]`` that one pass over the weights computes."""
    return min(x.shape[-2], _MOST_CHANNELS)


def softmax_results(score: Tensor, norm: str) -> tuple[Tensor, ...]:
    """Uninitialised results of ``Kernels.edge_softmax``: weights, then shares as ``norm`` needs."""
    if norm == "directed":
        return (new((*score.shape[:-1], 2, score.shape[-1]), score),)
    return tuple(new(score.shape, score) for _ in range(2 if norm == "softmax" else 3))


def by_role(w: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(w, p_u, p_v)``; the weights stand in for shares that are not held and not used."""
    p_u, p_v = (*shares, w, w)[:2]
    return w, p_u, p_v
