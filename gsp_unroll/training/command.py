"""The command line that every training script shares: arguments in, a finished run out."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from gsp_unroll.training.config import Config, load_config
from gsp_unroll.training.interrupt import TrainingInterrupted
from gsp_unroll.training.loop import STATE, TrainingDiverged, TrainResult, train

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """What was asked for.

    Attributes:
        config: The experiment, all overrides applied.
        out: The run folder.
        resume: Continue from the folder's state.
        test: Folder of test images; ``None`` = what the experiment holds out.
    """

    config: Config
    out: Path
    resume: bool
    test: Path | None


def parse_arguments(
    description: str, default_config: str, arguments: Sequence[str] | None = None
) -> Command:
    """Read the command line of a training script and its configuration.

    Messages of the library go to stderr from here on. A mistake ends the process with exit code 2
    and a message.

    Args:
        description: Help text of the script.
        default_config: Configuration that is used without ``--config``.
        arguments: Arguments; ``None`` = those of the process.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default=default_config, help="experiment (%(default)s)")
    parser.add_argument(
        "--data", type=Path, help="folder of training images (photographs inside scikit-image)"
    )
    parser.add_argument("--test", type=Path, help="folder of test images (held-out images)")
    parser.add_argument("--out", type=Path, help="run folder (runs/NAME of the configuration)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--demo", action="store_true", help="apply the demo section: a network for a small machine"
    )
    parser.add_argument("--max-minutes", type=float, help="time budget of the training")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override single values of the configuration",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    overrides = list(options.set)
    if options.data is not None:
        overrides.append(f"data.folder={json.dumps(str(options.data))}")
    if options.max_minutes is not None:
        overrides.append(f"train.max_minutes={options.max_minutes}")
    try:
        config = load_config(options.config, overrides, demo=options.demo)
    except ValueError as error:
        parser.error(str(error))
    out = options.out or Path("runs") / Path(options.config).stem
    return Command(config, out, options.resume, options.test)


def run(command: Command) -> TrainResult:
    """Train as asked. What a user can mend ends the process with a message instead of a traceback.

    Exit codes: 2 for bad input, 1 for a run that diverged, 128 + signal for a stopped one.
    """
    if command.resume and not (command.out / STATE).exists():
        logger.warning("nothing to resume in %s: starting a new run there", command.out)
    try:
        with logging_redirect_tqdm(), one_line_errors():
            return train(command.config, command.out, resume=command.resume)
    except TrainingInterrupted as stopped:
        logger.error("%s", stopped)
        raise SystemExit(stopped.exit_code) from None
    except TrainingDiverged as error:
        logger.error("error: %s", error)
        raise SystemExit(1) from None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What a user can mend ends the process with one line and exit code 2, not a traceback."""
    try:
        yield
    except (ValueError, ImportError, OSError) as error:
        logger.error("error: %s", error)
        raise SystemExit(2) from None
