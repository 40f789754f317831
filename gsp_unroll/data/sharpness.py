"""Softer patches for training: lenses and scanners differ, the images of one folder hardly do."""

from __future__ import annotations

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from gsp_unroll.ops.planar import full_precision


def blur(image: Tensor, sigma: float) -> Tensor:
    """The image behind a Gaussian lens; it goes on mirrored beyond its border. No gradient.

    Args:
        image: ``[C, H, W]`` on the CPU.
        sigma: Standard deviation in pixels, at least 0; 0 changes nothing.
    """
    pixels = full_precision(image.detach()).numpy()
    return torch.from_numpy(gaussian_filter(pixels, (0, sigma, sigma), mode="mirror")).to(image)
