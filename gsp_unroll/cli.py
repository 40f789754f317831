"""Command line: parse, call, print. ``python -m gsp_unroll --help``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from gsp_unroll.commands import enlarge, evaluate, restore

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments after the program name; those of the process if ``None``.

    Returns:
        Exit code: 0, 2 for a user error (one line on stderr), 130 if interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _build_parser()
    options = parser.parse_args(arguments)
    options.command_line = "python -m gsp_unroll " + shlex.join(arguments)
    try:
        options.run(options)
        return 0
    except (ValueError, OSError, RuntimeError, MemoryError) as error:  # RuntimeError: of CUDA
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{parser.prog} {options.command}: error: {message}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print(f"{parser.prog} {options.command}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m gsp_unroll",
        description="Unrolled graph-signal priors for images.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (evaluate, restore, enlarge):
        command.add_parser(commands)
    return parser
