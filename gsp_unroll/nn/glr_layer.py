"""One unrolled layer of graph-Laplacian interpolation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsp_unroll.nn.scalars import inverse_softplus
from gsp_unroll.nn.unrolled_cg import UnrolledCG
from gsp_unroll.priors import GLR


class GLRLayer(nn.Module):
    r"""Proximal-point step of the GLR problem by unrolled CG.

    .. math:: x^{+}=\arg\min_{x:\,Hx=y} x^\top Lx+\kappa\|x-x^{old}\|^2

    on the free nodes, :math:`(PLP+\kappa I)(x-x^{old})=-PLx^{old}`. Its fixed point is the
    constrained GLR solution whatever :math:`\kappa>0`; observed samples are never touched. Do et
    al. (NeurIPS 2024) do not say what a layer of uGLR is; this is our reading, with one learned
    scalar a layer.

    Args:
        steps: CG steps.
        heads: Number of graphs.

    Shapes:
        - **x:** ``[B, heads, C, N]`` with the samples in place
        - **observed:** boolean, broadcastable to ``x``
        - **output:** ``[B, heads, C, N]``
    """

    def __init__(self, steps: int, heads: int) -> None:
        super().__init__()
        self.cg = UnrolledCG(steps, heads)
        self.raw_kappa = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all scalars back to their initial values."""
        self.cg.reset_parameters()
        nn.init.constant_(self.raw_kappa, inverse_softplus(0.01))

    @property
    def kappa(self) -> Tensor:
        r"""The weight :math:`\kappa>0` of the distance to the old signal."""
        return functional.softplus(self.raw_kappa)

    @property
    def reach(self) -> int:
        """Edges over which the signal at one node still changes the result."""
        return self.cg.reach + 1

    def forward(self, prior: GLR, x: Tensor, observed: Tensor) -> Tensor:
        """Run the layer from ``x``."""
        kappa = self.kappa.to(x.dtype)

        def operator(p: Tensor) -> Tensor:
            return torch.where(observed, 0, prior.operator(p) + kappa * p)

        residual = torch.where(observed, 0, -prior.operator(x))
        return self.cg(operator, x, residual)
