"""What each block of a network is worth: PSNR if it restores nothing, or sees no maps.

    python benchmarks/left_out.py --data DIR
    python benchmarks/experiments_page.py

``skip`` of one block is set to zero: its maps go on (``carry``), what it solves does not. A block
without which little is lost is idle; so is one whose maps the next one does not miss either (its
``carry`` zero), and its parameters would do more elsewhere. Protocol ``paper``, central squares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import parser, print_table, write_json
from softness import psnr, squares

from gsp_unroll.models import load_pretrained, pretrained_metadata, shipped_weights
from gsp_unroll.observe import Task


def measure(weights: str, images: Sequence[torch.Tensor]) -> dict[str, Any]:
    """PSNR in dB of the whole network, without what each block restores, and without its maps."""
    model = load_pretrained(weights)
    task = Task.from_name(pretrained_metadata(weights)["task"].split()[0])

    def restore(y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model(y[None], mask[None])[0]

    row: dict[str, Any] = {"weights": weights, "task": task.name}
    row["parameters"] = sum(p.numel() for p in model.parameters())

    def judge() -> float:
        return psnr(restore, task, images)

    row["psnr"] = judge()
    row["without"], row["without_maps"] = {}, {}
    for number, block in enumerate(model.blocks, 1):
        skips = [p for p in (block.skip, block.skips_again) if p is not None]
        row["without"][number] = with_zeros(skips, judge)
        carry = [p for name, p in block.features.named_parameters() if name.startswith("carry")]
        if carry:
            row["without_maps"][number - 1] = with_zeros(carry, judge)
    results = {"whole": row["psnr"]}
    results |= {f"without {number}": value for number, value in row["without"].items()}
    results |= {f"without maps {number}": value for number, value in row["without_maps"].items()}
    print_table([weights, *results], [["dB", *(f"{value:.2f}" for value in results.values())]])
    return row


@torch.no_grad()
def with_zeros(parameters: Iterable[torch.Tensor], judge: Callable[[], float]) -> float:
    """What ``judge`` says while ``parameters`` are zero."""
    kept = [(parameter, parameter.clone()) for parameter in parameters]
    for parameter, _ in kept:
        parameter.zero_()
    result = judge()
    for parameter, value in kept:
        parameter.copy_(value)
    return result


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
