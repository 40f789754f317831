"""Fill in missing entries of a signal over nodes and time, all at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.space_time_prior import (
    Scalar,
    laplacian_matrix,
    space_time_operator,
    time_diagonal,
)

PRECONDITIONERS = ("jacobi", "none")


def inpaint(
    adjacency: Tensor,
    y: Tensor,
    mask: Tensor,
    p1: Scalar,
    p2: Scalar,
    *,
    mu: Scalar | None = None,
    ridge: Scalar = 0.0,
    steps: int = 10,
    start: Tensor | None = None,
    preconditioner: str = "jacobi",
) -> Tensor:
    r"""Smoothest signal over a graph and time, by a fixed number of conjugate-gradient steps.

    With :math:`\psi` = 1 where observed, without ``mu`` the samples are kept,

    .. math::
        \min_X tr(X^\top(L+\varepsilon I)XZ)\quad\text{s.t. }\psi\circ X=\psi\circ Y

    and with ``mu`` they are taken as noisy,

    .. math::
        \psi\circ X+\mu(L+\varepsilon I)XZ=\psi\circ Y

    Gradients go through the steps, to the graph, ``p1``, ``p2`` and all else.

    Args:
        adjacency: Symmetric, non-negative weights ``[*, N, N]``.
        y: Samples ``[*, N, T]``; not read where ``mask`` is ``False``.
        mask: Boolean ``[*, N, T]``, ``True`` = observed.
        p1: Weight of the first differences in time, non-negative.
        p2: Weight of the second differences in time, non-negative.
        mu: Positive weight of the prior (default: keep the samples).
        ridge: :math:`\varepsilon`, non-negative. Zero leaves what is missing undetermined in a
            component of the graph at a time at which nothing of it was observed; it keeps its
            start (default: 0).
        steps: Conjugate-gradient steps (default: 10).
        start: First guess ``[*, N, T]`` (default: zero where missing).
        preconditioner: ``"jacobi"``, or ``"none"`` (default: ``"jacobi"``).

    Returns:
        ``[*, N, T]``. Without ``mu`` the observed entries are those of ``y``, bit for bit.

    Raises:
        ValueError: If the preconditioner is another one, or ``steps`` is below 1.

    Source: Batreddy et al., "Joint Data Inpainting and Graph Learning via Unrolled Neural
    Networks", 2024 (arXiv 2407.11429), the form with ``mu``.
    """
    checks.one_of("preconditioner", preconditioner, PRECONDITIONERS)
    checks.positive_int("steps", steps)
    y = torch.where(mask, y, 0)
    laplacian = laplacian_matrix(adjacency)
    laplacian = laplacian + ridge * torch.eye(y.shape[-2], dtype=y.dtype, device=y.device)
    diagonal = laplacian.diagonal(dim1=-2, dim2=-1).unsqueeze(-1) * time_diagonal(y, p1, p2)
    x = y if start is None else start

    def prior(v: Tensor) -> Tensor:
        return space_time_operator(laplacian, v, p1, p2)

    if mu is None:
        # Only what is missing moves.
        x = fill_missing(x, y, mask)
        residual = torch.where(mask, 0, -prior(x))

        def operator(v: Tensor) -> Tensor:
            return torch.where(mask, 0, prior(v))
    else:
        residual = y - torch.where(mask, x, 0) - mu * prior(x)
        diagonal = mask + mu * diagonal

        def operator(v: Tensor) -> Tensor:
            return torch.where(mask, v, 0) + mu * prior(v)

    inverse = None
    if preconditioner == "jacobi":
        inverse = 1 / torch.where(diagonal > 0, diagonal, 1)
    change = _conjugate_gradients(operator, residual, inverse, steps)
    x = x + change
    return fill_missing(x, y, mask) if mu is None else x


def fill_missing(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """``y`` where observed, bit for bit, and ``x`` where missing."""
    return torch.where(mask, y, x)


def _conjugate_gradients(
    operator: Callable[[Tensor], Tensor], residual: Tensor, inverse: Tensor | None, steps: int
) -> Tensor:
    """Change of the solution from zero; every leading index is a system of its own."""
    r, x = residual, torch.zeros_like(residual)
    z = r if inverse is None else inverse * r
    p, rz = z, _dot(r, z)
    # Below that there is only rounding, and its quotients have gradients that overflow.
    least = torch.finfo(rz.dtype).eps ** 2 * rz.detach()
    for k in range(steps):
        ap = operator(p)
        alpha = _quotient(rz, _dot(p, ap), rz > least)
        x = x + alpha * p
        if k + 1 < steps:
            r = r - alpha * ap
            z = r if inverse is None else inverse * r
            new = _dot(r, z)
            p, rz = z + _quotient(new, rz, rz > least) * p, new
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _quotient(a: Tensor, b: Tensor, going: Tensor) -> Tensor:
    """``a / b``, zero where a system is solved: where it is not ``going`` on."""
    return torch.where(going, a / torch.where(going, b, 1), 0)
