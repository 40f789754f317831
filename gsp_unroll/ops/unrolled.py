r"""The solver part of a block as one differentiable operation, where a backend has it.

It computes what the layers of :mod:`gsp_unroll.nn` compute one after another, to rounding, but
keeps only its arguments for backward: all layers and CG steps are run again there, system by
system, in memory that a core has close by. Asked to ``keep``, it keeps the directions of all CG
steps instead, ``layers * steps`` signals a head. First derivatives only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gsp_unroll.ops.backends.base import UnrolledSolvers
from gsp_unroll.topology import Topology


def solvers(topology: Topology, *values: Tensor) -> UnrolledSolvers | None:
    """The compiled solvers of this topology that can compute with ``values``, if there are any."""
    found = topology.kernels.unrolled
    return found if found is not None and found.takes(*values) else None


def unrolled_glr(
    solvers: UnrolledSolvers,
    w: Tensor,
    x: Tensor,
    observed: Tensor,
    alpha: Tensor,
    beta: Tensor,
    kappa: Tensor,
    *,
    keep: bool = False,
) -> Tensor:
    """All layers of a uGLR block, see :class:`gsp_unroll.nn.GLRLayer`.

    Args:
        solvers: From :func:`solvers`.
        w: Symmetric weights ``[B, heads, M]``.
        x: Signal ``[B, C, N]`` with the samples in place.
        observed: Boolean ``[B, C, N]``.
        alpha: CG step sizes ``[layers, steps, heads]``.
        beta: CG momenta ``[layers, steps, heads]``; the last of each layer is not used.
        kappa: Proximal weights ``[layers]``.
        keep: Keep the directions of all CG steps for backward instead of running it again.

    Returns:
        ``[B, heads, C, N]``.
    """
    return _apply(solvers, "glr", keep, w, x, _free(x, observed), alpha, beta, kappa)


def unrolled_gtv(
    solvers: UnrolledSolvers,
    w: Tensor,
    x: Tensor,
    observed: Tensor,
    alpha: Tensor,
    beta: Tensor,
    threshold: Tensor,
    ratio: Tensor,
    *,
    keep: bool = False,
) -> Tensor:
    r"""All layers of a uGTV block, see :class:`gsp_unroll.nn.GTVLayer`.

    Args:
        solvers: From :func:`solvers`.
        w: Weights of :math:`C^\\top C`, ``[B, heads, M]``.
        x: Signal ``[B, C, N]`` with the samples in place.
        observed: Boolean ``[B, C, N]``.
        alpha: CG step sizes ``[layers, steps, heads]``.
        beta: CG momenta ``[layers, steps, heads]``; the last of each layer is not used.
        threshold: :math:`\kappa/\gamma` of each layer ``[layers]``.
        ratio: :math:`\gamma_{before}/\gamma` of each layer ``[layers]``, 1 for the first.
        keep: Keep the directions of all CG steps for backward instead of running it again.

    Returns:
        ``[B, heads, C, N]``.
    """
    free = _free(x, observed)
    return _apply(solvers, "gtv", keep, w, x, free, alpha, beta, threshold, ratio)


def unrolled_joint_glr(
    solvers: UnrolledSolvers,
    w: Tensor,
    x: Tensor,
    observed: Tensor,
    alpha: Tensor,
    beta: Tensor,
    kappa: Tensor,
    mix: Tensor,
    *,
    keep: bool = False,
) -> Tensor:
    r"""All layers of a uGLR+ block: as :func:`unrolled_glr` on :math:`\sum_hS_hL_h`.

    Args:
        solvers: From :func:`solvers`.
        w: Symmetric weights ``[B, heads, M]``.
        x: Signal ``[B, C, N]`` with the samples in place.
        observed: Boolean ``[B, C, N]``.
        alpha: CG step sizes ``[layers, steps]``.
        beta: CG momenta ``[layers, steps]``; the last of each layer is not used.
        kappa: Proximal weights ``[layers]``.
        mix: Symmetric positive semidefinite :math:`S_h` that mix the channels of a node,
            ``[heads, C, C]``; of others the symmetric part.
        keep: Keep the directions of all CG steps for backward instead of running it again.

    Returns:
        ``[B, C, N]``.
    """
    free = _free(x, observed)
    return _apply(solvers, "joint_glr", keep, w, x, free, alpha, beta, kappa, mix)


def _free(x: Tensor, observed: Tensor) -> Tensor:
    return (~observed).to(x.dtype).expand_as(x)


def _apply(solvers: UnrolledSolvers, prior: str, keep: bool, *arguments: Tensor) -> Tensor:
    keep = keep and torch.is_grad_enabled() and any(v.requires_grad for v in arguments)
    return _Unrolled.apply(solvers, prior, keep, *arguments)


class _Unrolled(Function):
    @staticmethod
    def forward(
        ctx: Any, solvers: UnrolledSolvers, prior: str, keep: bool, *arguments: Tensor
    ) -> Tensor:
        out, kept = getattr(solvers, f"{prior}_forward")(*arguments, keep=keep)
        ctx.solvers, ctx.prior, ctx.number = solvers, prior, len(arguments)
        ctx.save_for_backward(*arguments, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        backward = getattr(ctx.solvers, f"{ctx.prior}_backward")
        arguments, kept = ctx.saved_tensors[: ctx.number], ctx.saved_tensors[ctx.number :]
        gw, gx, *scalars = backward(g, kept, *arguments)
        return None, None, None, gw, gx, None, *scalars
