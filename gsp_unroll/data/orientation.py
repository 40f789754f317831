"""The eight orientations of an image: flips and transposes."""

from __future__ import annotations

from torch import Tensor

ORIENTATIONS = 8


def reorient(image: Tensor, orientation: int) -> Tensor:
    """Orientation 0 to 7 of ``image [..., H, W]``; 0 is the image itself.

    The bits of ``orientation``: 1 flips columns, then 2 flips rows, then 4 transposes.
    """
    if orientation & 1:
        image = image.flip(-1)
    if orientation & 2:
        image = image.flip(-2)
    if orientation & 4:
        image = image.transpose(-1, -2)
    return image


def reorient_back(image: Tensor, orientation: int) -> Tensor:
    """Inverse of :func:`reorient`."""
    if orientation & 4:
        image = image.transpose(-1, -2)
    if orientation & 2:
        image = image.flip(-2)
    if orientation & 1:
        image = image.flip(-1)
    return image
