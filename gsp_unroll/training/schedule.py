"""Learning rate over a run that is limited by steps, by time, or by both."""

from __future__ import annotations

import math


def progress(step: int, steps: int, elapsed: float = 0.0, budget: float | None = None) -> float:
    """Return how much of a run is done, in [0, 1]: `max(step/steps, elapsed/budget)`.

    Args:
        step: Steps done.
        steps: Steps of the whole run.
        elapsed: Seconds spent.
        budget: Seconds allowed; ``None`` = no limit, and the result depends on ``step`` alone.
    """
    done = step / steps
    if budget is not None:
        done = max(done, elapsed / budget)
    return min(done, 1.0)


def learning_rate(
    step: int, done: float, *, peak: float, final: float, warmup: int, budgeted: bool = False
) -> float:
    r"""Return the learning rate of the step after ``step`` steps: linear warm-up, then a cosine.

    .. math:: \eta = \eta_{max} \min(1, (t+1)/w) \, [f + (1-f)(1+\cos \pi s)/2]

    Args:
        step: Steps `t` done.
        done: Progress `s` of the run in [0, 1], see `progress`.
        peak: Largest learning rate.
        final: Fraction `f` of ``peak`` that is left at the end.
        warmup: Steps `w` of warm-up; 0 = none.
        budgeted: The run has a time budget: warm-up also ends once 5 % of it are spent, since a
            slow machine may take fewer than ``warmup`` steps in all.
    """
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if budgeted and warmup:
        ramp = max(ramp, min(1.0, done / 0.05))
    return peak * ramp * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done)))
