"""Projected-gradient steps on an adjacency matrix towards a graph on which a signal is smooth."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.space_time_prior import Scalar

GRADIENTS = ("objective", "offdiagonal")


def adjacency_gradient(adjacency: Tensor, gram: Tensor, decay: Scalar, gradient: str) -> Tensor:
    r"""Direction of the step, symmetric with zero diagonal.

    With the Gram matrix :math:`G` of the rows of a signal, the degrees :math:`d` and the weight
    :math:`b` of the penalty,

    .. math::
        \text{objective: }G_{ii}+G_{jj}-2G_{ij}+b\,(d_i+d_j+2w_{ij})\qquad
        \text{offdiagonal: }-G_{ij}+b\,w_{ij}

    The first is the derivative of :math:`tr(LG)+\frac b2\|L\|_F^2` by the weight :math:`w_{ij}` of
    an undirected edge. The second leaves out what the diagonal of :math:`L` contributes: it is
    the step of the published implementation, and its fixed point is :math:`\max(G_{ij},0)/b`, a
    graph of positive correlations.

    Args:
        adjacency: ``[*, N, N]``.
        gram: :math:`G` ``[*, N, N]``.
        decay: :math:`b`, non-negative.
        gradient: ``"objective"`` or ``"offdiagonal"``.
    """
    checks.one_of("gradient", gradient, GRADIENTS)
    if gradient == "objective":
        own = gram.diagonal(dim1=-2, dim2=-1) + decay * adjacency.sum(-1)
        full = own.unsqueeze(-1) + own.unsqueeze(-2) - 2 * gram + 2 * decay * adjacency
    else:
        full = decay * adjacency - gram
    return without_diagonal(full)


def curvature(num_nodes: int, decay: Scalar, gradient: str) -> Scalar:
    """Bound of the curvature along any direction: steps below 2 over it do not diverge."""
    return 2 * decay * num_nodes if gradient == "objective" else decay


def project_non_negative(adjacency: Tensor) -> Tensor:
    """Nearest matrix with non-negative weights and zero diagonal."""
    return without_diagonal(adjacency).relu()


def project_mean_degree(adjacency: Tensor, mean_degree: Scalar) -> Tensor:
    r"""Nearest matrix with non-negative weights, zero diagonal and the given mean degree.

    .. math:: w_{ij}\gets\max(w_{ij}-\theta,0)

    with the :math:`\theta` for which degrees add up to ``mean_degree`` times ``N``.

    Args:
        adjacency: Symmetric ``[*, N, N]``.
        mean_degree: Positive.
    """
    n = adjacency.shape[-1]
    row, column = torch.triu_indices(n, n, offset=1, device=adjacency.device)
    weight = adjacency[..., row, column]
    order = weight.sort(-1, descending=True).values
    count = torch.arange(1, len(row) + 1, dtype=weight.dtype, device=weight.device)
    theta = (order.cumsum(-1) - mean_degree * n / 2) / count
    last = (order > theta).sum(-1, keepdim=True).clamp(min=1) - 1
    theta = theta.gather(-1, last).unsqueeze(-1)
    return project_non_negative(adjacency - theta)


def sparsify(adjacency: Tensor, share: Scalar) -> Tensor:
    """Take ``share`` of the mean positive weight from every weight, down to zero.

    Args:
        adjacency: Non-negative ``[*, N, N]``.
        share: In [0, 1): one would leave nothing of a graph with equal weights.
    """
    count = (adjacency > 0).sum((-2, -1), keepdim=True).clamp(min=1)
    mean = adjacency.sum((-2, -1), keepdim=True) / count
    return (adjacency - share * mean).relu()


def without_diagonal(matrix: Tensor) -> Tensor:
    """``matrix`` with zeros on its diagonal."""
    eye = torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device)
    return matrix.masked_fill(eye, 0)
