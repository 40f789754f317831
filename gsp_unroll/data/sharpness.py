"""Softer patches for training: lenses and scanners differ, the images of one folder hardly do."""

from __future__ import annotations

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor


def blur(image: Tensor, sigma: float) -> Tensor:
    """The image behind a Gaussian lens; it goes on mirrored beyond its border.

    Args:
        image: ``[C, H, W]`` on the CPU.
        sigma: Standard deviation in pixels, at least 0; 0 changes nothing.
    """
    return torch.from_numpy(gaussian_filter(image.numpy(), (0, sigma, sigma), mode="mirror"))
