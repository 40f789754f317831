"""Stop requests: SIGTERM and Ctrl-C let the running step end and the state be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class TrainingInterrupted(RuntimeError):
    """Training was asked to stop by a signal and saved its state first.

    Attributes:
        signum: The signal.
        exit_code: What a process ended by that signal reports by convention, `128 + signum`.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum
        self.exit_code = 128 + signum


class StopRequest:
    """Context in which SIGINT and SIGTERM only leave a note; a second one acts as usual.

    Outside the main thread Python allows no signal handlers: the context then does nothing.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signum = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for signum in self.SIGNALS:
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        # Who asks twice does not want to wait for the save.
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            # None: the handler was not installed from Python, and cannot be put back from here.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]
        self._previous.clear()
