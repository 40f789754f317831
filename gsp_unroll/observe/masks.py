"""Sampling masks that are no colour filter array: decimation and random positions."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from gsp_unroll import checks


def decimation_mask(height: int, width: int, factor: int = 2, channels: int = 1) -> Tensor:
    """Keep one pixel in ``factor`` x ``factor``: rows and columns 0, ``factor``, 2 ``factor``, ...

    No low-pass filter precedes the sampling. The first row and column are always kept, so every
    size from 1 x 1 has a sample.

    Args:
        height: Rows, at least 1.
        width: Columns, at least 1.
        factor: Step between kept rows and columns, at least 1.
        channels: Number of channels; all share the positions.

    Returns:
        bool ``[channels, height, width]``, ``True`` = observed.
    """
    checks.positive_int("height", height)
    checks.positive_int("width", width)
    checks.positive_int("factor", factor)
    checks.positive_int("channels", channels)
    mask = torch.zeros(channels, height, width, dtype=torch.bool)
    mask[:, ::factor, ::factor] = True
    return mask


def random_mask(
    height: int, width: int, ratio: float = 0.25, channels: int = 1, seed: int = 0
) -> Tensor:
    """Keep a share ``ratio`` of the pixels at random; all channels of a kept pixel are observed.

    The count is exact, ``max(1, round(ratio * height * width))``, and the positions depend on the
    arguments only, not on the global random state.

    Args:
        height: Rows, at least 1.
        width: Columns, at least 1.
        ratio: Share of pixels kept, in (0, 1].
        channels: Number of channels; all share the positions.
        seed: Seed of the positions, at least 0.

    Returns:
        bool ``[channels, height, width]``, ``True`` = observed.
    """
    checks.positive_int("height", height)
    checks.positive_int("width", width)
    checks.positive_int("channels", channels)
    checks.positive_int("seed", seed, minimum=0)
    ratio = checks.in_range("ratio", ratio, 0.0, 1.0, open_low=True)
    pixels = height * width
    generator = torch.Generator().manual_seed(seed)
    kept = torch.randperm(pixels, generator=generator)[: max(1, round(ratio * pixels))]
    flat = torch.zeros(pixels, dtype=torch.bool)
    flat[kept] = True
    return flat.view(1, height, width).repeat(channels, 1, 1)


def mask_origin(mask: Tensor, period: int) -> tuple[int, int]:
    """First pixel from which the first channel is observed at every ``period``-th row and column.

    The red pixel of a Bayer array in any of its four phases with a period of 2, and the first
    sample of an image to be enlarged.

    Args:
        mask: bool ``[..., C, H, W]``; what holds for all images of a batch counts.
        period: Rows and columns after which the mask repeats.

    Returns:
        Row and column, each less than ``period``; (0, 0) if there is no such pixel.
    """
    seen = mask[..., 0, :, :]
    seen = seen.reshape(-1, *seen.shape[-2:]).all(0)
    places = list(product(*(range(min(period, length)) for length in seen.shape)))
    found = torch.stack([seen[row::period, column::period].all() for row, column in places])
    # One question to the device, not one for each.
    return next((place for place, here in zip(places, found.tolist(), strict=True) if here), (0, 0))
