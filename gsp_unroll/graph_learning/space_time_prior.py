r"""Smoothness of a signal over the nodes of a graph and over time, :math:`tr(X^\top LXZ)`.

Signals are ``[*, N, T]``: nodes, then time. With the first difference :math:`\Delta` of ``T``
columns, :math:`(X\Delta)_t=x_{t+1}-x_t` for the ``T - 1`` pairs of neighbours in time and nothing
beyond the borders, the operator of time is

.. math:: Z=I+p_1\,\Delta\Delta^\top+p_2\,(\Delta\Delta^\top)^2

:math:`\Delta\Delta^\top` is the Laplacian of a path, so a signal that does not change has no
temporal cost beyond the identity's. Graphs are dense adjacency matrices ``[*, N, N]``: while a
graph is learned any pair of nodes may be joined.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

Scalar = float | Tensor


def laplacian_matrix(adjacency: Tensor) -> Tensor:
    """Combinatorial Laplacian ``diag(W1) - W`` of adjacency matrices ``[*, N, N]``."""
    return torch.diag_embed(adjacency.sum(-1)) - adjacency


def second_difference(x: Tensor) -> Tensor:
    r""":math:`X\Delta\Delta^\top` of a signal ``[*, N, T]``."""
    change = x.diff(dim=-1)
    return pad(change, (1, 0)) - pad(change, (0, 1))


def over_time(x: Tensor, p1: Scalar, p2: Scalar) -> Tensor:
    r""":math:`XZ` of a signal ``[*, N, T]``."""
    second = second_difference(x)
    return x + p1 * second + p2 * second_difference(second)


def space_time_operator(laplacian: Tensor, x: Tensor, p1: Scalar, p2: Scalar) -> Tensor:
    r""":math:`LXZ`, half the gradient of :func:`space_time_energy`.

    Args:
        laplacian: Symmetric ``[*, N, N]``.
        x: Signal ``[*, N, T]``.
        p1: Weight of the first differences.
        p2: Weight of the second differences.
    """
    return over_time(laplacian @ x, p1, p2)


def space_time_energy(laplacian: Tensor, x: Tensor, p1: Scalar, p2: Scalar) -> Tensor:
    r""":math:`tr(X^\top LXZ)` of each signal, ``[*]``."""
    return (x * space_time_operator(laplacian, x, p1, p2)).sum((-2, -1))


def gram_over_time(x: Tensor, p1: Scalar, p2: Scalar) -> Tensor:
    r""":math:`G=XZX^\top` ``[*, N, N]``, the derivative of :func:`space_time_energy` by ``L``."""
    gram = x @ over_time(x, p1, p2).mT
    return (gram + gram.mT) / 2  # Exactly symmetric, as graphs must be.


def time_diagonal(x: Tensor, p1: Scalar, p2: Scalar) -> Tensor:
    r"""Diagonal of :math:`Z` for signals like ``x``, ``[T]``."""
    ones = torch.ones_like(x[..., 0, :]).reshape(-1, x.shape[-1])[0]
    neighbours = pad(ones[1:], (1, 0)) + pad(ones[1:], (0, 1))
    return ones + p1 * neighbours + p2 * (neighbours.square() + neighbours)


def time_norm(steps: int, p1: Tensor, p2: Tensor) -> Tensor:
    r""":math:`\|Z\|_F^2` for ``steps`` points in time, from the eigenvalues of the path."""
    angle = torch.arange(steps, dtype=p1.dtype, device=p1.device) * (math.pi / steps)
    path = 2 - 2 * angle.cos()
    return (1 + p1 * path + p2 * path.square()).square().sum()
