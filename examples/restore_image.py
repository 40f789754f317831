"""Image in, image out: demosaick a photograph or a raw file of any size.

    python examples/restore_image.py photo.png out.png
    python examples/restore_image.py camera.dng out.png
    python examples/restore_image.py mosaic.png out.png --mosaic --cfa GRBG
    python examples/restore_image.py photo.png out.png --weights runs/ugtv/best.safetensors
    python examples/restore_image.py huge.png out.png --max-memory 1GB
    python examples/restore_image.py noisy.png out.png --mosaic --denoise 0.08
    python examples/restore_image.py photo.png out.png --ensemble 8
    python examples/restore_image.py photo.png out.png --method igtv

By default ``photo.png`` is a finished picture: its mosaic is simulated, restored and compared. With
``--mosaic`` it is a one-channel colour-filter-array image, and there is nothing to compare; so with
raw files (DNG, NEF, CR2, ARW, ..., package rawpy), whose pattern, white balance and colours count.
"""

from __future__ import annotations

import argparse
import sys

import torch

from gsp_unroll.data.camera import RAW_SUFFIXES, read_raw
from gsp_unroll.data.images import check_writable, read_image, write_image
from gsp_unroll.evaluation import psnr
from gsp_unroll.inference import ENSEMBLE_SIZES, NoiseAware, restore
from gsp_unroll.models import IGLR, IGTV, UnrolledNetwork, load_pretrained, shipped_weights
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
    check_writable(args.output, args.bits)  # now, not after the work
    model = load_model(args)
    photo = read_raw(args.input) if args.input.lower().endswith(RAW_SUFFIXES) else None
    cfa = CFA.from_name(args.cfa) if photo is None else photo.cfa
    truth = None
    if photo is not None:
        y = photo.mosaic
    elif args.mosaic:
        y = read_image(args.input, channels=None)
        if len(y) != 1:
            raise ValueError(f"--mosaic needs an image of 1 channel, {args.input} has {len(y)}")
    else:
        truth = read_image(args.input)
        generator = torch.Generator().manual_seed(args.seed)
        mask = cfa.mask(*truth.shape[1:])
        y = observe(truth, mask, noise_sigma=args.noise, generator=generator)
    # A network takes its tiles to its device one by one; other methods take the whole image.
    device = "cpu" if isinstance(model, UnrolledNetwork) else args.device
    result = restore(
        y.to(device),
        model,
        cfa,
        max_memory=args.max_memory,
        tile=args.tile,
        ensemble=args.ensemble,
        progress=sys.stderr.isatty(),
    ).cpu()
    picture = result.clamp(0, 1) if photo is None else photo.develop(result)
    write_image(args.output, picture, bits=args.bits)
    height, width = picture.shape[1:]
    print(f"{args.output}: {width} x {height}, {cfa}, {args.method or args.weights}")
    if truth is not None:
        print(f"PSNR {float(psnr(result[None], truth[None])):.2f} dB (all pixels, unclipped)")


def load_model(args: argparse.Namespace) -> torch.nn.Module:
    if args.method and args.denoise is not None:
        raise ValueError("--denoise needs a network: give --weights instead of --method")
    if args.method:
        return {"iglr": IGLR, "igtv": IGTV}[args.method]()
    model = load_pretrained(args.weights, args.device)
    if model.config.in_channels != 3:
        raise ValueError(
            f"{args.weights} has {model.config.in_channels} channel(s); demosaicking needs 3"
        )
    return model if args.denoise is None else NoiseAware(model, args.denoise)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Demosaick one image.")
    parser.add_argument("input", help="PNG, JPEG, WebP, TIFF of 8 or 16 bits, or a raw file")
    parser.add_argument("output", help="file to write: PNG, or of 8 bits WebP, TIFF, JPEG, BMP")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--weights",
        default="uglr-plus-demosaic",
        help=f"{', '.join(shipped_weights('demosaic'))} or a .safetensors file (%(default)s)",
    )
    what.add_argument("--method", choices=("iglr", "igtv"), help="without any weights")
    parser.add_argument("--cfa", default="RGGB", help="colour filter array from the top-left pixel")
    parser.add_argument("--mosaic", action="store_true", help="input is a raw mosaic, 1 channel")
    parser.add_argument("--noise", type=float, default=0.0, help="sigma added, images in [0, 1]")
    parser.add_argument(
        "--denoise", type=float, metavar="SIGMA", help="take noise of this sigma off the samples"
    )
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8, help="of the output")
    parser.add_argument("--max-memory", help="of a network's restoration, e.g. 800MB (2GB)")
    parser.add_argument("--tile", type=int, help="largest side of a tile, instead")
    parser.add_argument(
        "--ensemble",
        type=int,
        default=1,
        choices=ENSEMBLE_SIZES,
        help="mean over so many orientations: better, in as many times the time (%(default)s)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
