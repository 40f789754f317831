"""What a run says while it goes: rows of its logs, its progress, its validations."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from gsp_unroll.training.config import TrainConfig
from gsp_unroll.training.counters import Counters
from gsp_unroll.training.log import CsvLog, Progress, TensorBoard

logger = logging.getLogger(__name__)

_TRAIN_COLUMNS = ["step", "loss", "psnr", "lr", "grad_norm", "bad_steps", "seconds"]
_VALIDATION_COLUMNS = ["step", "protocol", "psnr", "best_psnr", "seconds"]


class RunReport:
    """Progress on the terminal, ``train.csv`` and ``validation.csv``, and TensorBoard if asked for.

    Args:
        folder: The run folder; it must exist unless ``enabled`` is false.
        options: How the run is carried out.
        now: The counters of the run, read whenever something is reported.
        resumed: Keep the rows up to ``now``; otherwise the logs start empty.
        enabled: False for every process but the first: nothing is written.

    Raises:
        ImportError: ``options.tensorboard`` is set and the package is not installed.
    """

    def __init__(
        self,
        folder: Path,
        options: TrainConfig,
        now: Counters,
        *,
        resumed: bool,
        enabled: bool,
    ) -> None:
        self.options, self.now, self.enabled = options, now, enabled
        self._progress = Progress(enabled=enabled)
        self._smooth: tuple[float, float] | None = None
        self._boards: TensorBoard | None = None
        if not enabled:
            return
        step = now.step if resumed else None
        self._train_log = CsvLog(folder / "train.csv", _TRAIN_COLUMNS, step)
        # A validation that was cut short by a signal is repeated: its row is not there yet.
        validated = now.validated_at if resumed else None
        self._validation_log = CsvLog(folder / "validation.csv", _VALIDATION_COLUMNS, validated)
        if options.tensorboard:
            self._boards = TensorBoard(folder / "tensorboard", step)

    def training(self, sums: Sequence[float], rate: float, norm: float) -> None:
        """Log the steps since the last row.

        Args:
            sums: Over these steps and all processes: how many were finite, their loss, their
                squared error.
            rate: Learning rate of the last step.
            norm: Norm of its gradient.
        """
        if not self.enabled:
            return
        count, loss, squared = sums
        row = {
            "step": self.now.step,
            "loss": f"{loss / count:.6e}" if count else "",
            "psnr": f"{_decibel(squared / count):.4f}" if count else "",
            "lr": f"{rate:.6e}",
            "grad_norm": f"{norm:.6e}",
            "bad_steps": self.now.bad_steps,
            "seconds": f"{self.now.elapsed:.1f}",
        }
        self._train_log.write(row)
        if self._boards is not None and count:
            values = {
                "train/loss": loss / count,
                "train/psnr": _decibel(squared / count),
                "train/lr": rate,
                "train/grad_norm": norm,
            }
            self._boards.write(self.now.step, values)

    def validation(self, psnr: float) -> None:
        """Log a validation; the counters know already whether it is the best one."""
        if not self.enabled:
            return
        now, protocol = self.now, self.options.protocol
        row = {
            "step": now.step,
            "protocol": protocol,
            "psnr": f"{psnr:.6f}",
            "best_psnr": f"{now.best_psnr:.6f}",
            "seconds": f"{now.elapsed:.1f}",
        }
        self._validation_log.write(row)
        if self._boards is not None:
            self._boards.write(now.step, {"validation/psnr": psnr})
        logger.info(
            "step %d: validation PSNR %.2f dB (%s protocol), best %.2f dB at step %d",
            now.step,
            psnr,
            protocol,
            now.best_psnr,
            now.best_step,
        )

    def progress(self, loss: float, squared: float, done: float) -> None:
        """Show a running average over some twenty steps of this process.

        Args:
            loss: Loss of the last step.
            squared: Its squared error.
            done: Progress of the run in [0, 1].
        """
        old = self._smooth or (loss, squared)
        self._smooth = 0.95 * old[0] + 0.05 * loss, 0.95 * old[1] + 0.05 * squared
        values = {"loss": self._smooth[0], "PSNR": _decibel(self._smooth[1])}
        if self.now.best_psnr is not None:
            values["best val. PSNR"] = self.now.best_psnr
        self._progress.update(self.now.step, done, self.now.elapsed, values)

    def close_progress(self) -> None:
        """Leave the bar as it stands."""
        self._progress.close()

    def close(self) -> None:
        """Flush and close the files."""
        if self._boards is not None:
            self._boards.close()


def _decibel(squared: float) -> float:
    return -10.0 * math.log10(max(squared, 1e-12))
