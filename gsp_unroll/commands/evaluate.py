"""``python -m gsp_unroll evaluate``: several methods on images, one table."""

from __future__ import annotations

import argparse
import sys

from gsp_unroll.commands.options import DEVICE_HELP, device_from, number

_DESCRIPTION = """\
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

_EXAMPLES = """\
examples:
  python -m gsp_unroll evaluate --task demosaic --data photos/ --methods bilinear,menon
  python -m gsp_unroll evaluate --task demosaic --cfa xtrans --methods bilinear,igtv
  python -m gsp_unroll evaluate --task interpolate --protocol both --out results/
  python -m gsp_unroll evaluate --task demosaic --noise 25/255 --methods model.safetensors
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "evaluate",
        help="compare methods on images: PSNR and SSIM under a stated protocol",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
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
        type=number,
        default=0.0,
        metavar="SIGMA",
        help="standard deviation of Gaussian noise on the samples, in units of [0, 1]; "
        "a fraction such as 25/255 works (default 0)",
    )
    add("--seed", type=int, default=0, help="seed of noise and random masks (default 0)")
    add("--limit", type=int, metavar="N", help="use the first N images only")
    add("--device", default="auto", help=DEVICE_HELP)
    add("--threads", type=int, metavar="N", help="CPU threads of torch")
    add("--out", metavar="DIR", help="also write CSV (per image, summary) and JSON there")
    add("--markdown", action="store_true", help="print the table as Markdown")


def run(options: argparse.Namespace) -> None:
    """Print the table, with ``--out`` also write files that name the command line.

    Raises:
        ValueError: If an option or a method does not fit.
        OSError: If images cannot be read or files not be written.
    """
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
    device = device_from(options.device)
    if options.threads is not None:
        torch.set_num_threads(checks.positive_int("threads", options.threads))
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
        for path in write_report(report, options.out, command=options.command_line):
            print(f"wrote {path}", file=sys.stderr)
