"""The numbers of a run that a resume must bring back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Counters:
    """Plain values all, so that a training state can hold them.

    Attributes:
        step: Optimiser steps done.
        elapsed: Seconds spent, over all resumed parts.
        validated_at: Step of the last validation; -1 before the first.
        best_psnr: Best validation PSNR in dB; ``None`` before the first.
        best_step: Step of the best weights.
        bad_steps: Steps that were skipped since their gradient was not finite.
        bad_in_row: How many of them the last steps were.
        window: Sums since the last row of the log: steps, loss, squared error.
    """

    step: int = 0
    elapsed: float = 0.0
    validated_at: int = -1
    best_psnr: float | None = None
    best_step: int = 0
    bad_steps: int = 0
    bad_in_row: int = 0
    window: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
