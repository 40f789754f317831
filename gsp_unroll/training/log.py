"""What a run reports while it goes: CSV always, one progress bar or sparse lines, TensorBoard."""

from __future__ import annotations

import csv
import io
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gsp_unroll.files import write_atomically

logger = logging.getLogger(__name__)


class CsvLog:
    """A CSV file of rows that start with ``step``; a resumed run drops what it will write again.

    Args:
        path: The file.
        columns: Its columns, ``"step"`` first.
        resume_step: Rows beyond this step are dropped; ``None`` starts an empty file.
    """

    def __init__(self, path: str | Path, columns: list[str], resume_step: int | None) -> None:
        self.path = Path(path)
        self.columns = columns
        kept: list[dict[str, str]] = []
        if resume_step is not None and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if _is_kept(row, resume_step)]
        # A killed run may have left half a line: write what is kept anew.
        fresh = io.StringIO(newline="")
        writer = csv.DictWriter(fresh, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(self.path, fresh.getvalue().encode())

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; the system has it when this returns."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)


def _is_kept(row: Mapping[str, str | None], resume_step: int) -> bool:
    step = row.get("step") or ""
    return None not in row.values() and step.isdecimal() and int(step) <= resume_step


class Progress:
    """A tqdm bar on a terminal; elsewhere a log line every ``seconds``.

    The bar measures the progress of the schedule, so that the remaining time is right for runs
    limited by steps and by time alike.

    Args:
        seconds: Time between two log lines where there is no terminal.
        enabled: ``False`` reports nothing (every process but the first).
    """

    def __init__(self, *, seconds: float = 20.0, enabled: bool = True) -> None:
        self.seconds = seconds
        self.enabled = enabled
        self.bar = None
        if enabled and sys.stderr.isatty():
            layout = "{desc} {percentage:3.0f}%|{bar}|{postfix}"
            self.bar = tqdm(total=1.0, desc="training", bar_format=layout, dynamic_ncols=True)
        self._last = time.monotonic()

    def update(self, step: int, done: float, elapsed: float, values: Mapping[str, float]) -> None:
        """Report step ``step``, at progress ``done`` in [0, 1] after ``elapsed`` seconds."""
        if not self.enabled:
            return
        text = f"step {step}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        text += f"  ETA {clock(elapsed * (1.0 - done) / done) if done else '?'}"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(done - self.bar.n)
        elif time.monotonic() - self._last >= self.seconds:
            self._last = time.monotonic()
            logger.info("%3.0f%%  %s", 100 * done, text)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


class TensorBoard:
    """TensorBoard event files; the package is imported only here.

    Args:
        folder: Where the event files go.
        resume_step: Events beyond this step are hidden; ``None`` for a new run.

    Raises:
        ImportError: The ``tensorboard`` package is not installed.
    """

    def __init__(self, folder: str | Path, resume_step: int | None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "train.tensorboard needs the tensorboard package: "
                'pip install "gsp-unroll[tensorboard]"'
            ) from error
        purge = None if resume_step is None else resume_step + 1
        self.writer = SummaryWriter(str(folder), purge_step=purge)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one scalar per entry of ``values``."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the files."""
        self.writer.close()


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
