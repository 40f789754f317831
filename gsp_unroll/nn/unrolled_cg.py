"""Conjugate gradients with learned scalars: a fixed number of steps, no inner products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gsp_unroll import checks


class UnrolledCG(nn.Module):
    r"""``steps`` conjugate-gradient steps whose scalars are learned per step and head.

    .. math::
        p_0=r_0,\quad x\leftarrow x+\alpha_kp_k,\quad r\leftarrow r-\alpha_kAp_k,\quad
        p_{k+1}=r+\beta_kp_k

    (Do et al., NeurIPS 2024, unrolled CG.) With the scalars of the exact method,
    :math:`\alpha_k=r^\top r/p^\top Ap` and :math:`\beta_k=r_+^\top r_+/r^\top r`, this is exact CG.
    It is not a solver otherwise: gradients go through the steps, two signals ``[heads, C, N]``
    (``p`` and ``Ap``) are kept for each. The last ``beta`` would form the direction of one more
    step; it counts as in the paper and has gradient zero.

    Args:
        steps: Number of steps, at least 1.
        heads: Number of graphs with scalars of their own.
        alpha: Initial step size (default: 0.5).
        beta: Initial momentum (default: 0.1).

    Shapes:
        - **x, residual:** ``[B, heads, C, N]``, or ``[B, C, N]`` if there is one head
        - **output:** as ``x``
    """

    def __init__(self, steps: int, heads: int, alpha: float = 0.5, beta: float = 0.1) -> None:
        super().__init__()
        checks.positive_int("steps", steps)
        checks.positive_int("heads", heads)
        self.initial = (alpha, beta)
        self.alpha = nn.Parameter(torch.empty(steps, heads))
        self.beta = nn.Parameter(torch.empty(steps, heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all scalars back to their initial values."""
        nn.init.constant_(self.alpha, self.initial[0])
        nn.init.constant_(self.beta, self.initial[1])

    @property
    def reach(self) -> int:
        """Edges over which the residual at one node still changes the result."""
        return self.alpha.shape[0] - 1

    def forward(self, operator: Callable[[Tensor], Tensor], x: Tensor, residual: Tensor) -> Tensor:
        """Run from ``x`` with ``residual`` = ``b - A x``.

        Raises:
            ValueError: If a shape does not fit.
        """
        heads = self.alpha.shape[1]
        if heads > 1 or x.dim() != 3:
            checks.shape("x", x, ["B", heads, "C", "N"])
        checks.shape("residual", residual, x.shape)
        # The zero keeps a lone beta in the graph, which distributed training insists on.
        alpha = (self.alpha + 0 * self.beta)[..., None, None].to(x.dtype)
        beta = self.beta[..., None, None].to(x.dtype)
        steps = self.alpha.shape[0]
        r = p = residual
        for k in range(steps):
            x = x + alpha[k] * p
            if k + 1 < steps:
                r = r - alpha[k] * operator(p)
                p = r + beta[k] * p
        return x

    def extra_repr(self) -> str:
        """Sizes shown by ``print``."""
        return f"steps={self.alpha.shape[0]}, heads={self.alpha.shape[1]}"
