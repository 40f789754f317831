"""What :func:`gsp_unroll.inference.restore` is given: samples, and where they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observation
from gsp_unroll.observe.cfa import CFA

# Longest period that is looked for in a mask: twice the longest known colour filter array's.
_LONGEST_PERIOD = 12


@dataclass(frozen=True)
class Observation:
    """An image and what is known of it.

    Attributes:
        samples: ``[C, H, W]``, a mosaic being expanded; anything where not observed.
        mask: Boolean ``[C, H, W]``.
        period: Rows and columns after which the mask repeats, ``None`` where it does not.
        made: Bytes of memory that were made beside what the caller gave.
    """

    samples: Tensor
    mask: Tensor
    period: tuple[int | None, int | None]
    made: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.samples.shape[1], self.samples.shape[2]

    @property
    def step(self) -> tuple[int, int]:
        """Rows and columns after which the mask repeats, 1 where it does not."""
        rows, columns = self.period
        return rows or 1, columns or 1

    def at(self, place: tuple[slice, ...]) -> tuple[Tensor, Tensor]:
        """Samples (zero where there is none) and mask of a part of the image."""
        mask = self.mask[place]
        return torch.where(mask, self.samples[place], 0), mask


def observation(image: Tensor, mask: Tensor | CFA | None) -> Observation:
    """Read the arguments of :func:`~gsp_unroll.inference.restore`, which says what they may be."""
    checks.floating("image", image)
    if isinstance(mask, CFA):
        if image.dim() == 2:
            image = image.unsqueeze(0)
        if image.dim() != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
            raise ValueError(
                "image must have shape [H, W], [1, H, W] or [3, H, W] with a colour filter array "
                f"and no empty axis, got {list(image.shape)}"
            )
        known = mask.mask(*image.shape[1:]).to(image.device)
        period, made = mask.period, known.numel()
        image = image.expand(3, -1, -1)
    else:
        checks.shape("image", image, ["C", "H", "W"])
        if image.numel() == 0:
            raise ValueError(f"image must not be empty, got shape {list(image.shape)}")
        if not isinstance(mask, Tensor | None):
            raise TypeError(
                "mask must be a boolean tensor, a colour filter array as CFA.from_name('RGGB'), or "
                f"None (NaN = missing), got {type(mask).__name__}"
                + (f" {mask!r}" if isinstance(mask, str) else "")
            )
        known = ~torch.isnan(image) if mask is None else mask
        made = known.numel() if mask is None else 0
    known = check_observation(image, known, "image")
    if not isinstance(mask, CFA):
        period = (_period(known, -2), _period(known, -1))
    return Observation(image, known, period, made)


def _period(mask: Tensor, axis: int) -> int | None:
    """Smallest shift along ``axis`` that leaves the mask as it is, ``None`` if there is none."""
    length = mask.shape[axis]
    for period in range(1, max(min(_LONGEST_PERIOD, length // 2), 1) + 1):
        rest = length - period
        if torch.equal(mask.narrow(axis, period, rest), mask.narrow(axis, 0, rest)):
            return period
    return None
