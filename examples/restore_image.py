"""Image in, image out: demosaick a photograph of any size with trained weights, or without any.

    python examples/restore_image.py photo.png out.png --weights runs/demo/best.safetensors
    python examples/restore_image.py photo.png out.png --method igtv
    python examples/restore_image.py raw.png out.png --mosaic --cfa GRBG --method iglr
    python examples/restore_image.py huge.png out.png --weights best.safetensors --max-memory 1GB

By default ``photo.png`` is a finished picture: its mosaic is simulated, restored and compared.
With ``--mosaic`` it is a one-channel colour-filter-array image, and there is nothing to compare.
"""

from __future__ import annotations

import argparse
import sys

import torch

from gsp_unroll.data.images import read_image, write_image
from gsp_unroll.evaluation import psnr
from gsp_unroll.inference import restore
from gsp_unroll.models import IGLR, IGTV, load_pretrained
from gsp_unroll.observe import CFA, observe


def main() -> int:
    args = parse_args()
    try:
        run(args)
    except (
        ValueError,
        OSError,
        RuntimeError,
        AssertionError,
    ) as error:  # what a user can mend, in one line
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # the output is written at the end, or not at all
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def run(args: argparse.Namespace) -> None:
    model = load_model(args)
    cfa = CFA.from_name(args.cfa)
    image = read_image(args.input, channels=None if args.mosaic else 3)
    if args.mosaic and len(image) != 1:
        raise ValueError(f"--mosaic needs an image of 1 channel, {args.input} has {len(image)}")
    if args.mosaic:
        y = image
    else:
        generator = torch.Generator().manual_seed(args.seed)
        mask = cfa.mask(*image.shape[1:])
        y = observe(image, mask, noise_sigma=args.noise, generator=generator)
    # A network takes its tiles to its device one by one; other methods take the whole image.
    device = "cpu" if args.weights else args.device
    result = restore(
        y.to(device),
        model,
        cfa,
        max_memory=args.max_memory,
        tile=args.tile,
        progress=sys.stderr.isatty(),
    ).cpu()
    write_image(args.output, result.clamp(0, 1), bits=args.bits)
    height, width = image.shape[1:]
    print(f"{args.output}: {width} x {height}, {args.cfa}, {args.weights or args.method}")
    if not args.mosaic:
        print(f"PSNR {float(psnr(result[None], image[None])):.2f} dB (all pixels, unclipped)")


def load_model(args: argparse.Namespace) -> torch.nn.Module:
    if args.weights is None:
        return {"iglr": IGLR, "igtv": IGTV}[args.method]()
    model = load_pretrained(args.weights, args.device)
    if model.config.in_channels != 3:
        raise ValueError(
            f"{args.weights} has {model.config.in_channels} channel(s); demosaicking needs 3"
        )
    return model


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Demosaick one image.")
    parser.add_argument("input", help="image file (PNG, JPEG, WebP, TIFF; 8 or 16 bits)")
    parser.add_argument("output", help="PNG file to write")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--weights", help="network from training (.safetensors)")
    what.add_argument("--method", choices=("iglr", "igtv"), default="iglr", help="without weights")
    parser.add_argument("--cfa", default="RGGB", help="colour filter array from the top-left pixel")
    parser.add_argument("--mosaic", action="store_true", help="input is a raw mosaic, 1 channel")
    parser.add_argument("--noise", type=float, default=0.0, help="sigma added, images in [0, 1]")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8, help="of the output")
    parser.add_argument("--max-memory", help="of a network's restoration, e.g. 800MB (2GB)")
    parser.add_argument("--tile", type=int, help="largest side of a tile, instead")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
