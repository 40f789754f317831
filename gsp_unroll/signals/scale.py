"""What signals and their attributes are measured in inside a network."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from gsp_unroll.signals.collect import SignalGroup

# Deviations of this many units in the last place are rounding.
ROUNDING = 4


@dataclass(frozen=True)
class SignalScale:
    """Units of signals and attributes.

    Attributes:
        signal: Standard deviation of each channel about the mean of its graph ``[C]``; about zero
            where no mean is taken away.
        mean: Mean of each attribute ``[A]``, float64: positions may be far from zero.
        spread: Standard deviation of each attribute ``[A]``, float64.
    """

    signal: Tensor
    mean: Tensor
    spread: Tensor


def origin_of(group: SignalGroup) -> Tensor:
    """The attributes of a node ``[A]``, float64: what the sums of all groups are about."""
    if group.attributes is None:
        return group.signal.new_zeros(0, dtype=torch.float64)
    return group.attributes[0, :, 0].double()


def moments(group: SignalGroup, origin: Tensor) -> Tensor:
    """Sums from which :func:`scale_of` follows, float64; those of several groups add up.

    Args:
        group: Signals about what they are measured from.
        origin: A place among the attributes ``[A]``, so that none far from zero loses digits.
    """
    parts = [group.signal.double().square().sum((0, 2)), group.known.sum((0, 2)).double()]
    if group.attributes is not None:
        a = group.attributes.double() - origin[:, None]
        nodes = a.new_full((1,), a.shape[0] * a.shape[2])
        parts += [a.sum((0, 2)), a.square().sum((0, 2)), nodes]
    return torch.cat(parts)


def scale_of(
    total: Tensor, like: SignalGroup, origin: Tensor, together: Collection[int] = ()
) -> SignalScale:
    """Units from the sum of the :func:`moments` of all groups.

    Args:
        total: That sum.
        like: One of the groups.
        origin: What the sums are about.
        together: Attributes that get one spread, the root mean square of theirs (default: none).
    """
    channels = like.signal.shape[1]
    signal = (total[:channels] / total[channels : 2 * channels]).sqrt().float()
    signal = torch.where(signal > 0, signal, torch.ones_like(signal))
    if like.attributes is None:
        return SignalScale(signal, total.new_zeros(0), total.new_ones(0))
    first, second = total[2 * channels : -1].chunk(2)
    mean = first / total[-1]
    variance = second / total[-1] - mean.square()
    # A constant may differ from its mean by rounding, which is no attribute.
    real = variance > ROUNDING * torch.finfo(total.dtype).eps * mean.square()
    variance = torch.where(real, variance, 0)
    if together:
        columns = list(together)
        variance[columns] = variance[columns].mean()
    variance = torch.where(variance > 0, variance, 1)
    return SignalScale(signal, origin + mean, variance.sqrt())
