"""``python -m gsp_unroll enlarge``: one image in, an image of twice the size out."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from gsp_unroll.commands.options import DEVICE_HELP, device_from

if TYPE_CHECKING:
    from torch import Tensor

    from gsp_unroll.models import UnrolledNetwork

_DESCRIPTION = """\
Double the size of one image: a network doubles luma, bicubic interpolation the colours.

The pixels of the input are every second pixel of the output, each way, and stay as they are, unless
the output has fewer bits or is a JPEG. The networks were trained on images decimated like that,
without a filter before it: a photograph that was scaled down with one has less to find between its
pixels.
"""

_EXAMPLES = """\
examples:
  python -m gsp_unroll enlarge small.png large.png
  python -m gsp_unroll enlarge small.png large.png --weights uglr-interpolate --ensemble 8
"""

# Studio-range luma, which the networks know, goes from 16 to 235 (of 255).
_BLACK, _SPAN = 16 / 255, 219 / 255


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "enlarge",
        help="double the size of an image",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
    add = command.add_argument
    add("input", help="PNG, JPEG, WebP or TIFF of 8 or 16 bits")
    add("output", help="file to write: PNG, or of 8 bits WebP, TIFF, JPEG, BMP")
    add(
        "--weights",
        default="uglr-plus-interpolate",
        help="uglr-plus-interpolate, ugtv-interpolate, uglr-interpolate or a .safetensors file "
        "(%(default)s)",
    )
    add("--bits", type=int, choices=(8, 16), default=8, help="of the output (8)")
    add("--max-memory", help="of the restoration, e.g. 800MB (2GB)")
    add(
        "--ensemble",
        type=int,
        default=1,
        help="mean over so many orientations, 1, 2, 4 or 8, in as many times the time (1)",
    )
    add("--device", default="auto", help=DEVICE_HELP)


def run(options: argparse.Namespace) -> None:
    """Write the enlarged picture at the end, or nothing.

    Raises:
        ValueError: If an option or the input does not fit.
        OSError: If a file cannot be read or written.
    """
    # Imported here so that --help and a mistyped option answer at once.
    from gsp_unroll.data.images import check_writable, read_image, write_image
    from gsp_unroll.models import load_pretrained

    check_writable(options.output, options.bits)  # now, not after the work
    network = load_pretrained(options.weights, device_from(options.device))
    if network.config.in_channels != 1:
        raise ValueError(f"weights must be of a network for luma, got {options.weights}")
    picture = enlarge(read_image(options.input), network, options.max_memory, options.ensemble)
    write_image(options.output, picture, bits=options.bits)
    print(f"{options.output}: {picture.shape[2]} x {picture.shape[1]}, {options.weights}")


def enlarge(
    rgb: Tensor, network: UnrolledNetwork, max_memory: str | None = None, ensemble: int = 1
) -> Tensor:
    """``[3, H, W]`` in [0, 1] -> ``[3, 2H, 2W]``."""
    import torch

    from gsp_unroll.evaluation.resize import cubic
    from gsp_unroll.inference import restore
    from gsp_unroll.observe import luma

    height, width = (2 * side for side in rgb.shape[1:])
    small = luma(rgb)
    samples = torch.full((1, height, width), torch.nan)
    samples[:, ::2, ::2] = small
    large = restore(
        samples, network, max_memory=max_memory, ensemble=ensemble, progress=sys.stderr.isatty()
    )
    # Colours change more slowly than brightness: what they differ by from the grey of their pixel.
    difference = cubic(rgb - (small - _BLACK) / _SPAN, height, width)
    return ((large - _BLACK) / _SPAN + difference).clamp(0, 1).float()
