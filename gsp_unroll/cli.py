"""Command line: parse, call, print. ``python -m gsp_unroll --help``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import NoReturn

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

_EVALUATE_TEXT = """\
Restore every image of a folder with several methods and print one table; every number
stands under the name of its protocol, and the protocols are spelled out above the table.

methods (comma-separated):
  bilinear           any task; on Bayer mosaics the one of colour-demosaicing
  fill_in            any task; where networks start: bilinear with clean borders
  malvar, menon      demosaicking of Bayer mosaics (package colour-demosaicing)
  bicubic            interpolation, aligned with the kept pixels
  bicubic_shifted    interpolation, half a pixel off, as in published tables
  iglr, igtv         graph Laplacian / graph total variation priors without learning
  demosaicnet        demosaicking of Bayer mosaics (package demosaicnet)
  NAME               a trained network that ships with this package: gsp_unroll/weights
  PATH.safetensors   a trained network
  ...:noise-aware    one of these two that takes the noise off the samples
  ...:x8             the mean over 8 orientations (or :x2, :x4), in as many times the time
"""

_EVALUATE_EXAMPLES = """\
examples:
  python -m gsp_unroll evaluate --task demosaic --data photos/ --methods bilinear,menon
  python -m gsp_unroll evaluate --task demosaic --cfa xtrans --methods bilinear,igtv
  python -m gsp_unroll evaluate --task interpolate --protocol both --out results/
  python -m gsp_unroll evaluate --task demosaic --noise 25/255 --methods model.safetensors
"""


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
    try:
        return _evaluate(options, command="python -m gsp_unroll " + shlex.join(arguments))
    except (ValueError, OSError) as error:
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
    command = commands.add_parser(
        "evaluate",
        help="compare methods on images: PSNR and SSIM under a stated protocol",
        description=_EVALUATE_TEXT,
        epilog=_EVALUATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = command.add_argument
    add("--task", default="demosaic", help="demosaic, interpolate or inpaint (default demosaic)")
    add("--data", metavar="DIR", help="folder of images; default: photographs of scikit-image")
    add(
        "--split",
        default="test",
        help="which of the built-in photographs, test or train (default test; without --data)",
    )
    add("--methods", metavar="A,B,...", help="methods in table order (default: the classical ones)")
    add("--protocol", default="both", help="paper, usual or both (default both)")
    add(
        "--cfa",
        default="RGGB",
        help="colour filter array of demosaic, read from the top-left pixel: RGGB, BGGR, GRBG, "
        "GBRG, quad_bayer, xtrans, or rows of letters joined by / (default RGGB)",
    )
    add("--factor", type=int, default=2, help="decimation per axis of interpolate (default 2)")
    add("--ratio", type=float, default=0.25, help="observed share of inpaint (default 0.25)")
    add(
        "--noise",
        type=_number,
        default=0.0,
        metavar="SIGMA",
        help="standard deviation of Gaussian noise on the samples, in units of [0, 1]; "
        "a fraction such as 25/255 works (default 0)",
    )
    add("--seed", type=int, default=0, help="seed of noise and random masks (default 0)")
    add("--limit", type=int, metavar="N", help="use the first N images only")
    add("--device", default="auto", help="cpu, cuda, cuda:1, ... (default auto: cuda if present)")
    add("--threads", type=int, metavar="N", help="CPU threads of torch")
    add("--out", metavar="DIR", help="also write CSV (per image, summary) and JSON there")
    add("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def _evaluate(options: argparse.Namespace, command: str) -> int:
    # Imported here so that --help and a mistyped option answer at once.
    from pathlib import Path

    import torch

    from gsp_unroll import checks
    from gsp_unroll.evaluation import (
        builtin_sources,
        classical_names,
        evaluate,
        folder_sources,
        format_report,
        protocols_from_name,
        resolve_methods,
        write_report,
    )
    from gsp_unroll.observe import Task

    task = Task.from_name(options.task, cfa=options.cfa, factor=options.factor, ratio=options.ratio)
    protocols = protocols_from_name(options.protocol)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    checks.device("device", device)
    if options.threads is not None:
        _set_threads(checks.positive_int("threads", options.threads))
    if options.data is None:
        data, sources = f"builtin-{options.split}", builtin_sources(options.split, options.limit)
    else:
        data = Path(options.data).resolve().name
        sources = folder_sources(options.data, options.limit)
    if options.methods is None:
        names = classical_names(task)
    else:
        names = [name.strip() for name in options.methods.split(",") if name.strip()]
    methods = resolve_methods(names, task, device, options.noise)
    report = evaluate(
        sources,
        task,
        methods,
        protocols,
        noise_sigma=options.noise,
        seed=options.seed,
        device=device,
        progress=True,
        data=data,
    )
    print(format_report(report, "markdown" if options.markdown else "text"))
    if options.out is not None:
        for path in write_report(report, options.out, command=command):
            print(f"wrote {path}", file=sys.stderr)
    return 0


def _number(text: str) -> float:
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"must be a number or a fraction such as 25/255, got {text!r}"
        ) from None


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
