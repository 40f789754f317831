"""How much signals differ between nodes, which is all that graph learning sees of them."""

from __future__ import annotations

from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.half_vector import from_matrix


def pairwise_distances(signals: Tensor) -> Tensor:
    r"""Mean squared difference of the signals at each pair of nodes.

    .. math:: z_{ij}=\frac1n\sum_{k=1}^n(x_{ki}-x_{kj})^2

    so that :math:`2\,w^\top z` is the mean over the signals of :math:`2\,x^\top Lx`.

    Args:
        signals: ``[*, n, m]``: ``n`` signals on the same ``m`` nodes, floating point, finite.

    Returns:
        Half vectors ``[*, m (m - 1) / 2]``.

    Raises:
        TypeError: If ``signals`` is not floating point.
        ValueError: If ``signals`` has no such shape, or is not finite.
    """
    checks.floating("signals", signals)
    if signals.dim() < 2 or signals.shape[-2] < 1 or signals.shape[-1] < 2:
        raise ValueError(
            "signals must have shape [*, n, m] with n of at least 1 and m of at least 2, "
            f"got {list(signals.shape)}"
        )
    checks.finite("signals", signals)
    # What a signal has in common at all nodes does not count; left in, it would cost digits. So
    # would single precision: near nodes differ by little of what they are.
    x = signals.double() - signals.double().mean(-1, keepdim=True)
    return distances_from_covariance(x.mT @ x / signals.shape[-2]).to(signals.dtype)


def distances_from_covariance(covariance: Tensor) -> Tensor:
    r"""The distances :math:`z_{ij}=S_{ii}+S_{jj}-2S_{ij}` of second moments ``S [*, m, m]``."""
    power = covariance.diagonal(dim1=-2, dim2=-1)
    apart = power.unsqueeze(-1) + power.unsqueeze(-2) - 2 * covariance
    return from_matrix(apart).clamp(min=0)
