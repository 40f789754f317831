"""Brightness of a colour image as the literature on interpolation defines it."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks

# ITU-R BT.601, studio range: Y = 16 + 65.481 R + 128.553 G + 24.966 B, divided by 255.
_WEIGHTS = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_OFFSET = 16 / 255


def luma(image: Tensor) -> Tensor:
    """Return the studio-range BT.601 luma, ``skimage.color.rgb2ycbcr(image)[..., 0] / 255``.

    Args:
        image: Floating-point RGB image ``[..., 3, H, W]`` in [0, 1].

    Returns:
        ``[..., 1, H, W]``; black gives 16/255, white 235/255.
    """
    checks.floating("image", image)
    if image.dim() < 3 or image.shape[-3] != 3:
        raise ValueError(f"image must have shape [..., 3, H, W], got {list(image.shape)}")
    weights = torch.tensor(_WEIGHTS, dtype=image.dtype, device=image.device).view(3, 1, 1)
    return (image * weights).sum(-3, keepdim=True) + _OFFSET
