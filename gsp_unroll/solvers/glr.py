"""Exact interpolation and smoothing with the graph Laplacian regulariser."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observation
from gsp_unroll.priors import GLR
from gsp_unroll.solvers.cg import ConjugateGradient
from gsp_unroll.solvers.preconditioner import GraphMatrix, make_preconditioner
from gsp_unroll.solvers.solution import Solution

_EXACT = ConjugateGradient()


def solve_glr(
    prior: GLR,
    y: Tensor,
    mask: Tensor,
    *,
    mu: float | None = None,
    start: Tensor | None = None,
    cg: ConjugateGradient = _EXACT,
    preconditioner: str = "jacobi",
) -> Solution:
    r"""Fill in or smooth a signal with the graph Laplacian regulariser.

    Without ``mu`` the samples are kept exactly (Do et al., NeurIPS 2024, GLR problem):

    .. math:: \min_x x^\top Lx \quad\text{s.t. } x_i=y_i \text{ where observed},

    solved on the free nodes, :math:`PLPx=-PLH^\top y` with :math:`P` the projection on them. With
    ``mu`` the samples are taken as noisy:

    .. math:: \min_x \|Hx-y\|^2+\mu\,x^\top Lx \iff (H^\top H+\mu L)x=H^\top y.

    Args:
        prior: The regulariser.
        y: Samples ``[*, C, N]``; values outside ``mask`` are ignored.
        mask: Boolean, broadcastable to ``y``, ``True`` = observed.
        mu: Positive weight of the prior for noisy samples (default: keep the samples).
        start: First guess ``[*, C, N]`` (default: zero on the free nodes).
        cg: The linear solver.
        preconditioner: ``"jacobi"``, ``"none"`` or ``"amg"``, which needs ``pyamg`` and pays where
            samples are few; see :mod:`.preconditioner` (default: ``"jacobi"``).

    Returns:
        :class:`Solution`. Where a component of the graph has no sample (or is cut off by zero
        weights) the start is kept.

    Raises:
        TypeError: If ``y`` is not floating point or ``mask`` not boolean.
        ImportError: If ``preconditioner="amg"`` and ``pyamg`` is not installed.
        ValueError: If ``mu`` is not positive, ``preconditioner`` is unknown, a shape or device
            does not fit, an observed sample is not finite, or the prior is directed (CG needs a
            symmetric operator).
    """
    if prior.directed:
        raise ValueError("prior must be symmetric for an exact solve, got a directed GLR")
    observed = check_observation(y, mask)
    zero = torch.zeros_like(y)
    fixed = torch.where(observed, y, zero)
    topology = prior.topology
    if mu is not None:
        mu = checks.in_range("mu", mu, 0, open_low=True)
        keep = observed.to(y.dtype)
        shift = keep + mu * prior.shift
        matrix = GraphMatrix(topology, mu * prior.weight, shift)
        return cg.solve(
            topology,
            lambda x: keep * x + mu * prior.operator(x),
            fixed,
            start,
            preconditioner=make_preconditioner(preconditioner, matrix, y),
        )

    def on_free(x: Tensor) -> Tensor:
        return torch.where(observed, zero, prior.operator(x))

    guess = None if start is None else torch.where(observed, zero, start)
    matrix = GraphMatrix(topology, prior.weight, prior.shift, ~observed)
    inverse = make_preconditioner(preconditioner, matrix, y)
    free = cg.solve(topology, on_free, -on_free(fixed), guess, preconditioner=inverse)
    return Solution(torch.where(observed, y, free.value), free.status, free.stats)
