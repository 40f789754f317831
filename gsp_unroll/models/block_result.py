"""What a block of a network hands on."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class BlockResult(NamedTuple):
    """What one block hands on.

    Attributes:
        estimate: The next signal ``[B, C, N]``.
        weight: Learned planar weights, or ``None``: no graph.
        mean: Learned mean of the prior ``[B, C, N]``, or ``None``.
        maps: Maps of the features for the next block with ``carry``, or ``None``.
    """

    estimate: Tensor
    weight: Tensor | None = None
    mean: Tensor | None = None
    maps: Tensor | None = None
