"""Restore noisy samples: the learned graphs of a network as a prior, the samples as a penalty."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gsp_unroll.models.unrolled import UnrolledNetwork
from gsp_unroll.observe.noise import check_sigma

# Share of the variance of the noise that is asked of the residual. All of it (Morozov) smooths too
# much, since the graphs were learned from noisy samples; chosen on validation images.
_SHARE = 0.7
_HALVINGS = 10
_LOG_RANGE = (-4.0, 5.0)
_CG_STEPS, _CG_TOLERANCE = 60, 1e-4


class NoiseAware(nn.Module):
    r"""A network whose samples are noisy: they are approached, not kept.

    The network runs as always, then the prior of its last block, with the graphs that it learned,
    is solved in penalty form:

    .. math::
        \min_x\|Hx-y\|^2+\mu\sum_h\|T_hx\|^2_{L(\tilde w^h)},\qquad
        \frac{\|Hx-y\|^2}{|\Omega|}=0.7\,\sigma^2

    The second equation fixes :math:`\mu` (discrepancy principle): the residual grows with it, so it
    is found by bisection of its logarithm. For uGLR and uGTV :math:`T_h` is the square root of the
    weight of the head. Nothing is trained for noise; below :math:`\sigma` of about 8/255 the plain
    network is better.

    Args:
        network: Trained without noise.
        sigma: Standard deviation of the noise on the samples, in their unit.

    Shapes:
        - **y:** ``[B, C, H, W]``
        - **mask:** boolean, broadcastable to ``y``
        - **output:** ``[B, C, H, W]``

    Raises:
        ValueError: If ``sigma`` is not positive and finite, or the network has directed or
            normalised Laplacians.
    """

    def __init__(self, network: UnrolledNetwork, sigma: float) -> None:
        super().__init__()
        check_sigma(sigma)
        if sigma == 0:
            raise ValueError(
                "sigma must be more than 0, got 0; without noise use the network alone"
            )
        config = network.config
        if config.norm == "directed" or config.laplacian != "combinatorial":
            raise ValueError(
                "network must have symmetric weights and combinatorial Laplacians, got "
                f"norm={config.norm!r}, laplacian={config.laplacian!r}"
            )
        self.network = network
        self.sigma = sigma

    @torch.no_grad()
    def forward(self, y: Tensor, mask: Tensor) -> Tensor:
        """Restore a batch of images; ``mu`` is one number for all of them."""
        last = self.network.explain(y, mask)[-1]
        prior = self.network.blocks[-1].joint_prior(last.topology, last.weight)
        seen = mask.expand_as(y).flatten(-2).to(y.dtype)
        samples = torch.where(mask, y, 0).flatten(-2)
        target = _SHARE * self.sigma**2 * float(seen.sum())

        def solve(log_mu: float, x: Tensor) -> Tensor:
            mu = math.exp(log_mu * math.log(10))
            return _cg(lambda v: seen * v + mu * prior.operator(v), samples, x)

        low, high = _LOG_RANGE
        x = last.estimate
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            # The solution for one mu is a good start for the next.
            x = solve(middle, x)
            if float((seen * x - samples).square().sum()) < target:
                low = middle
            else:
                high = middle
        return x.view_as(y)


def _cg(operator: Callable[[Tensor], Tensor], b: Tensor, x: Tensor) -> Tensor:
    """Conjugate gradients on one system, all channels and images together."""
    r = b - operator(x)
    p, rr = r, r.square().sum()
    enough = _CG_TOLERANCE**2 * b.square().sum()
    for _ in range(_CG_STEPS):
        if not rr > enough:
            break
        ap = operator(p)
        alpha = rr / (p * ap).sum()
        x, r = x + alpha * p, r - alpha * ap
        before, rr = rr, r.square().sum()
        p = r + rr / before * p
    return x
