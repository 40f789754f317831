"""One unrolled layer of graph-total-variation interpolation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsp_unroll.nn.scalars import inverse_softplus
from gsp_unroll.nn.unrolled_cg import UnrolledCG
from gsp_unroll.priors import GTV
from gsp_unroll.solvers.admm import LPState


class GTVLayer(nn.Module):
    r"""One ADMM iteration of the GTV program with its linear system solved by unrolled CG.

    Eqs (17)-(22) of Do et al. (NeurIPS 2024) in the three edge tensors of
    :mod:`gsp_unroll.solvers.admm`, on the free nodes (:math:`Hx=y` is eliminated, so that samples
    are never touched), with a learned penalty :math:`\gamma` and weight :math:`\kappa` of
    :math:`1^\top z`.

    Args:
        steps: CG steps.
        heads: Number of graphs.

    Shapes:
        - **x:** ``[B, heads, C, N]`` with the samples in place
        - **observed:** boolean, broadcastable to ``x``
        - **state:** edge tensors ``[B, heads, C, M]``
        - **output:** ``x`` and the next state
    """

    def __init__(self, steps: int, heads: int) -> None:
        super().__init__()
        self.cg = UnrolledCG(steps, heads)
        self.raw_kappa = nn.Parameter(torch.empty(()))
        self.raw_gamma = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all scalars back to their initial values."""
        self.cg.reset_parameters()
        nn.init.constant_(self.raw_kappa, inverse_softplus(0.02))
        nn.init.constant_(self.raw_gamma, inverse_softplus(1.0))

    @property
    def gamma(self) -> Tensor:
        r"""The penalty :math:`\gamma>0`."""
        return functional.softplus(self.raw_gamma)

    @property
    def threshold(self) -> Tensor:
        r"""What :math:`z` is lowered by, :math:`\kappa/\gamma`."""
        return functional.softplus(self.raw_kappa) / self.gamma

    @property
    def reach(self) -> int:
        """Edges over which the signal at one node still changes the result.

        The edge variables that a layer receives reach no farther than the signal it receives.
        """
        return self.cg.reach + 1

    def forward(
        self, prior: GTV, x: Tensor, observed: Tensor, state: LPState
    ) -> tuple[Tensor, LPState]:
        """Run the layer from ``x`` and ``state`` (already scaled to this layer's ``gamma``)."""
        # Edge variables first: every scalar of the last layer still acts on its x.
        state = state.update(prior.difference(x), self.threshold.to(x.dtype))

        def operator(p: Tensor) -> Tensor:
            return torch.where(observed, 0, prior.operator(p))

        pull = prior.divergence(state.edge_target())
        residual = torch.where(observed, 0, pull - prior.operator(x))
        return self.cg(operator, x, residual), state
