"""Graph total variation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gsp_unroll.ops import planar
from gsp_unroll.topology import Topology


@dataclass(frozen=True)
class GTV:
    r"""Graph total variation :math:`\|Cx\|_1=\sum_{(i,j)}w_{ij}|x_i-x_j|`.

    Args:
        topology: Structure.
        weight: Planar weights ``[*, M]``.
    """

    topology: Topology
    weight: Tensor

    def difference(self, x: Tensor) -> Tensor:
        """``C x``: ``[*, C, N] -> [*, C, M]``."""
        return planar.difference(self.topology, self.weight, x)

    def divergence(self, e: Tensor) -> Tensor:
        """``C^T e``: ``[*, C, M] -> [*, C, N]``."""
        return planar.divergence(self.topology, self.weight, e)

    def operator(self, x: Tensor) -> Tensor:
        r""":math:`C^\top Cx`, the Laplacian with squared weights: ``[*, C, N] -> [*, C, N]``."""
        return planar.laplacian(self.topology, self.squared_weight, x)

    @cached_property
    def squared_weight(self) -> Tensor:
        """Weights of :meth:`operator`."""
        # Kept once for backward, not once for each product.
        return self.weight.square()

    def energy(self, x: Tensor) -> Tensor:
        r""":math:`\|Cx\|_1` of each system: ``[*, C, N] -> [*, C, G]``."""
        return self.topology.graph_sum_edges(self.difference(x).abs())


def soft_threshold(value: Tensor, threshold: Tensor | float) -> Tensor:
    r"""Proximal operator of :math:`t|\cdot|`: shrink towards zero by ``threshold``."""
    return value.sign() * torch.clamp(value.abs() - threshold, min=0)
