"""First guess on any graph: spread the samples over the edges until every node has a value."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll.ops import planar
from gsp_unroll.topology import Topology


def propagate_fill(topology: Topology, y: Tensor, mask: Tensor) -> Tensor:
    r"""Fill missing nodes with the mean of their already filled neighbours, ring by ring.

    Every graph of the topology needs a sample in each of its components
    (:func:`gsp_unroll.graphs.validate.check_observed` tells); nodes that no sample can reach get
    zero.

    Args:
        topology: Structure.
        y: Samples ``[*, C, N]``; values outside ``mask`` are ignored.
        mask: Boolean, broadcastable to ``y``, ``True`` = observed.

    Returns:
        ``[*, C, N]``, equal to ``y`` where observed; differentiable in ``y``.
    """
    ones = y.new_ones(*y.shape[:-2], topology.num_edges)

    def neighbour_sum(value: Tensor) -> Tensor:
        """Sum over the neighbours, at nodes where ``value`` itself is zero."""
        return -planar.laplacian(topology, ones, value)

    known = mask.expand_as(y)
    filled = torch.where(known, y, torch.zeros_like(y))
    while True:
        count = neighbour_sum(known.to(y.dtype))
        fresh = ~known & (count > 0)
        if not bool(fresh.any()):
            return filled
        mean = neighbour_sum(torch.where(known, filled, 0)) / count.clamp(min=1)
        filled = torch.where(fresh, mean, filled)
        known = known | fresh
