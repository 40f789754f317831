"""The starting point of every method: fill in what was not observed, without any learning."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from gsp_unroll import checks


def fill_in(y: Tensor, mask: Tensor) -> Tensor:
    """Fill each channel by normalised convolution with the bilinear kernel, until nothing is left.

    With k = [1, 2, 1] x [1, 2, 1] (outer product) and m the samples known so far, one pass sets

        x = (k * (m y)) / (k * m)   where k * m > 0 and nothing is known,

    and what it filled counts as known in the next pass. On a Bayer mosaic one pass is bilinear
    demosaicking; on a decimation by 2 it is bilinear interpolation; wider gaps take more passes.
    Every value is a convex combination of samples of its channel, so the range is kept.

    Args:
        y: Floating-point image ``[..., C, H, W]``; read at observed positions only.
        mask: bool, ``True`` = observed, broadcastable to ``y``.

    Returns:
        Tensor like ``y``, equal to it bit for bit where ``mask`` is true. Differentiable in ``y``.

    Raises:
        ValueError: If a channel of a sample has no observed pixel (the message names both), or if
            the mask does not broadcast to ``y``.
        TypeError: If ``y`` is not floating point or ``mask`` is not bool.
    """
    checks.floating("y", y)
    if y.dim() < 2 or 0 in y.shape:
        raise ValueError(f"y must have shape [..., H, W] and no empty axis, got {list(y.shape)}")
    checks.mask_of("y", y, mask)
    # The last two axes must be full for the convolution; leading axes stay broadcast (cheap).
    mask = mask.expand(*mask.shape[: max(mask.dim() - 2, 0)], *y.shape[-2:])
    _require_samples(mask, y)
    # where, not a product: whatever lies at unobserved positions (even NaN) must not leak.
    x = torch.where(mask, y, torch.zeros_like(y))
    known = mask
    while not bool(known.all()):
        weight = _smooth(known.to(y.dtype))
        reached = weight > 0
        # Kernel weights are integers, so clamping at 1 changes no reached position.
        new = _smooth(x) / weight.clamp(min=1)
        x = torch.where(known, x, torch.where(reached, new, torch.zeros_like(new)))
        known = known | reached
    return x


def fill_reach(mask: Tensor) -> int:
    """Passes that :func:`fill_in` makes: no filled value depends on samples farther away (pixels).

    Args:
        mask: bool ``[..., C, H, W]``, ``True`` = observed.

    Raises:
        ValueError: If a channel has no observed pixel.
    """
    _require_samples(mask, mask)
    known, passes = mask, 0
    while not bool(known.all()):
        known, passes = _grow(_grow(known, -1), -2), passes + 1
    return passes


def _grow(known: Tensor, axis: int) -> Tensor:
    """What is known, and its two neighbours along ``axis``."""
    length = known.shape[axis]
    grown = known.clone()
    grown.narrow(axis, 1, length - 1).logical_or_(known.narrow(axis, 0, length - 1))
    grown.narrow(axis, 0, length - 1).logical_or_(known.narrow(axis, 1, length - 1))
    return grown


def _smooth(x: Tensor) -> Tensor:
    """Convolve the last two axes with [1, 2, 1] x [1, 2, 1], zeros outside.

    Shifted sums, not ``conv2d``: its algorithm may change with the batch size and under autocast,
    and a sample's result must not depend on its batch mates.
    """
    x = functional.pad(x, (0, 0, 1, 1))
    x = x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]
    x = functional.pad(x, (1, 1))
    return x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]


def _require_samples(mask: Tensor, y: Tensor) -> None:
    has_sample = mask.flatten(-2).any(-1)
    if bool(has_sample.all()):
        return
    place = has_sample.expand(y.shape[:-2]).logical_not().nonzero()[0].tolist()
    names = [f"axis {i}" for i in range(len(place) - 2)] + ["sample", "channel"]
    named = list(zip(reversed(names), reversed(place), strict=False))[::-1]
    where = ", ".join(f"{name} {i}" for name, i in named) or "the only channel"
    raise ValueError(
        f"mask must observe at least one pixel of every channel, but {where} of the "
        f"{y.shape[-2]} x {y.shape[-1]} image has none"
    )
