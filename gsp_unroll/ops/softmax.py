r"""Normalised edge weights from scores, ``w = exp(score)`` divided by the sum over each neighbourhood.

With :math:`\ell_i=\log\sum_{l\in N(i)}e^{s_{il}}` and :math:`p_{ij}=e^{s_{ij}-\ell_i}`:

==============  ===================================================  =================================
``softmax``     :math:`w_{ij}=\tfrac12(p_{ij}+p_{ji})`                scatter-softmax, symmetrised
``symmetric``   :math:`w_{ij}=e^{s_{ij}-(\ell_i+\ell_j)/2}`           :math:`D^{-1/2}WD^{-1/2}` (Do et al. 2024)
``directed``    :math:`W_{ij}=p_{ij}`                                 rows sum to one, not symmetric
==============  ===================================================  =================================

Everything is computed from :math:`s-\ell\le0`: no weight overflows, no sum underflows to 0/0, rows
sum to one to rounding, and isolated nodes have finite gradients, whatever the size of the scores.
"""  # noqa: E501

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gsp_unroll import checks
from gsp_unroll.ops.planar import Gradient, full_precision
from gsp_unroll.topology import Topology

NORMS = ("softmax", "symmetric", "directed")


def edge_softmax(topology: Topology, score: Tensor, norm: str = "softmax") -> Tensor:
    """Normalise ``exp(score)`` as ``norm`` says; see the module text.

    Args:
        topology: Structure.
        score: ``[*, M]``, e.g. minus a distance.
        norm: One of :data:`NORMS` (default: ``"softmax"``).

    Returns:
        Weights in ``[0, 1]``: ``[*, M]``, or ``[*, 2, M]`` if ``norm="directed"``.

    Raises:
        ValueError: If ``norm`` is unknown.
    """
    checks.one_of("norm", norm, NORMS)
    return _EdgeSoftmax.apply(topology, full_precision(score), norm)


class _EdgeSoftmax(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, score: Tensor, norm: str) -> Tensor:
        kernels = topology.kernels
        top = kernels.max_ends(score)
        top = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
        top_u, top_v = kernels.at_ends(top)
        total = kernels.sum_ends(torch.exp(score - top_u), torch.exp(score - top_v))
        isolated = total == 0
        log_total = torch.log(torch.where(isolated, torch.ones_like(total), total))
        ctx.topology, ctx.norm = topology, norm
        ctx.save_for_backward(score, top, log_total)
        return _weights(topology, score, top, log_total, norm)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        kernels = ctx.topology.kernels
        p_u, p_v = _weights(ctx.topology, *ctx.saved_tensors, "directed").unbind(-2)
        # part_u, part_v: derivative of the loss along -log-sum of either end.
        if ctx.norm == "softmax":
            part_u, part_v = g * p_u / 2, g * p_v / 2
        elif ctx.norm == "symmetric":
            part_u = part_v = g * _weights(ctx.topology, *ctx.saved_tensors, "symmetric") / 2
        else:
            part_u, part_v = g[..., 0, :] * p_u, g[..., 1, :] * p_v
        back_u, back_v = kernels.at_ends(kernels.sum_ends(part_u, part_v))
        return None, part_u + part_v - p_u * back_u - p_v * back_v, None


def _weights(
    topology: Topology, score: Tensor, top: Tensor, log_total: Tensor, norm: str
) -> Tensor:
    """The weights of the module text; zero in unused slots.

    The log-sum comes in two parts, ``top`` (largest score of the node) and ``log_total`` (the log
    of the sum of ``exp(score - top)``): their sum would round off ``log_total`` for large scores.
    """
    kernels = topology.kernels
    top_u, top_v = kernels.at_ends(top)
    log_u, log_v = kernels.at_ends(log_total)
    used = topology.used_slots
    if used is not None:
        unused = torch.ones(topology.num_edges, dtype=torch.bool, device=score.device)
        unused[used.to(score.device)] = False
        score = score.masked_fill(unused, -torch.inf)
    at_u, at_v = score - top_u - log_u, score - top_v - log_v
    if norm == "symmetric":
        return torch.exp((at_u + at_v) / 2)
    p_u, p_v = torch.exp(at_u), torch.exp(at_v)
    return (p_u + p_v) / 2 if norm == "softmax" else torch.stack([p_u, p_v], dim=-2)
