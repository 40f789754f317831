"""Coordinates turned and mirrored at random, so that a network cannot learn places by heart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gsp_unroll.topology import Topology


def turn(topology: Topology, attributes: Tensor, columns: Sequence[int]) -> Tensor:
    """Apply a random orthogonal map to some attributes, another one for each signal and graph.

    Args:
        topology: Structure.
        attributes: ``[S, A, N]``.
        columns: Attributes that are coordinates, all in one unit.

    Returns:
        ``[S, A, N]``; distances between the nodes of a graph are kept.
    """
    columns = list(columns)
    size = len(columns)
    shape = (len(attributes), topology.num_graphs, size, size)
    # Signs make the distribution of a QR decomposition that of all orthogonal maps alike.
    q, r = torch.linalg.qr(torch.randn(shape))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    q = topology.graph_spread(q.movedim(1, -1).flatten(1, 2).to(attributes))
    turned = attributes.clone()
    q = q.unflatten(1, (size, size))
    turned[:, columns] = (q * attributes[:, columns].unsqueeze(1)).sum(2)
    return turned
