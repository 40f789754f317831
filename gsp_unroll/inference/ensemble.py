"""Self-ensemble: restore an image in several orientations and average the results."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.data.orientation import reorient, reorient_back
from gsp_unroll.inference.observation import Observation

# Transposing first: it keeps the phase of most masks. Then half a turn, which with it makes a group
# of four, then the rest.
_ORDER = (0, 4, 3, 7, 1, 2, 5, 6)
ENSEMBLE_SIZES = (1, 2, 4, 8)


def check_size(argument: str, value: object) -> None:
    """Refuse what is not a number of orientations."""
    if checks.positive_int(argument, value) not in ENSEMBLE_SIZES:
        raise ValueError(f"{argument} must be one of {ENSEMBLE_SIZES}, got {value!r}")


def average(seen: Observation, size: int, restore: Callable[[Observation, str], Tensor]) -> Tensor:
    r"""Mean of what ``restore`` makes of the first ``size`` orientations, each turned back.

    A flipped mosaic has another phase: less than a period of rows and columns is cropped from it,
    so that a network always sees the phase it is given. Orientations in which no crop finds the
    pattern of the mask are left out. Timofte et al. (CVPR 2016) call this enhanced prediction.

    Args:
        seen: The image.
        size: Number of orientations, one of ``ENSEMBLE_SIZES``.
        restore: Called with an image and a text for its progress bar.
    """
    if size == 1:
        return restore(seen, "restore")
    mean = torch.zeros(seen.samples.shape, dtype=seen.samples.dtype, device=seen.samples.device)
    count = mean.new_zeros(seen.size)
    # The mean, its count, and an orientation with its mask, beside what one image needs anyway.
    made = seen.made + 2 * mean.nbytes + count.nbytes + seen.mask.numel()
    starts = {o: _start_of_pattern(seen, reorient(seen.mask, o)) for o in _ORDER[1:size]}
    crops = {0: (0, 0)} | {o: start for o, start in starts.items() if start is not None}
    for k, (orientation, (rows, columns)) in enumerate(crops.items()):
        part = slice(None), slice(rows, None), slice(columns, None)
        turned = Observation(
            reorient(seen.samples, orientation)[part],
            reorient(seen.mask, orientation)[part],
            seen.period,
            made,
        )
        x = reorient_back(restore(turned, f"restore {k + 1}/{len(crops)}"), orientation)
        shown = _place(orientation, rows, columns, seen.size)
        count[shown] += 1
        # Equal values, such as samples that are kept, leave a running mean as it is, bit for bit.
        mean[(..., *shown)] += (x - mean[(..., *shown)]) / count[shown]
    return mean


def _place(orientation: int, rows: int, columns: int, size: tuple[int, int]) -> tuple[slice, slice]:
    """What is left of an image whose orientation loses its first ``rows`` and ``columns``."""
    if orientation & 4:
        rows, columns = columns, rows
    height, width = size
    return (
        slice(0, height - rows) if orientation & 2 else slice(rows, height),
        slice(0, width - columns) if orientation & 1 else slice(columns, width),
    )


def _start_of_pattern(seen: Observation, mask: Tensor) -> tuple[int, int] | None:
    """The smallest crop after which ``mask`` is that of ``seen``, ``None`` if there is none."""
    if seen.period == (1, 1):
        return 0, 0
    pattern = seen.mask[:, : seen.period[0], : seen.period[1]]
    if pattern.shape[1:] != seen.period:
        return None
    height, width = mask.shape[1:]
    for rows in range(min(seen.period[0], height)):
        for columns in range(min(seen.period[1], width)):
            part = mask[:, rows:, columns:]
            if _repeats(pattern, part) and part.flatten(1).any(1).all():
                return rows, columns
    return None


def _repeats(pattern: Tensor, mask: Tensor) -> bool:
    """Whether ``mask`` is ``pattern`` again and again, from its first pixel on."""
    down, right = (
        torch.arange(mask.shape[axis], device=mask.device) % pattern.shape[axis] for axis in (1, 2)
    )
    corner = mask[:, : pattern.shape[1], : pattern.shape[2]]
    # Most crops are refused by one period.
    if not torch.equal(corner, pattern[:, : corner.shape[1], : corner.shape[2]]):
        return False
    return torch.equal(mask, pattern[:, down][:, :, right])
