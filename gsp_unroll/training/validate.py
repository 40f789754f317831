"""PSNR on held-out images, in one of two named protocols."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gsp_unroll.checks import one_of
from gsp_unroll.evaluation.protocols import PROTOCOLS, ImageScore, decibel
from gsp_unroll.training.sources import HeldOut


@torch.no_grad()
def squared_errors(
    model: nn.Module, items: Sequence[HeldOut], device: torch.device, stop: Callable[[], bool]
) -> Tensor | None:
    """Return the mean squared error of each image, float64 ``[images]``.

    Args:
        model: Called as ``model(y, mask)``; put into eval mode.
        items: Observed images.
        device: Where the model is.
        stop: Asked before each image; ``True`` abandons the validation.

    Returns:
        The errors, or ``None`` if it was abandoned.
    """
    model.eval()
    errors = torch.zeros(len(items), dtype=torch.float64)
    for k, item in enumerate(items):
        if stop():
            return None
        restored = model(item.y.to(device), item.mask.to(device))
        errors[k] = (restored.double() - item.truth.to(device).double()).square().mean().cpu()
    return errors


def psnr(errors: Tensor, protocol: str) -> float:
    """Return the PSNR in dB of a set of images, given the mean squared error of each.

    Args:
        errors: ``[images]``, of images in [0, 1].
        protocol: Name of one of `gsp_unroll.evaluation.PROTOCOLS`; it decides on the average.

    Raises:
        ValueError: If there is no such protocol.
    """
    one_of("protocol", protocol, PROTOCOLS)
    scores = [ImageScore(mse=e, psnr=decibel(e), ssim=math.nan) for e in errors.tolist()]
    return PROTOCOLS[protocol].average(scores)[0]
