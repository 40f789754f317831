"""Stronger colours for training: photographs have few, and restoration fails where they are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# The darkest that `recolour` makes a channel, relative to the others.
_DARKEST = 0.2


def saturate(rgb: Tensor, factor: float) -> Tensor:
    """Colours ``factor`` times as far from the grey of their pixel, within [0, 1].

    Args:
        rgb: ``[3, H, W]`` in [0, 1].
        factor: At least 0; 1 changes nothing.
    """
    grey = rgb.mean(0, keepdim=True)
    return (grey + factor * (rgb - grey)).clamp(0, 1)


def recolour(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    """Channels in any order, all but one of them darker.

    The factors of the channels are three draws from [0.2, 1] over the largest of them.

    Args:
        rgb: ``[3, H, W]`` in [0, 1].
        rng: What is drawn from.
    """
    order = rng.permutation(3)
    factors = rng.uniform(_DARKEST, 1, size=3)
    factors = torch.from_numpy((factors / factors.max()).astype(np.float32)).to(rgb.dtype)
    return rgb[torch.from_numpy(order)] * factors[:, None, None]
