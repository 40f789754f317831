"""Weights with which the squared errors of patches add up to what PSNR is a mean of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gsp_unroll.data.difficulty import difficulty

# Patches along each side of an image, from which its difficulty is known to about a third.
_GRID = 5
# Squared errors below this, 46 dB, are as good as each other: a flat image is not worth more.
_FLOOR = 2.5e-5
# Squared error at which a weight is 1: 30 dB, that of a hard image restored without learning.
_REFERENCE = 1e-3


def places(length: int, side: int) -> list[int]:
    """Up to five even starts of a patch of ``side`` in ``length`` pixels, evenly spread."""
    starts = np.linspace(0, length - side, min(_GRID, length // side))
    return sorted({int(start) // 2 * 2 for start in starts})


def image_difficulty(patches: list[Tensor], mask: Tensor) -> float:
    """Mean difficulty of patches ``[C, H, W]`` of an image, see :func:`difficulty`."""
    return float(difficulty(torch.stack(patches), mask).mean())


def balance(power: float, image: Tensor, plain: Tensor, changed: Tensor) -> Tensor:
    r"""The weights of patches in the mean of the logarithms of the errors of their images.

    .. math::
        b = \left(10^{-3}\,\frac{d_\text{plain}}{d_\text{image}\,d_\text{changed}}\right)^p

    The gradient of the mean PSNR of images is that of :math:`\sum_i\text{mse}_i/m_i` with
    :math:`m_i` the present value of :math:`\text{mse}_i`: an image of half the error counts twice.
    Here :math:`m_i` is taken to be proportional to the difficulty of the image, after whatever was
    done to the colours and to the sharpness of the patch: its difficulty before and after that
    says by how much the error of such an image would change. No difficulty is below
    :math:`2.5\cdot10^{-5}`.

    Args:
        power: :math:`p`; 1 = mean PSNR, 0 = mean squared error.
        image: Difficulties of the images of the patches ``[K]``.
        plain: Difficulties of the patches as they are in their images ``[K]``.
        changed: The same after augmentation ``[K]``.

    Returns:
        ``[K]``.
    """
    image, plain, changed = (value.clamp(min=_FLOOR) for value in (image, plain, changed))
    return (_REFERENCE * plain / (image * changed)) ** power
