"""Restore noisy samples: the learned graphs of a network as a prior, the samples as a penalty."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gsp_unroll import checks
from gsp_unroll.models.unrolled import UnrolledNetwork

# Share of the variance of the noise that is asked of the residual. All of it (Morozov) smooths too
# much, since the graphs were learned from noisy samples; chosen on validation images.
_SHARE = 0.7
# Logarithm (base 10) of the first mu, and of the smallest and largest one.
_LOG_START, _LOG_RANGE = 2.0, (-4.0, 6.0)
# What is near enough to the residual that is asked for, relative.
_NEAR = 0.01
_CG_STEPS, _CG_ROUGH, _CG_EXACT = 60, 1e-3, 1e-4


class NoiseAware(nn.Module):
    r"""A network whose samples are noisy: they are approached, not kept.

    The network runs as always, then the prior of its last block, with the graphs that it learned,
    is solved in penalty form:

    .. math::
        \min_x\|Hx-y\|^2+\mu\sum_h\|T_h(x-m)\|^2_{L(\tilde w^h)},\qquad
        \frac{\|Hx-y\|^2}{|\Omega|}=0.7\,\sigma^2

    The second equation fixes :math:`\mu` (discrepancy principle): the residual grows with it, so it
    is found by a few steps of the secant on logarithms. For uGLR and uGTV :math:`T_h` is the square
    root of the weight of the head, and :math:`m=0` unless the network learns a mean. Nothing is
    trained for noise; where there is little of it the plain network is better.
    :func:`~gsp_unroll.inference.restore` calls it for tiles, as any method that is no network, and
    each tile has a :math:`\mu` of its own.

    Args:
        network: Trained without noise.
        sigma: Standard deviation of the noise on the samples, which are in [0, 1].

    Shapes:
        - **y:** ``[B, C, H, W]``
        - **mask:** boolean, broadcastable to ``y``
        - **output:** ``[B, C, H, W]``

    Raises:
        TypeError: If ``network`` is not one of :mod:`gsp_unroll.models` that is trained.
        ValueError: If ``sigma`` is not in (0, 1], or the network has directed or
            normalised Laplacians.
    """

    def __init__(self, network: UnrolledNetwork, sigma: float) -> None:
        super().__init__()
        checks.in_range("sigma", sigma, 0.0, 1.0, open_low=True)
        if not isinstance(network, UnrolledNetwork):
            raise TypeError(
                "network must be a trained one, e.g. of load_pretrained, got "
                f"{type(network).__name__}"
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
        # Everything is taken from the mean of the prior, so that tolerances are those of samples.
        mean = torch.zeros_like(samples) if last.mean is None else last.mean
        samples = samples - seen * mean
        target = _SHARE * self.sigma**2 * float(seen.sum())

        def solve(log_mu: float, x: Tensor, tolerance: float) -> tuple[Tensor, float]:
            """The solution for one mu, and the logarithm of how much too large its residual is."""
            mu = 10**log_mu
            x = _cg(lambda v: seen * v + mu * prior.operator(v), samples, x, tolerance)
            residual = float((seen * x - samples).square().sum())
            return x, math.log(max(residual, 1e-30) / target)

        x, log_mu = last.estimate - mean, _LOG_START
        bracket: dict[bool, tuple[float, float]] = {}
        while True:
            # The solution for one mu is a good start for the next.
            x, excess = solve(log_mu, x, _CG_ROUGH)
            bracket[excess > 0] = log_mu, excess
            if len(bracket) < 2:
                following = log_mu - math.copysign(1, excess)
            else:
                (a, fa), (b, fb) = bracket[False], bracket[True]
                # Not nearer to an end than a tenth, so that the bracket shrinks from both sides.
                share = min(max(fa / (fa - fb), 0.1), 0.9)
                following = a + share * (b - a)
            if (
                abs(excess) < _NEAR
                or abs(following - log_mu) < 1e-3
                or not _LOG_RANGE[0] <= following <= _LOG_RANGE[1]
            ):
                break
            log_mu = following
        return (mean + solve(log_mu, x, _CG_EXACT)[0]).view_as(y)


def _cg(operator: Callable[[Tensor], Tensor], b: Tensor, x: Tensor, tolerance: float) -> Tensor:
    """Conjugate gradients on one system, all channels and images together."""
    r = b - operator(x)
    p, rr = r, r.square().sum()
    enough = tolerance**2 * b.square().sum()
    for _ in range(_CG_STEPS):
        if not rr > enough:
            break
        ap = operator(p)
        alpha = rr / (p * ap).sum()
        x, r = x + alpha * p, r - alpha * ap
        before, rr = rr, r.square().sum()
        p = r + rr / before * p
    return x
