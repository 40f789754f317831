"""Let each node choose between several graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gsp_unroll.ops.planar import Gradient, full_precision
from gsp_unroll.topology import Topology

# Below this the total degree of a node counts as this: nodes without an edge.
_SMALLEST_DEGREE = 1e-12


def gated_weights(topology: Topology, weight: Tensor, gate: Tensor) -> Tensor:
    r"""Weights of several graphs, gated at both ends and normalised together.

    .. math::
        \tilde w^h_{ij}=\frac{g^h_ig^h_jw^h_{ij}}{\sqrt{D_iD_j}},\qquad
        D_i=\sum_h\sum_jg^h_ig^h_jw^h_{ij}

    A node whose gate is large in one graph and small in the others follows that graph. The sum
    over the graphs is normalised symmetrically, so its Laplacian has eigenvalues of about 2 at
    most, as that of each graph alone. The gradient can not be differentiated again.

    Args:
        topology: Structure.
        weight: Symmetric weights ``[B, heads, M]``, at least 0.
        gate: Positive ``[B, heads, N]``.

    Returns:
        ``[B, heads, M]``, symmetric.
    """
    return _GatedWeights.apply(topology, full_precision(weight), full_precision(gate))


class _GatedWeights(Function):
    r"""The gradients, for a gradient :math:`G` with respect to the result.

    With :math:`r_i=D_i^{-1/2}` and the gradient :math:`\tau` with respect to :math:`D`:

    .. math::
        t^h_i=\sum_jG^h_{ij}w^h_{ij}g^h_jr_j,\qquad \tau_i=-\tfrac12r_i^3\sum_ht^h_ig^h_i\\
        \partial w^h_{ij}=g^h_ig^h_j(G^h_{ij}r_ir_j+\tau_i+\tau_j),\qquad
        \partial g^h=t^hr+\tau W^hg^h+W^h(\tau g^h)
    """

    @staticmethod
    def forward(ctx: Any, topology: Topology, weight: Tensor, gate: Tensor) -> Tensor:
        kernels = topology.kernels
        sums = kernels.neighbour_sum(weight, gate)
        total = (gate * sums).sum(1, keepdim=True)
        inverse_root = total.clamp(min=_SMALLEST_DEGREE).rsqrt()
        ctx.topology = topology
        ctx.save_for_backward(weight, gate, sums, total, inverse_root)
        return kernels.scale_ends(weight, gate * inverse_root)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        weight, gate, sums, total, inverse_root = ctx.saved_tensors
        kernels = ctx.topology.kernels
        at_nodes = kernels.neighbour_sum_of_products(weight, g, gate * inverse_root)
        of_total = (gate * at_nodes).sum(1, keepdim=True) * inverse_root**3 / -2
        of_total = torch.where(total < _SMALLEST_DEGREE, 0, of_total)
        scales = (v.expand_as(gate) for v in (inverse_root, of_total))
        return (
            None,
            kernels.scaled_gradient(g, gate, *scales),
            at_nodes * inverse_root
            + of_total * sums
            + kernels.neighbour_sum(weight, of_total * gate),
        )
