"""Self-ensemble: restore an image in several orientations and average the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from types import EllipsisType

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


def average(
    seen: Observation,
    size: int,
    step: tuple[int, int],
    restore: Callable[[str, Observation], Tensor],
) -> Tensor:
    r"""Mean of what ``restore`` makes of the first ``size`` orientations, each turned back.

    A flipped mosaic has another phase: a step of rows and columns is cropped from it, at both
    ends together, so that a network always sees the phase it is given. Orientations in which no
    crop finds the pattern of the mask are left out; a mask without a pattern (random, or a tensor
    of less than two periods) is taken as it comes. Timofte et al. (CVPR 2016) call this enhanced
    prediction.

    Args:
        seen: The image.
        size: Number of orientations, one of ``ENSEMBLE_SIZES``.
        step: Rows and columns that tiles start at multiples of, in whole periods of the mask.
        restore: Called with a text for its progress bar and an image.
    """
    if size == 1:
        return restore("restore", seen)
    mean = torch.zeros(seen.samples.shape, dtype=seen.samples.dtype, device=seen.samples.device)
    count = mean.new_zeros(seen.size)
    # The mean, its count, and an orientation with its mask, beside what one image needs anyway.
    made = seen.made + 2 * mean.nbytes + count.nbytes + seen.mask.numel()
    crops = _crops(seen, _ORDER[:size], step)
    for k, (orientation, start) in enumerate(crops.items()):
        run = partial(restore, f"restore {k + 1}/{len(crops)}")
        shown, x = _turned_back(seen, orientation, start, step, made, run)
        count[shown] += 1
        # Equal values, such as samples that are kept, leave a running mean as it is, bit for bit.
        mean[shown] += x.sub_(mean[shown]).div_(count[shown])
        del x  # or it would live while the next one is made
    return mean


def _turned_back(
    seen: Observation,
    orientation: int,
    start: tuple[int, int],
    step: tuple[int, int],
    made: int,
    restore: Callable[[Observation], Tensor],
) -> tuple[tuple[EllipsisType | slice, ...], Tensor]:
    """What an orientation without its first rows and columns shows, and the restoration there."""
    samples, mask = (reorient(v, orientation) for v in (seen.samples, seen.mask))
    ends = list(zip(start, mask.shape[1:], step, strict=True))
    part = _shown(ends)
    x = restore(Observation(samples[part], mask[part], seen.period, made))
    if orientation & 4:
        ends.reverse()
    flipped = bool(orientation & 2), bool(orientation & 1)
    shown = ..., *(_part(*end, flip) for end, flip in zip(ends, flipped, strict=True))
    return shown, reorient_back(x, orientation)


def _shown(ends: Iterable[tuple[int, int, int]]) -> tuple[EllipsisType | slice, ...]:
    """What stays of both axes, see :func:`_part`."""
    return ..., *(_part(*end) for end in ends)


def _part(start: int, length: int, step: int, flipped: bool = False) -> slice:
    """What stays of an axis that loses its first ``start`` pixels and the rest of a step behind.

    A whole step, so that tiles may be as small as they may be on the image itself.
    """
    rest = -start % step
    last = length - rest if start + rest < length else length
    return slice(length - last, length - start) if flipped else slice(start, last)


def _crops(
    seen: Observation, orientations: Sequence[int], step: tuple[int, int]
) -> dict[int, tuple[int, int]]:
    """The smallest crop after which the mask of an orientation is that of ``seen``, if any is."""
    if seen.period == (None, None):
        return dict.fromkeys(orientations, (0, 0))
    # Along an axis without a period the pattern is as long as the image, and may not be moved.
    rows, columns = (p or n for p, n in zip(seen.period, seen.size, strict=True))
    pattern = seen.mask[:, :rows, :columns]
    crops = {0: (0, 0)}
    if pattern.shape[1:] != (rows, columns):
        return crops  # not even one period
    moves = list(product(*map(range, seen.step)))
    for orientation in orientations[1:]:
        mask = reorient(seen.mask, orientation)
        for start in moves:
            part = mask[_shown(zip(start, mask.shape[1:], step, strict=True))]
            if _repeats(pattern, part) and part.flatten(1).any(1).all():
                crops[orientation] = start
                break
    return crops


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
