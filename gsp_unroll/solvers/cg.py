"""Conjugate gradients on many independent systems, each with its own scalars and end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.solvers.preconditioner import Operator
from gsp_unroll.solvers.solution import Solution, Status, merge_finite
from gsp_unroll.topology import Topology

_DEFAULT_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


@dataclass(frozen=True)
class ConjugateGradient:
    r"""Solve :math:`Ax=b` for a symmetric positive semidefinite operator.

    Differs from the textbook in three ways. (1) Every leading index, channel and graph is a system
    of its own: step sizes, stopping and status never mix, so a result does not depend on what else
    is in the batch. (2) A finished system is frozen. (3) The reported residual is computed from
    the definition at the end, not taken from the recurrence.

    Args:
        tolerance: Stop when :math:`\|b-Ax\|\le` ``tolerance`` :math:`\|b\|` (default: 1e-12 in
            float64, 1e-6 in float32).
        max_iterations: Upper limit, at least 0 (default: 1000).
    """

    tolerance: float | None = None
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        if self.tolerance is not None:
            checks.in_range("tolerance", self.tolerance, 0)
        checks.positive_int("max_iterations", self.max_iterations, minimum=0)

    def solve(
        self,
        topology: Topology,
        operator: Operator,
        b: Tensor,
        x0: Tensor | None = None,
        *,
        scale: Tensor | None = None,
        preconditioner: Operator | None = None,
    ) -> Solution:
        """Run from ``x0`` (default: zero).

        Args:
            topology: Says which nodes belong to which graph.
            operator: ``A``, maps ``[*, C, N]`` to the same shape.
            b: Right-hand side ``[*, C, N]``.
            x0: Start.
            scale: Norm ``[*, C, G]`` that the tolerance refers to (default: that of ``b``).
            preconditioner: Symmetric positive definite approximation of the inverse of ``A``, e.g.
                from :func:`.make_preconditioner` (default: identity). When to stop is decided by
                the plain residual all the same.

        Returns:
            :class:`Solution` with ``iterations`` and ``residual`` (relative) in its stats.
        """
        tolerance = self.tolerance
        if tolerance is None:
            tolerance = _DEFAULT_TOLERANCE.get(b.dtype, 1e-6)
        spread = topology.graph_spread
        x = torch.zeros_like(b) if x0 is None else x0.clone()
        r = b.clone() if x0 is None else b - operator(x)
        norm = _norm(topology, b) if scale is None else scale
        target = (tolerance * norm).square()
        rr = topology.graph_sum(r * r)
        z = r if preconditioner is None else preconditioner(r)
        p, rz = z.clone(), rr if preconditioner is None else topology.graph_sum(r * z)
        buffer = torch.empty_like(b)
        active = rr > target
        broken = torch.zeros_like(active)
        iterations = torch.zeros_like(rr, dtype=torch.int32)
        for _ in range(self.max_iterations):
            if not bool(active.any()):
                break
            iterations += active
            ap = operator(p)
            # Vectors are updated in place, unless autograd needs them.
            scratch = None if ap.requires_grad or r.requires_grad or x.requires_grad else buffer
            curvature = topology.graph_sum(_product(p, ap, scratch))
            broken |= active & ~(curvature > 0)
            active = active & (curvature > 0)
            alpha = torch.where(active, rz / torch.where(active, curvature, 1), 0)
            x = _add_product(x, spread(alpha), p, scratch)
            r = _add_product(r, spread(-alpha), ap, scratch)
            new = topology.graph_sum(_product(r, r, scratch))
            rr = torch.where(active, new, rr)
            if preconditioner is None:
                z = r
            else:
                z = preconditioner(r)
                new = topology.graph_sum(_product(r, z, scratch))
            beta = torch.where(active, new / torch.where(rz > 0, rz, 1), 0)
            rz = torch.where(active, new, rz)
            # A system that has ended has alpha = beta = 0 from now on: its direction is not used.
            p = z + spread(beta) * p if scratch is None else p.mul_(spread(beta)).add_(z)
            active = active & (rr > target)
        residual = _norm(topology, b - operator(x))
        status = torch.where(broken, int(Status.BREAKDOWN), 0)
        status = torch.where(active, int(Status.MAX_ITERATIONS), status)
        status = merge_finite(status, residual).to(torch.int8)
        relative = residual / torch.where(norm > 0, norm, 1)
        return Solution(x, status, {"iterations": iterations, "residual": relative})


def _product(a: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
    return a * b if out is None else torch.mul(a, b, out=out)


def _add_product(x: Tensor, scale: Tensor, p: Tensor, scratch: Tensor | None) -> Tensor:
    """``x + scale p``, in place if there is a ``scratch``."""
    return x + scale * p if scratch is None else x.add_(torch.mul(scale, p, out=scratch))


def _norm(topology: Topology, value: Tensor) -> Tensor:
    return topology.graph_sum(value * value).sqrt()
