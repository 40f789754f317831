"""PSNR of methods against the softness of images.

    python benchmarks/softness.py --data DIR --folders DIR DIR
    python benchmarks/experiments_page.py

The photographs of ``--data`` as sharp as they are and blurred by Gaussians, each a truth of its own
that is observed and restored. A soft image is easier; what a method makes less of that than others,
it has not learned. Central squares, protocol ``paper``. And how soft the images of several folders
are.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import parser, print_table, write_json

from gsp_unroll.data.images import builtin_images, find_images, read_image
from gsp_unroll.data.sharpness import blur
from gsp_unroll.evaluation.classical import MethodError
from gsp_unroll.evaluation.methods import METHODS as KNOWN
from gsp_unroll.evaluation.methods import Method, resolve_method
from gsp_unroll.evaluation.metrics import mse
from gsp_unroll.evaluation.protocols import decibel
from gsp_unroll.observe import Task, luma, observe
from gsp_unroll.training.sources import central_square

Restore = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SIGMAS = (0.0, 0.4, 0.5, 0.7)
METHODS = {
    "demosaic": [
        "menon", "uglr-demosaic", "ugtv-demosaic", "uglr-plus-demosaic", "demosaicnet",
    ],
    "interpolate": [
        "bicubic", "uglr-interpolate", "ugtv-interpolate", "uglr-plus-interpolate",
    ],
}  # fmt: skip


def photographs(folder: Path | None) -> Iterable[torch.Tensor]:
    """The images ``[3, H, W]`` of a folder, or those inside scikit-image."""
    return builtin_images().values() if folder is None else map(read_image, find_images(folder))


def squares(folder: Path | None, side: int) -> list[torch.Tensor]:
    """Central squares of the images, ``[3, side, side]``; of small images all there is."""
    return [central_square(image, side) for image in photographs(folder)]


def roll_off(image: torch.Tensor) -> float:
    """How far the spectrum of luma falls, in dB.

    That is the mean power between 1/8 and 1/4 cycles a pixel over that between 3/8 and 1/2; the
    frequency of a wave is the larger one of its two.
    """
    grey = luma(image)[0].double()
    height, width = grey.shape
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    power = torch.fft.fft2((grey - grey.mean()) * window).abs().square()
    rows, columns = torch.fft.fftfreq(height).abs(), torch.fft.fftfreq(width).abs()
    frequency = torch.maximum(rows[:, None], columns)
    middle = power[(frequency >= 1 / 8) & (frequency < 1 / 4)].mean()
    high = power[frequency >= 3 / 8].mean()
    return float(10 * torch.log10(middle / high))


def restored(
    restore: Restore, task: Task, images: Iterable[torch.Tensor]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Estimate and truth ``[C, H, W]`` of each image."""
    for image in images:
        truth = task.prepare(image)
        mask = task.mask(*truth.shape[1:], seed=0).expand_as(truth)
        with torch.no_grad():
            estimate = restore(observe(truth, mask), mask)
        yield estimate, truth


def psnr(restore: Restore, task: Task, images: Sequence[torch.Tensor], sigma: float = 0.0) -> float:
    """PSNR in dB on images that are blurred by ``sigma`` pixels."""
    pairs = restored(restore, task, (blur(image, sigma) for image in images))
    errors = [float(mse(estimate[None], truth[None])) for estimate, truth in pairs]
    return decibel(sum(errors) / len(errors))


def resolve_or_skip(name: str, task: Task) -> Method | None:
    """The method; ``None`` if its package is not installed or it knows no such task."""
    try:
        return resolve_method(name, task)
    except MethodError as error:
        if name not in KNOWN:
            raise
        print(f"{name} is left out: {error}")
        return None


def measure(
    name: str, task: Task, images: Sequence[torch.Tensor], sigmas: Sequence[float]
) -> dict[str, Any] | None:
    """The row of a method; ``None`` where :func:`resolve_or_skip` skips it."""
    method = resolve_or_skip(name, task)
    if method is None:
        return None
    values = [psnr(method.restore, task, images, sigma) for sigma in sigmas]
    print_table([name, *map(str, sigmas)], [["dB", *(f"{value:.2f}" for value in values)]])
    return {"task": task.name, "method": name, "psnr": values}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "softness")
    options.add_argument("--data", type=Path, help="folder of images; default: in scikit-image")
    options.add_argument("--folders", type=Path, nargs="*", default=[], help="how soft are these?")
    options.add_argument("--tasks", nargs="+", choices=METHODS, default=list(METHODS))
    options.add_argument("--methods", nargs="+", help="as `python -m gsp_unroll evaluate` has them")
    options.add_argument("--side", type=int, default=128, help="of the squares, in pixels")
    args = options.parse_args(argv)
    if len({folder.name for folder in args.folders}) < len(args.folders):
        options.error("--folders must have names that differ")
    torch.set_num_threads(args.threads)
    sigmas, side = ((0.0, 0.5), 16) if args.quick else (SIGMAS, args.side)
    images = squares(args.data, side)
    rows = [
        measure(name, Task.from_name(task), images, sigmas)
        for task in args.tasks
        for name in args.methods or METHODS[task]
    ]
    falls = {f.name: statistics.median(map(roll_off, squares(f, 256))) for f in args.folders}
    print_table(
        ["spectrum falls by", *falls], [["dB", *(f"{fall:.1f}" for fall in falls.values())]]
    )
    facts = {"images": len(images), "side": side, "sigmas": sigmas, "roll_off": falls}
    write_json(args.out, {**facts, "rows": [row for row in rows if row is not None]})


if __name__ == "__main__":
    main()
