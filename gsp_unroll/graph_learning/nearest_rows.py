"""A first graph from data with gaps: nearest rows, compared where both are observed."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.adjacency_step import without_diagonal
from gsp_unroll.graphs.validate import check_observation


def row_distance(y: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of each two rows over the times at which both are observed.

    Args:
        y: Samples ``[*, N, T]``; not read where ``mask`` is ``False``.
        mask: Boolean ``[*, N, T]``, ``True`` = observed.

    Returns:
        ``[*, N, N]``, infinite for two rows that were never observed together.

    Raises:
        TypeError: If ``y`` is not floating point or ``mask`` is not boolean.
        ValueError: If a shape or device does not fit, or an observed sample is not finite.
    """
    mask = check_observation(y, mask)
    dtype, seen = y.dtype, mask.double()
    y = torch.where(mask, y, 0).double()
    # What all samples have in common does not count; left in, it would cost digits.
    middle = y.sum((-2, -1), keepdim=True) / seen.sum((-2, -1), keepdim=True).clamp(min=1)
    y = torch.where(mask, y - middle, 0)
    half = y.square() @ seen.mT - y @ y.mT
    distance = (half + half.mT).clamp(min=0) / (seen @ seen.mT)
    return torch.where(distance.isnan(), torch.inf, distance).to(dtype)


def nearest_rows(y: Tensor, mask: Tensor, neighbours: int) -> Tensor:
    r"""Symmetrised nearest-neighbour graph of the rows of a signal with gaps.

    .. math:: w_{ij}=\exp(-d_{ij}/\bar d)

    if ``i`` is among the nearest of ``j`` or the other way round, with the distance :math:`d` of
    :func:`row_distance` and its mean over the edges.

    Args:
        y: Samples ``[*, N, T]``.
        mask: Boolean ``[*, N, T]``, ``True`` = observed.
        neighbours: Neighbours of each row, at least 1 and below ``N``.

    Returns:
        Adjacency matrices ``[*, N, N]``.

    Raises:
        TypeError: If ``y`` is not floating point or ``mask`` is not boolean.
        ValueError: If ``neighbours`` is out of range, a shape or device does not fit, or an
            observed sample is not finite.
    """
    checks.positive_int("neighbours", neighbours)
    if neighbours >= y.shape[-2]:
        raise ValueError(
            f"neighbours must be below the number of rows ({y.shape[-2]}), got {neighbours}"
        )
    distance = row_distance(y, mask)
    eye = torch.eye(y.shape[-2], dtype=torch.bool, device=y.device)
    near = distance.masked_fill(eye, torch.inf).topk(neighbours, dim=-1, largest=False).indices
    joined = torch.zeros_like(distance, dtype=torch.bool).scatter(-1, near, True)
    joined = (joined | joined.mT) & distance.isfinite()
    edge = torch.where(joined, distance, 0)
    mean = edge.sum((-2, -1), keepdim=True) / joined.sum((-2, -1), keepdim=True).clamp(min=1)
    weight = torch.exp(-edge / torch.where(mean > 0, mean, 1))
    return without_diagonal(torch.where(joined, weight, 0))
