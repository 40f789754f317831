"""Sum of graph Laplacian regularisers, each on channels that are mixed in a way of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.ops import planar
from gsp_unroll.topology import Topology


class JointGLR:
    r"""Several graphs in one prior, :math:`\sum_h\|T_hx\|_{L_h}^2=x^\top\big(\sum_hT_h^\top L_hT_h\big)x`.

    :math:`T_h` mixes the channels of each node, :math:`L_h` is the combinatorial Laplacian of graph
    ``h``, applied to each mixed channel. The sum is symmetric and positive semidefinite whatever
    :math:`T_h` is, and constants cost nothing. A :math:`T_h` that takes the mean of the channels
    away is a prior on colour differences. Interpolation keeps within the range of the samples only
    if all :math:`T_h` are diagonal: otherwise a channel follows the shape of another one.

    Args:
        topology: Structure.
        weight: Planar symmetric weights ``[*, heads, M]``.
        transform: :math:`T_h`, ``[heads, mixed channels, C]``.

    Raises:
        ValueError: If ``transform`` is not three-dimensional or the heads differ.
    """  # noqa: E501

    def __init__(self, topology: Topology, weight: Tensor, transform: Tensor) -> None:
        checks.shape("transform", transform, [weight.shape[-2], "mixed channels", "C"])
        self.topology = topology
        self.weight = weight
        self.transform = transform

    def operator(self, x: Tensor) -> Tensor:
        r""":math:`\sum_hT_h^\top L_hT_hx`: ``[*, C, N] -> [*, C, N]``.

        :math:`T_h` works on channels and :math:`L_h` on nodes: :math:`T_h^\top L_hT_hx=S_hL_hx`
        with :math:`S_h=T_h^\top T_h`.
        """
        heads = self.weight.shape[-2]
        with torch.autocast(x.device.type, enabled=False):
            x = planar.full_precision(x)
            mix = channel_mix(self.transform).to(x.dtype)
            spread = x.unsqueeze(-3).expand(*x.shape[:-2], heads, *x.shape[-2:])
            y = planar.laplacian(self.topology, self.weight, spread)
            return torch.matmul(mix.transpose(0, 1).flatten(1), y.flatten(-3, -2))

    def energy(self, x: Tensor) -> Tensor:
        """The prior of each graph of a batch, summed over channels: ``[*, C, N] -> [*, G]``."""
        return self.topology.graph_sum(x * self.operator(x)).sum(-2)


def channel_mix(transform: Tensor) -> Tensor:
    r""":math:`S_h=T_h^\top T_h`: ``[heads, mixed channels, C] -> [heads, C, C]``."""
    with torch.autocast(transform.device.type, enabled=False):
        return transform.mT @ transform
