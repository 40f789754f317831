"""Images scaled down for training: finer detail, less noise, and colours as sharp as the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll.ops.planar import full_precision

# By how much `PatchDataset` scales patches down at most.
LARGEST_FACTOR = 2.5


def scale_down(image: Tensor, height: int, width: int) -> Tensor:
    """The image in fewer pixels, by the anti-aliased bicubic filter, within [0, 1].

    A photograph of half as many pixels each way has half the noise, twice the detail per pixel, and
    no trace of colours that JPEG had stored at half the resolution.

    Args:
        image: ``[C, H, W]`` in [0, 1].
        height: Rows of the result, at most ``H``.
        width: Columns of the result, at most ``W``.
    """
    if image.shape[1:] == (height, width):
        return image
    smaller = torch.nn.functional.interpolate(
        full_precision(image)[None], size=(height, width), mode="bicubic", antialias=True
    )
    return smaller[0].clamp(0, 1).to(image)
