"""What a solver returns: the value, how each system ended, and the figures to judge it by."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor


class Status(IntEnum):
    """How the solve of one system ended."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    BREAKDOWN = 2
    NON_FINITE = 3


_ADVICE = {
    Status.MAX_ITERATIONS: "stopped at max_iterations; raise it, or loosen the tolerance",
    Status.BREAKDOWN: "met a direction of no curvature; the operator is not positive definite "
    "there (are some edge weights zero or negative?)",
    Status.NON_FINITE: "became NaN or infinite; check weights and signal",
}


class SolverError(RuntimeError):
    """A solve did not converge and the caller asked to be told."""


@dataclass(frozen=True)
class Solution:
    """Result of a solver, one status per independent system.

    Attributes:
        value: The solution, in the shape of the right-hand side.
        status: :class:`Status` codes ``[*, C, G]`` (int8): per leading index, channel and graph.
        stats: Figures of the same shape, e.g. ``iterations`` and ``residual`` (relative).
    """

    value: Tensor
    status: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Whether every system converged."""
        return not bool(self.status.any())

    def message(self) -> str:
        """One sentence a person can act on."""
        total = self.status.numel()
        if self.converged:
            return f"all {total} systems converged"
        parts = []
        for status, advice in _ADVICE.items():
            count = int((self.status == status).sum())
            if count:
                parts.append(f"{count} of {total} systems {advice}")
        residual = self.stats.get("residual")
        worst = (
            "" if residual is None else f" (largest relative residual {float(residual.max()):.1e})"
        )
        return "; ".join(parts) + worst

    def raise_for_status(self) -> Solution:
        """Return ``self`` if all systems converged, else raise :class:`SolverError`."""
        if not self.converged:
            raise SolverError(self.message())
        return self


def merge_finite(status: Tensor, value_sum: Tensor) -> Tensor:
    """Mark the systems whose values are not finite."""
    bad = ~torch.isfinite(value_sum)
    return torch.where(bad, torch.full_like(status, int(Status.NON_FINITE)), status)
