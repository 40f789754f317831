"""Image in, image of twice the size out: a network doubles luma, bicubic interpolation the colours.

    python examples/enlarge_image.py small.png large.png
    python examples/enlarge_image.py small.png large.png --weights uglr-interpolate --ensemble 8

The pixels of the input are every second pixel of the output, each way, and stay as they are. The
networks were trained on images decimated like that, without a filter before it: a photograph that
was scaled down with one has less to find between its pixels.
"""

from __future__ import annotations

import argparse
import sys

import torch
from torch import Tensor

from gsp_unroll.data.images import check_writable, read_image, write_image
from gsp_unroll.evaluation.resize import cubic
from gsp_unroll.inference import ENSEMBLE_SIZES, restore
from gsp_unroll.models import UnrolledNetwork, load_pretrained, shipped_weights
from gsp_unroll.observe import luma

# Studio-range luma, which the networks know, goes from 16 to 235 (of 255).
BLACK, SPAN = 16 / 255, 219 / 255


def main() -> int:
    args = parse_args()
    try:
        check_writable(args.output)  # now, not after the work
        network = load_pretrained(args.weights)
        if network.config.in_channels != 1:
            raise ValueError(f"weights must be of a network for luma, got {args.weights}")
        image = enlarge(read_image(args.input), network, args.max_memory, args.ensemble)
        write_image(args.output, image)
    except (ValueError, OSError) as error:  # what a user can mend, in one line
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # the output is written at the end, or not at all
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"{args.output}: {image.shape[2]} x {image.shape[1]}, {args.weights}")
    return 0


def enlarge(
    rgb: Tensor, network: UnrolledNetwork, max_memory: str | None = None, ensemble: int = 1
) -> Tensor:
    """``[3, H, W]`` in [0, 1] -> ``[3, 2H, 2W]``."""
    height, width = (2 * side for side in rgb.shape[1:])
    small = luma(rgb)
    samples = torch.full((1, height, width), torch.nan)
    samples[:, ::2, ::2] = small
    large = restore(
        samples, network, max_memory=max_memory, ensemble=ensemble, progress=sys.stderr.isatty()
    )
    # Colours change more slowly than brightness: what they differ by from the grey of their pixel.
    difference = cubic(rgb - (small - BLACK) / SPAN, height, width)
    return ((large - BLACK) / SPAN + difference).clamp(0, 1).float()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Double the size of one image.")
    parser.add_argument("input", help="PNG, JPEG, WebP or TIFF of 8 or 16 bits")
    parser.add_argument("output", help="file to write: PNG, WebP, TIFF, JPEG, BMP")
    parser.add_argument(
        "--weights",
        default="uglr-plus-interpolate",
        help=f"{', '.join(shipped_weights('interpolate'))} or a .safetensors file (%(default)s)",
    )
    parser.add_argument("--max-memory", help="of the restoration, e.g. 800MB (2GB)")
    parser.add_argument(
        "--ensemble",
        type=int,
        default=1,
        choices=ENSEMBLE_SIZES,
        help="mean over so many orientations, in as many times the time (%(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
