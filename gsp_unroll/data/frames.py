"""Frames around training patches: scans and film stills end in lines of one grey."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# The widest frame, in lines.
_WIDEST = 3


def add_frame(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Lines of one grey along one side, and often a line between that is neither.

    One to three lines take one value, which is 0 for half of the frames and else drawn from [0, 1];
    for half of them the line beside is mixed with another grey, by a share drawn from [0, 1]. A
    network that has seen none of it continues the colours of the picture into the frame: the last
    line of a mosaic holds samples of two channels only, and the third comes from the lines before.

    Args:
        image: ``[C, H, W]`` in [0, 1], sides of at least 2.
        rng: What is drawn from.
    """
    turns = int(rng.integers(4))
    level = rng.random() if rng.random() < 0.5 else 0.0
    between, share = rng.random(), rng.random() if rng.random() < 0.5 else 0.0
    framed = torch.rot90(image, turns, (1, 2)).clone()
    width = int(rng.integers(1, min(_WIDEST, framed.shape[1] - 1) + 1))
    framed[:, :width] = level
    framed[:, width] = (1 - share) * framed[:, width] + share * between
    return torch.rot90(framed, -turns, (1, 2))
