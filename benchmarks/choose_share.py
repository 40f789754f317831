"""How much of a run should ship: validation of means of its weights and of those that ship.

    python benchmarks/choose_share.py uglr-plus-demosaic --run RUN --validation DIR

Judges by the images that the run was validated on, by the same in strong colours, framed, blurred
and scaled down, and by those of the folders given; protocol ``paper``, central squares. Of several
runs that began alike the mean is taken first. ``ship_weights.py --share`` ships a mean.
``--methods`` are judged by the same images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure import print_table
from ship_weights import begun_with, mean, of_runs
from torch import nn

from gsp_unroll.data.colours import recolour, saturate
from gsp_unroll.data.frames import add_frame
from gsp_unroll.data.images import find_images
from gsp_unroll.data.scale import scale_down
from gsp_unroll.data.sharpness import blur
from gsp_unroll.evaluation.methods import Method, resolve_methods
from gsp_unroll.training import load_config
from gsp_unroll.training.config import Config
from gsp_unroll.training.sources import HeldOut, Images, load_held_out, split_images
from gsp_unroll.training.validate import psnr, squared_errors

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
STRONGER = 1.5
SOFTER = 0.5


def instead(item: HeldOut, truth: torch.Tensor) -> HeldOut:
    """Another image ``[C, H, W]`` through the same mask."""
    return replace(item, truth=truth[None], y=torch.where(item.mask, truth, 0))


def in_strong_colours(item: HeldOut, seed: int) -> HeldOut:
    """The same image, recoloured."""
    rng = np.random.default_rng(seed)
    return instead(item, recolour(saturate(item.truth[0], STRONGER), rng))


def framed(item: HeldOut, seed: int) -> HeldOut:
    """The same image with a frame along one side."""
    return instead(item, add_frame(item.truth[0], np.random.default_rng(seed)))


def scaled_down(images: Images, config: Config) -> list[HeldOut]:
    """Central squares twice as large, in half as many pixels each way."""
    crop = 2 * config.data.validation_crop
    larger = replace(config, data=replace(config.data, validation_crop=crop))
    return [_half(item) for item in load_held_out(images, larger)]


def _half(item: HeldOut) -> HeldOut:
    height, width = (side // 2 for side in item.truth.shape[-2:])
    mask = item.mask[..., :height, :width]
    return instead(replace(item, mask=mask), scale_down(item.truth[0], height, width))


def validation_sets(config: Config, folders: Sequence[Path]) -> dict[str, list[HeldOut]]:
    """What is judged by: ``{name: images}``."""
    images = split_images(config.data)[1]
    own = load_held_out(images, config)
    sets = {"of the run": own}
    if config.model.in_channels == 3:
        sets["in strong colours"] = [in_strong_colours(item, k) for k, item in enumerate(own)]
        sets["framed"] = [framed(item, k) for k, item in enumerate(own)]
    sets["blurred"] = [instead(item, blur(item.truth[0], SOFTER)) for item in own]
    sets["scaled down"] = scaled_down(images, config)
    for folder in folders:
        sets[folder.name] = load_held_out(find_images(folder), config)
    return sets


def validate(model: nn.Module, items: Sequence[HeldOut]) -> float:
    """PSNR in dB, protocol ``paper``."""
    errors = squared_errors(model, items, torch.device("cpu"), lambda: False)
    assert errors is not None  # nobody asks to stop
    return psnr(errors, "paper")


class AsModel(nn.Module):
    """A method called as networks are, with one image ``[1, C, H, W]``."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.restore = method.restore

    @torch.no_grad()
    def forward(self, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.restore(y[0], mask[0])[None]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="weights that ship, or a path, e.g. uglr-plus-demosaic")
    parser.add_argument(
        "--run", type=Path, nargs="+", required=True, help="folder of a finished run, or several"
    )
    parser.add_argument("--validation", type=Path, nargs="*", default=[], help="further folders")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--methods", nargs="+", help="as `python -m gsp_unroll evaluate` has them")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    after, _ = of_runs(options.run)
    before = begun_with(options.name, after.config, options.run[0])
    config = load_config(options.run[0] / "config.yaml")
    sets = validation_sets(config, options.validation)
    shares = ((f"{share:g}", mean([before, after], [1 - share, share])) for share in options.shares)
    methods = resolve_methods(options.methods, config.task.build()) if options.methods else []
    rows = []
    for name, model in (*shares, *((method.name, AsModel(method)) for method in methods)):
        scores = [validate(model, items) for items in sets.values()]
        scores.append(sum(scores) / len(scores))
        rows.append([name, *(f"{score:.2f}" for score in scores)])
    print_table(["share of the run", *sets, "mean"], rows)


if __name__ == "__main__":
    main()
