"""What a patch is judged by."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Loss = Literal["mse", "l1", "rmse"]

# A patch restored to 60 dB is good enough: the root has no gradient at 0.
_FLOOR = 1e-6


def patch_loss(error: Tensor, loss: Loss) -> Tensor:
    r"""The loss of each patch, from the errors :math:`e` of its :math:`n` values.

    .. math::
        \text{mse} = \tfrac1n\sum e^2, \qquad \text{l1} = \tfrac1n\sum|e|, \qquad
        \text{rmse} = \sqrt{\text{mse} + 10^{-6}}

    Args:
        error: ``[B, C, H, W]``, the estimate less the truth.
        loss: Which one.

    Returns:
        ``[B]``.
    """
    if loss == "l1":
        return error.abs().mean((1, 2, 3))
    squared = error.square().mean((1, 2, 3))
    return squared if loss == "mse" else (squared + _FLOOR).sqrt()
