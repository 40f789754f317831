"""What each block of a network is worth: PSNR if it hands on the signal as it came.

    python benchmarks/left_out.py --data DIR
    python benchmarks/experiments_page.py

``skip`` of one block is set to zero: its maps go on (``carry``), what it solves does not. A block
without which little is lost is idle, and its parameters would do more elsewhere. Protocol
``paper``, central squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measure import parser, print_table, write_json
from softness import psnr, squares

from gsp_unroll.models import load_pretrained, pretrained_metadata, shipped_weights
from gsp_unroll.models.stem import StemBlock
from gsp_unroll.observe import Task


def measure(weights: str, images: Sequence[torch.Tensor]) -> dict[str, Any]:
    """PSNR in dB of the whole network, and without each of the blocks that have a graph."""
    model = load_pretrained(weights)
    task = Task.from_name(pretrained_metadata(weights)["task"].split()[0])

    def restore(y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model(y[None], mask[None])[0]

    row: dict[str, Any] = {"weights": weights, "task": task.name}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    row["psnr"] = psnr(restore, task, images)
    row["without"] = {}
    for number, block in enumerate(model.blocks):
        if isinstance(block, StemBlock):
            continue
        skips = [p for p in (block.skip, block.skips_again) if p is not None]
        kept = [skip.data for skip in skips]
        for skip in skips:
            skip.data = torch.zeros_like(skip)
        row["without"][number + 1] = psnr(restore, task, images)
        for skip, value in zip(skips, kept, strict=True):
            skip.data = value
    cells = [f"{value:.2f}" for value in (row["psnr"], *row["without"].values())]
    print_table([weights, "whole", *map(str, row["without"])], [["dB", *cells]])
    return row


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "left_out")
    options.add_argument("--data", type=Path, help="folder of images; default: in scikit-image")
    options.add_argument("--weights", nargs="+", help="names or paths; default: all that ship")
    options.add_argument("--side", type=int, default=128, help="of the squares, in pixels")
    args = options.parse_args(argv)
    torch.set_num_threads(args.threads)
    side = 16 if args.quick else args.side
    images = squares(args.data, side)
    rows = [measure(weights, images) for weights in args.weights or shipped_weights()]
    write_json(args.out, {"images": len(images), "side": side, "rows": rows})


if __name__ == "__main__":
    main()
