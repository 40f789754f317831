"""The eight orientations of an image: flips and transposes."""

from __future__ import annotations

from torch import Tensor

ORIENTATIONS = 8


def reorient(image: Tensor, orientation: int) -> Tensor:
    """Orientation 0 to 7 of ``image [..., H, W]``; 0 is the image itself.

    The bits of ``orientation``: 1 flips columns, 2 flips rows, then 4 transposes. Always a copy.
    """
    flipped = image.flip(_flipped_axes(orientation))
    return flipped.transpose(-1, -2) if orientation & 4 else flipped


def reorient_back(image: Tensor, orientation: int) -> Tensor:
    """Inverse of :func:`reorient`."""
    turned = image.transpose(-1, -2) if orientation & 4 else image
    return turned.flip(_flipped_axes(orientation))


def _flipped_axes(orientation: int) -> list[int]:
    return [-1] * (orientation & 1) + [-2] * (orientation >> 1 & 1)
