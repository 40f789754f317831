"""Weights of edges from the distance of their ends."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.topology import Graph

SCALES = ("median", "local")


def gaussian_edge_weight(
    pos: Tensor, edge_index: Tensor, scale: str | float = "median", *, smallest: float = 1e-6
) -> Tensor:
    r"""The nearer the ends of an edge, the heavier it is.

    .. math:: w_{ij}=\exp(-d_{ij}^2/\sigma^2)\qquad\text{or}\qquad
        w_{ij}=\exp\big(-d_{ij}^2/(\sigma_i\sigma_j)\big)\text{ if scale is "local"}

    Args:
        pos: Coordinates or features ``[N, D]``.
        edge_index: ``[2, E]``, both directions of every edge.
        scale: :math:`\sigma`: a positive distance; ``"median"``, the median length of the edges
            that have one; or ``"local"``, at each node the mean length of its edges, for points of
            uneven density (default: ``"median"``).
        smallest: Weights are at least this, in (0, 1], so that a long edge still connects
            (default: 1e-6).

    Returns:
        ``[E]`` in the order of ``edge_index``, the same in both directions, in the dtype of
        ``pos``.

    Raises:
        TypeError: If ``pos`` is not a floating-point tensor.
        ValueError: If ``pos`` has the wrong shape or is not finite, the edges are not those of an
            undirected graph, or ``scale`` or ``smallest`` is out of range.

    Source: local scaling of Zelnik-Manor and Perona, NeurIPS 2004, with the mean length for the
    distance of one neighbour.
    """
    checks.floating("pos", pos)
    checks.shape("pos", pos, ["N", "D"])
    checks.finite("pos", pos)
    smallest = checks.in_range("smallest", smallest, 0, 1, open_low=True)
    if isinstance(scale, str):
        checks.one_of("scale", scale, SCALES)
    else:
        scale = checks.in_range("scale", scale, 0, open_low=True)
    Graph(edge_index, len(pos))
    source, target = edge_index
    # Weights have no unit: coordinates of size one neither overflow nor vanish.
    dtype, pos = pos.dtype, pos.double()
    unit = (float(pos.detach().abs().max()) if pos.numel() else 0.0) or 1.0
    pos = pos / unit
    # The same number in both directions, to the last bit.
    length = (pos[source] - pos[target]).norm(dim=1)
    if scale == "local":
        total = length.new_zeros(len(pos)).index_add_(0, source, length)
        mean = total / torch.bincount(source, minlength=len(pos)).clamp(min=1)
        variance = mean[source] * mean[target]
    elif scale == "median":
        positive = length[length > 0]
        variance = positive.median().square() if len(positive) else torch.ones_like(length)
    else:
        variance = length.new_tensor(scale / unit).square()
    # Points all in one place are as near as can be.
    ratio = torch.where(length > 0, length.square() / torch.where(length > 0, variance, 1), 0)
    return torch.exp(-ratio).to(dtype).clamp(min=max(smallest, torch.finfo(dtype).tiny))
