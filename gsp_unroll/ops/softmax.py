r"""Normalised edge weights from scores, ``w = exp(score)`` divided by the sum over each neighbourhood.

With :math:`\ell_i=\log\sum_{l\in N(i)}e^{s_{il}}` and :math:`p_{ij}=e^{s_{ij}-\ell_i}`:

==============  ===================================================  =================================
``softmax``     :math:`w_{ij}=\tfrac12(p_{ij}+p_{ji})`                scatter-softmax, symmetrised
``symmetric``   :math:`w_{ij}=e^{s_{ij}-(\ell_i+\ell_j)/2}`           :math:`D^{-1/2}WD^{-1/2}` (Do et al. 2024)
``directed``    :math:`W_{ij}=p_{ij}`                                 rows sum to one, not symmetric
==============  ===================================================  =================================

Everything is computed from :math:`s-\max s\le0`: no weight overflows, no sum underflows to 0/0, rows
sum to one to rounding, and isolated nodes have finite gradients, whatever the size of the scores.
"""  # noqa: E501

from __future__ import annotations

from typing import Any

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
        w, *shares = topology.kernels.edge_softmax(score, norm, keep=ctx.needs_input_grad[1])
        ctx.topology, ctx.norm = topology, norm
        ctx.save_for_backward(w, *shares)
        return w

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        kernels = ctx.topology.kernels
        return None, kernels.edge_softmax_backward(g, ctx.norm, *ctx.saved_tensors), None
