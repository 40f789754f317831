"""Interpolation of a decimated image back to its grid: aligned kernels, and the shifted one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from gsp_unroll import checks


def linear(samples: Tensor, height: int, width: int, factor: int = 2) -> Tensor:
    """Interpolate bilinearly, sample (i, j) at pixel (``factor`` i, ``factor`` j).

    Args:
        samples: Floating-point ``[..., ceil(height / factor), ceil(width / factor)]``.
        height: Rows of the result.
        width: Columns of the result.
        factor: Decimation per axis.

    Returns:
        ``[..., height, width]``; equal to the samples on their grid. Beyond the last sample, the
        last sample.
    """
    return _separable(samples, height, width, factor, _triangle, reach=1)


def cubic(samples: Tensor, height: int, width: int, factor: int = 2) -> Tensor:
    """Interpolate by cubic convolution (Keys, 1981; a = -1/2), aligned with the decimation grid.

    Arguments and result as ``linear``. Samples beyond the edge repeat the edge.
    """
    return _separable(samples, height, width, factor, _keys, reach=2)


def cubic_shifted(samples: Tensor, height: int, width: int, factor: int = 2) -> Tensor:
    """Interpolate with ``torch.nn.functional.interpolate(mode="bicubic", align_corners=False)``.

    That call puts samples at the centres of ``factor`` x ``factor`` cells, so against the grid of
    a ``[::factor, ::factor]`` decimation its result is shifted by (factor - 1) / 2 pixels. It is
    here because published tables use it. Arguments and result as ``linear``, except that the
    samples are not kept.
    """
    _check(samples, height, width, factor)
    lead = samples.shape[:-2]
    flat = samples.reshape(1, -1, *samples.shape[-2:])
    big = functional.interpolate(flat, scale_factor=factor, mode="bicubic", align_corners=False)
    return big[..., :height, :width].reshape(*lead, height, width)


def _check(samples: Tensor, height: int, width: int, factor: int) -> None:
    checks.floating("samples", samples)
    checks.positive_int("height", height)
    checks.positive_int("width", width)
    checks.positive_int("factor", factor)
    expected = [-(-height // factor), -(-width // factor)]
    if samples.dim() < 2 or list(samples.shape[-2:]) != expected:
        raise ValueError(
            f"samples must have shape [..., {expected[0]}, {expected[1]}] for a {height} x {width} "
            f"result and factor {factor}, got {list(samples.shape)}"
        )


def _separable(
    samples: Tensor,
    height: int,
    width: int,
    factor: int,
    kernel: Callable[[Tensor], Tensor],
    reach: int,
) -> Tensor:
    _check(samples, height, width, factor)
    rows = _along_last(samples.transpose(-1, -2), height, factor, kernel, reach)
    return _along_last(rows.transpose(-1, -2), width, factor, kernel, reach)


def _along_last(
    samples: Tensor, size: int, factor: int, kernel: Callable[[Tensor], Tensor], reach: int
) -> Tensor:
    pixel = torch.arange(size, device=samples.device)
    base = pixel // factor
    offset = (pixel - base * factor).to(samples.dtype) / factor
    out = torch.zeros(*samples.shape[:-1], size, dtype=samples.dtype, device=samples.device)
    for step in range(1 - reach, reach + 1):
        index = (base + step).clamp(0, samples.shape[-1] - 1)
        out = out + samples[..., index] * kernel((offset - step).abs())
    return out


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _keys(distance: Tensor) -> Tensor:
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
