"""The measurement: keep the observed samples of a signal and add white Gaussian noise to them."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks


def observe(
    truth: Tensor,
    mask: Tensor,
    noise_sigma: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Measure ``y = H (truth + noise)``, laid out like ``truth`` with 0 where nothing was observed.

    The result is not clipped: noise may carry samples outside [0, 1].

    Args:
        truth: Floating-point image ``[..., H, W]``, usually in [0, 1]; must be finite.
        mask: bool, ``True`` = observed, broadcastable to ``truth``.
        noise_sigma: Standard deviation of the noise in the units of ``truth``, in [0, 1]
            (``25 / 255`` for the 25 of the literature). 0 adds nothing and draws nothing.
        generator: Source of the noise; the global one of torch if ``None``. A CPU generator gives
            the same noise whatever the device of ``truth``.

    Returns:
        Tensor of the shape, dtype and device of ``truth``.

    Raises:
        ValueError: If ``truth`` holds NaN or infinity, if the mask does not broadcast to it, or if
            ``noise_sigma`` is outside [0, 1].
        TypeError: If ``truth`` is not floating point or ``mask`` is not bool.
    """
    checks.floating("truth", truth)
    checks.finite("truth", truth)
    mask = checks.mask_of("truth", truth, mask)
    sigma = check_sigma(noise_sigma)
    if sigma > 0:
        device = truth.device if generator is None else generator.device
        noise = torch.randn(truth.shape, generator=generator, dtype=truth.dtype, device=device)
        truth = truth + sigma * noise.to(truth.device)
    return torch.where(mask, truth, torch.zeros_like(truth))


def check_sigma(noise_sigma: float) -> float:
    """Return ``noise_sigma`` if it lies in [0, 1]; who gave 25 is told to give 25 / 255."""
    try:
        return checks.in_range("noise_sigma", noise_sigma, 0.0, 1.0)
    except ValueError as error:
        raise ValueError(f"{error}; it is in units of [0, 1], e.g. 25 / 255") from None
