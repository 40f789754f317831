r"""How ADMM for graph total variation treats the samples: the system for :math:`x`, edges held.

With :math:`C^\top(\cdot)`, what the edge variables draw :math:`x` to, as ``pull`` the step solves

* :class:`Eliminated`: :math:`C^\top Cx=` ``pull`` on the missing nodes, samples fixed;
* :class:`Multiplied`: :math:`(C^\top C+H^\top H)x=` ``pull`` :math:`+H^\top(y-u_c)`, after which
  :math:`u_c` grows by :math:`Hx-y` (Do et al., NeurIPS 2024, eq. 17);
* :class:`Noisy`: :math:`(C^\top C+\gamma^{-1}H^\top H)x=` ``pull`` :math:`+\gamma^{-1}H^\top y`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from gsp_unroll.priors import GTV
from gsp_unroll.solvers.cg import ConjugateGradient
from gsp_unroll.solvers.preconditioner import GraphMatrix, make_preconditioner


@dataclass(eq=False)
class Samples(ABC):
    """Shared by the three.

    Args:
        prior: The regulariser.
        y: Samples ``[*, C, N]``, zero elsewhere.
        observed: Boolean of the same shape.
        cg_iterations: Most CG steps of one system.
        preconditioner: Of these.
    """

    prior: GTV
    y: Tensor
    observed: Tensor
    cg_iterations: int
    preconditioner: str

    @abstractmethod
    def __post_init__(self) -> None:
        """Prepare the system."""

    @abstractmethod
    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:
        """The next ``x [*, C, N]``.

        Args:
            pull: What the edges draw ``x`` to, ``[*, C, N]``.
            x: The last one.
            tolerance: Absolute, of each system, ``[*, C, G]``.
            running: Boolean, nodes of systems that have not ended, broadcastable to ``x``.
        """

    def gap(self, x: Tensor) -> Tensor | None:
        """What putting the samples back would add to ``x``; ``None`` if there is no such gap."""
        return None

    @abstractmethod
    def rescale(self, ratio: Tensor, gamma: Tensor) -> None:
        """Follow the penalty, which was divided by ``ratio`` and is now ``gamma``."""

    @abstractmethod
    def _operator(self, v: Tensor) -> Tensor:
        """The matrix of the system times ``v``."""

    def _precondition(self, matrix: GraphMatrix) -> None:
        self.inverse = make_preconditioner(self.preconditioner, matrix, self.y)

    def _conjugate_gradients(self, b: Tensor, x: Tensor, tolerance: Tensor) -> Tensor:
        cg = ConjugateGradient(tolerance=1.0, max_iterations=self.cg_iterations)
        topology, inverse = self.prior.topology, self.inverse
        return cg.solve(
            topology, self._operator, b, x, scale=tolerance, preconditioner=inverse
        ).value


class Eliminated(Samples):
    """Samples are fixed, the missing nodes are solved for."""

    def __post_init__(self) -> None:
        free = ~self.observed
        self._precondition(GraphMatrix(self.prior.topology, self.prior.squared_weight, free=free))

    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:  # noqa: D102
        b = torch.where(self.observed, 0, pull - self.prior.operator(self.y))
        free = self._conjugate_gradients(b, torch.where(self.observed, 0, x), tolerance)
        return torch.where(self.observed, self.y, free)

    def rescale(self, ratio: Tensor, gamma: Tensor) -> None:
        """Nothing here depends on the penalty."""

    def _operator(self, v: Tensor) -> Tensor:
        return torch.where(self.observed, 0, self.prior.operator(v))


class _Weighted(Samples):
    """Samples enter with a weight, ``[*, C, N]`` and zero where there is none."""

    def _weigh(self, weight: Tensor) -> None:
        self.weight = weight
        self._precondition(GraphMatrix(self.prior.topology, self.prior.squared_weight, weight))

    def _operator(self, v: Tensor) -> Tensor:
        return self.prior.operator(v) + self.weight * v


class Multiplied(_Weighted):
    """Samples have a multiplier of their own, and hold in the limit."""

    def __post_init__(self) -> None:
        self.multiplier = torch.zeros_like(self.y)
        self._weigh(self.observed.to(self.y.dtype))

    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:  # noqa: D102
        b = pull + (self.y - self.weight * self.multiplier)
        x = self._conjugate_gradients(b, x, tolerance)
        grown = self.multiplier + self.weight * x - self.y
        self.multiplier = torch.where(running, grown, self.multiplier)
        return x

    def gap(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.where(self.observed, self.y - x, 0)

    def rescale(self, ratio: Tensor, gamma: Tensor) -> None:  # noqa: D102
        # Scaled like the multipliers of the edges.
        self.multiplier = self.prior.topology.graph_spread(ratio) * self.multiplier


@dataclass(eq=False)
class Noisy(_Weighted):
    """Samples are noisy: a data term, with the weight of the penalty's inverse.

    Args:
        gamma: The penalty of each system at first, ``[*, C, G]``; the rest as of the others.
    """

    gamma: Tensor

    def __post_init__(self) -> None:
        self._weigh_by(self.gamma)

    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:  # noqa: D102
        return self._conjugate_gradients(pull + self.weight * self.y, x, tolerance)

    def rescale(self, ratio: Tensor, gamma: Tensor) -> None:  # noqa: D102
        self._weigh_by(gamma)

    def _weigh_by(self, gamma: Tensor) -> None:
        spread = self.prior.topology.graph_spread(1 / gamma)
        self._weigh(spread * self.observed.to(self.y.dtype))
