"""What a block of a network hands on."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class BlockResult(NamedTuple):
    """What one block hands on.

    Attributes:
        estimate: The next signal ``[B, C, N]``.
        weight: Learned planar weights ``[B, heads, M]``; ``[B, heads, 2, M]`` if directed.
        mean: Learned mean of the prior ``[B, C, N]``, or ``None``.
        maps: Maps of the features for the next block with ``carry``, or ``None``.
    """

    estimate: Tensor
    weight: Tensor
    mean: Tensor | None = None
    maps: Tensor | None = None
