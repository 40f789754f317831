r"""How ADMM for graph total variation treats the samples: the system for :math:`x`, edges held.

With :math:`C^\top(\cdot)`, what the edge variables draw :math:`x` to, as ``pull`` the step solves

* :class:`Eliminated`: :math:`C^\top Cx=` ``pull`` on the missing nodes, samples fixed;
* :class:`Multiplied`: :math:`(C^\top C+H^\top H)x=` ``pull`` :math:`+H^\top(y-u_c)`, after which
  :math:`u_c` grows by :math:`Hx-y` (Do et al., NeurIPS 2024, eq. 17);
* :class:`Noisy`: :math:`(C^\top C+\gamma^{-1}H^\top H)x=` ``pull`` :math:`+\gamma^{-1}H^\top y`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll.priors import GTV
from gsp_unroll.solvers.cg import ConjugateGradient
from gsp_unroll.solvers.preconditioner import GraphMatrix, make_preconditioner


class _Samples:
    """Shared by the three.

    Args:
        prior: The regulariser.
        y: Samples ``[*, C, N]``, zero elsewhere.
        observed: Boolean of the same shape.
        cg_iterations: Most CG steps of one system.
        preconditioner: Of these.
    """

    def __init__(
        self, prior: GTV, y: Tensor, observed: Tensor, cg_iterations: int, preconditioner: str
    ) -> None:
        self.prior, self.y, self.observed = prior, y, observed
        self.keep = observed.to(y.dtype)
        self.cg_iterations, self.preconditioner = cg_iterations, preconditioner
        self.inverse = self._make_inverse()

    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:
        """The next ``x [*, C, N]``.

        Args:
            pull: What the edges draw ``x`` to, ``[*, C, N]``.
            x: The last one.
            tolerance: Absolute, of each system, ``[*, C, G]``.
            running: Boolean, nodes of systems that have not ended, broadcastable to ``x``.
        """
        raise NotImplementedError

    def gap(self, x: Tensor) -> Tensor | None:
        """What putting the samples back would add to ``x``; ``None`` if there is no such gap."""
        return None

    def rescale(self, ratio: Tensor, gamma: Tensor) -> None:
        """Follow the penalty, which was divided by ``ratio`` and is now ``gamma``."""

    def _operator(self, v: Tensor) -> Tensor:
        raise NotImplementedError

    def _matrix(self) -> GraphMatrix:
        raise NotImplementedError

    def _make_inverse(self):  # noqa: ANN202 - as `make_preconditioner` returns it
        return make_preconditioner(self.preconditioner, self._matrix(), self.keep)

    def _conjugate_gradients(self, b: Tensor, x: Tensor, tolerance: Tensor) -> Tensor:
        cg = ConjugateGradient(tolerance=1.0, max_iterations=self.cg_iterations)
        topology, inverse = self.prior.topology, self.inverse
        return cg.solve(
            topology, self._operator, b, x, scale=tolerance, preconditioner=inverse
        ).value


class Eliminated(_Samples):
    """Samples are fixed, the missing nodes are solved for."""

    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:  # noqa: D102
        b = torch.where(self.observed, 0, pull - self.prior.operator(self.y))
        free = self._conjugate_gradients(b, torch.where(self.observed, 0, x), tolerance)
        return torch.where(self.observed, self.y, free)

    def _operator(self, v: Tensor) -> Tensor:
        return torch.where(self.observed, 0, self.prior.operator(v))

    def _matrix(self) -> GraphMatrix:
        return GraphMatrix(self.prior.topology, self.prior.squared_weight, free=~self.observed)


class Multiplied(_Samples):
    """Samples have a multiplier of their own, and hold in the limit."""

    def __init__(
        self, prior: GTV, y: Tensor, observed: Tensor, cg_iterations: int, preconditioner: str
    ) -> None:
        super().__init__(prior, y, observed, cg_iterations, preconditioner)
        self.multiplier = torch.zeros_like(y)

    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:  # noqa: D102
        b = pull + (self.y - self.keep * self.multiplier)
        x = self._conjugate_gradients(b, x, tolerance)
        grown = self.multiplier + self.keep * x - self.y
        self.multiplier = torch.where(running, grown, self.multiplier)
        return x

    def gap(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.where(self.observed, self.y - x, 0)

    def rescale(self, ratio: Tensor, gamma: Tensor) -> None:  # noqa: D102
        # Scaled like the multipliers of the edges.
        self.multiplier = self.prior.topology.graph_spread(ratio) * self.multiplier

    def _operator(self, v: Tensor) -> Tensor:
        return self.prior.operator(v) + self.keep * v

    def _matrix(self) -> GraphMatrix:
        return GraphMatrix(self.prior.topology, self.prior.squared_weight, self.keep)


class Noisy(_Samples):
    """Samples are noisy: a data term, with the weight of the penalty's inverse.

    Args:
        prior: As of the others, like what follows.
        y: Samples.
        observed: Where they are.
        cg_iterations: Most CG steps of one system.
        preconditioner: Of these.
        gamma: The penalty of each system, ``[*, C, G]``.
    """

    def __init__(
        self,
        prior: GTV,
        y: Tensor,
        observed: Tensor,
        cg_iterations: int,
        preconditioner: str,
        gamma: Tensor,
    ) -> None:
        self.weight = prior.topology.graph_spread(1 / gamma)
        super().__init__(prior, y, observed, cg_iterations, preconditioner)

    def solve(self, pull: Tensor, x: Tensor, tolerance: Tensor, running: Tensor) -> Tensor:  # noqa: D102
        return self._conjugate_gradients(pull + self.weight * self.y, x, tolerance)

    def rescale(self, ratio: Tensor, gamma: Tensor) -> None:  # noqa: D102
        self.weight = self.prior.topology.graph_spread(1 / gamma)
        self.inverse = self._make_inverse()

    def _operator(self, v: Tensor) -> Tensor:
        return self.prior.operator(v) + self.weight * self.keep * v

    def _matrix(self) -> GraphMatrix:
        shift = self.weight * self.keep
        return GraphMatrix(self.prior.topology, self.prior.squared_weight, shift)
