"""PSNR and SSIM in torch: per image, on any device, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from gsp_unroll import checks

SSIM_WINDOW = 7


def mse(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared error of each image, over its channels and pixels.

    Args:
        estimate: Floating-point ``[B, C, H, W]``.
        truth: Same shape.

    Returns:
        ``[B]``.

    Raises:
        ValueError: If the shapes differ or are not four-dimensional.
    """
    _same_batch(estimate, truth)
    return (estimate - truth).square().flatten(1).mean(1)


def psnr(estimate: Tensor, truth: Tensor, data_range: float = 1.0) -> Tensor:
    """Return the peak signal-to-noise ratio of each image, 10 log10(data_range^2 / MSE), in dB.

    Neither clips nor rounds. Equal images give infinity.

    Args:
        estimate: Floating-point ``[B, C, H, W]``.
        truth: Same shape.
        data_range: Largest possible value minus the smallest, above 0.

    Returns:
        ``[B]``.
    """
    peak = checks.in_range("data_range", data_range, 0.0, open_low=True)
    return 10 * torch.log10(peak**2 / mse(estimate, truth))


def ssim(estimate: Tensor, truth: Tensor, data_range: float = 1.0) -> Tensor:
    """Return the structural similarity of each image (Wang et al., 2004), mean over its channels.

    7 x 7 uniform window, sample covariance, windows inside the image only: the defaults of
    ``skimage.metrics.structural_similarity``. With window means m, variances v, covariance c,

        SSIM = (2 m_x m_y + C1)(2 c + C2) / ((m_x^2 + m_y^2 + C1)(v_x + v_y + C2)),

    C1 = (0.01 data_range)^2, C2 = (0.03 data_range)^2.

    Args:
        estimate: Floating-point ``[B, C, H, W]``, at least 7 x 7 pixels.
        truth: Same shape.
        data_range: Largest possible value minus the smallest, above 0.

    Returns:
        ``[B]``, in [-1, 1].

    Raises:
        ValueError: If an axis is shorter than the window or the shapes differ.
    """
    _same_batch(estimate, truth)
    peak = checks.in_range("data_range", data_range, 0.0, open_low=True)
    if min(truth.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"image must be at least {SSIM_WINDOW} x {SSIM_WINDOW} for SSIM, "
            f"got {truth.shape[-2]} x {truth.shape[-1]}"
        )

    def mean(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, SSIM_WINDOW, stride=1)

    pixels = SSIM_WINDOW**2
    sample = pixels / (pixels - 1)
    # Variances do not depend on the level; removing the mean first avoids cancellation in float32.
    level = truth.mean(dim=(-2, -1), keepdim=True)
    x, y = estimate - level, truth - level
    mean_x, mean_y = mean(x), mean(y)
    var_x = sample * (mean(x * x) - mean_x**2)
    var_y = sample * (mean(y * y) - mean_y**2)
    cov = sample * (mean(x * y) - mean_x * mean_y)
    mean_x, mean_y = mean_x + level, mean_y + level
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return similarity.flatten(1).mean(1)


def _same_batch(estimate: Tensor, truth: Tensor) -> None:
    checks.floating("estimate", estimate)
    checks.floating("truth", truth)
    if estimate.dim() != 4 or estimate.shape != truth.shape or 0 in truth.shape:
        raise ValueError(
            "estimate and truth must have one shape [B, C, H, W] without an empty axis, got "
            f"{list(estimate.shape)} and {list(truth.shape)}"
        )
    checks.same_device(estimate=estimate, truth=truth)
