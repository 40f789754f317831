"""``python -m gsp_unroll restore``: one mosaic, raw file or photograph in, a picture out."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from gsp_unroll.commands.options import DEVICE_HELP, device_from, number

if TYPE_CHECKING:
    from gsp_unroll.inference.restore import Restorer

_DESCRIPTION = """\
Demosaick one image of any size.

By default the input is a finished picture: its mosaic is simulated, restored and compared. With
--mosaic it is a colour-filter-array image of one channel, and there is nothing to compare; so with
raw files (DNG, NEF, CR2, ARW, ..., package rawpy), whose pattern, white balance and colours count.
"""

_EXAMPLES = """\
examples:
  python -m gsp_unroll restore photo.png out.png
  python -m gsp_unroll restore camera.dng out.png
  python -m gsp_unroll restore mosaic.png out.png --mosaic --cfa GRBG
  python -m gsp_unroll restore photo.png out.png --weights runs/ugtv/best.safetensors
  python -m gsp_unroll restore huge.png out.png --max-memory 1GB
  python -m gsp_unroll restore noisy.png out.png --mosaic --denoise 0.08
  python -m gsp_unroll restore photo.png out.png --ensemble 8
  python -m gsp_unroll restore photo.png out.png --method igtv
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "restore",
        help="demosaick a photograph, a mosaic or a raw file",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
    add = command.add_argument
    add("input", help="PNG, JPEG, WebP, TIFF of 8 or 16 bits, or a raw file")
    add("output", help="file to write: PNG, or of 8 bits WebP, TIFF, JPEG, BMP")
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--weights",
        default="uglr-plus-demosaic",
        help="uglr-plus-demosaic, ugtv-demosaic, uglr-demosaic or a .safetensors file "
        "(%(default)s)",
    )
    what.add_argument("--method", choices=("iglr", "igtv"), help="without any weights")
    add("--cfa", help="colour filter array from the top-left pixel (RGGB); raw files name theirs")
    add("--mosaic", action="store_true", help="the input is a mosaic, 1 channel")
    add("--noise", type=number, help="sigma added to the samples of a finished picture (0)")
    add("--denoise", type=number, metavar="SIGMA", help="take noise of this sigma off the samples")
    add("--bits", type=int, choices=(8, 16), default=8, help="of the output (8)")
    add("--max-memory", help="of a network's restoration, e.g. 800MB (2GB)")
    add("--tile", type=int, help="largest side of a tile, instead")
    add(
        "--ensemble",
        type=int,
        default=1,
        help="mean over so many orientations, 1, 2, 4 or 8: better, in as many times the time (1)",
    )
    add("--device", default="auto", help=DEVICE_HELP)
    add("--seed", type=int, default=0, help="of the noise (0)")


def run(options: argparse.Namespace) -> None:
    """Write the restored picture at the end, or nothing.

    Raises:
        ValueError: If an option or the input does not fit.
        OSError: If a file cannot be read or written.
    """
    # Imported here so that --help and a mistyped option answer at once.
    import torch

    from gsp_unroll import checks
    from gsp_unroll.data.camera import RAW_SUFFIXES, read_raw
    from gsp_unroll.data.images import check_writable, read_image, write_image
    from gsp_unroll.evaluation import psnr
    from gsp_unroll.inference import restore
    from gsp_unroll.models import UnrolledNetwork
    from gsp_unroll.observe import CFA, observe

    check_writable(options.output, options.bits)  # now, not after the work
    seed = checks.positive_int("seed", options.seed, minimum=0)
    device = device_from(options.device)
    is_raw = options.input.lower().endswith(RAW_SUFFIXES)
    _refuse_ignored(options, is_raw)
    model = _load_model(options, device)
    photo = read_raw(options.input) if is_raw else None
    named = "RGGB" if options.cfa is None else options.cfa
    cfa = CFA.from_name(named) if photo is None else photo.cfa
    truth = None
    if photo is not None:
        y = photo.mosaic
    elif options.mosaic:
        y = read_image(options.input, channels=None)
        if len(y) != 1:
            raise ValueError(f"--mosaic needs an image of 1 channel, {options.input} has {len(y)}")
    else:
        truth = read_image(options.input)
        mask = cfa.mask(*truth.shape[1:])
        generator = torch.Generator().manual_seed(seed)
        y = observe(truth, mask, noise_sigma=options.noise or 0.0, generator=generator)
    result = restore(
        # A network takes its tiles to its device one by one; other methods take the whole image.
        y if isinstance(model, UnrolledNetwork) else y.to(device),
        model,
        cfa,
        max_memory=options.max_memory,
        tile=options.tile,
        ensemble=options.ensemble,
        progress=sys.stderr.isatty(),
    ).cpu()
    picture = result.clamp(0, 1) if photo is None else photo.develop(result)
    write_image(options.output, picture, bits=options.bits)
    height, width = picture.shape[1:]
    print(f"{options.output}: {width} x {height}, {cfa}, {options.method or options.weights}")
    if truth is not None:
        print(f"PSNR {float(psnr(result[None], truth[None])):.2f} dB (all pixels, unclipped)")


def _refuse_ignored(options: argparse.Namespace, is_raw: bool) -> None:
    if is_raw and (options.cfa is not None or options.mosaic):
        raise ValueError(
            f"{options.input} is a raw file, which is a mosaic of a pattern that it "
            "names: leave --mosaic and --cfa out"
        )
    if options.noise is not None and (is_raw or options.mosaic):
        raise ValueError(
            "--noise is added to the simulated mosaic of a finished picture; to take "
            "noise off this mosaic give --denoise"
        )


def _load_model(options: argparse.Namespace, device: str) -> Restorer:
    from gsp_unroll.inference import NoiseAware
    from gsp_unroll.models import IGLR, IGTV, load_pretrained

    if options.method:
        if options.denoise is not None:
            raise ValueError("--denoise needs a network: give --weights instead of --method")
        return {"iglr": IGLR, "igtv": IGTV}[options.method]()
    model = load_pretrained(options.weights, device)
    if model.config.in_channels != 3:
        raise ValueError(
            f"{options.weights} has {model.config.in_channels} channel(s); demosaicking needs 3"
        )
    return model if options.denoise is None else NoiseAware(model, options.denoise)
