"""How much of the error is at the border: shares of the outermost lines, and PSNR without them.

    python benchmarks/border.py --data DIR
    python benchmarks/experiments_page.py

Scans end in black or grey lines, where a network may go on with the colours of the picture. Whole
images, protocol ``paper``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measure import parser, print_table, write_json
from softness import METHODS, photographs, resolve_or_skip, restored

from gsp_unroll.evaluation.protocols import decibel
from gsp_unroll.observe import Task

SIDES = ("top", "bottom", "left", "right")


def errors(error: torch.Tensor, lines: int) -> dict[str, float]:
    """Mean squares of ``error [C, H, W]``: of all, within, and what each side adds to the first.

    A corner counts for both of its sides.
    """
    squares = error.double().square()
    within = squares[:, lines:-lines, lines:-lines]
    strips = (squares[:, :lines], squares[:, -lines:], squares[..., :lines], squares[..., -lines:])
    sums = {side: float(s.sum()) / squares.numel() for side, s in zip(SIDES, strips, strict=True)}
    return {"all": float(squares.mean()), "within": float(within.mean()), **sums}


def measure(
    name: str, task: Task, images: Sequence[torch.Tensor], lines: int
) -> dict[str, Any] | None:
    """The row of a method; ``None`` where :func:`resolve_or_skip` skips it."""
    method = resolve_or_skip(name, task)
    if method is None:
        return None
    pairs = restored(method.restore, task, images)
    rows = [errors(estimate - truth, lines) for estimate, truth in pairs]
    means = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    shares = {side: means[side] / means["all"] for side in SIDES}
    psnr, within = decibel(means["all"]), decibel(means["within"])
    cells = [f"{psnr:.2f} dB", f"{within:.2f} dB", *(f"{s:.1%}" for s in shares.values())]
    print_table([name, "within", *SIDES], [cells])
    return {
        "task": task.name, "method": name, "psnr": psnr, "psnr_within": within, "share": shares,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "border")
    options.add_argument("--data", type=Path, help="folder of images; default: in scikit-image")
    options.add_argument("--tasks", nargs="+", choices=METHODS, default=list(METHODS))
    options.add_argument("--methods", nargs="+", help="as `python -m gsp_unroll evaluate` has them")
    options.add_argument("--lines", type=int, default=2, help="that count as border (%(default)s)")
    args = options.parse_args(argv)
    torch.set_num_threads(args.threads)
    images = list(photographs(args.data))
    if args.quick:
        images = [image[:, -32:, -32:] for image in images[:2]]
    smallest = min(min(image.shape[1:]) for image in images)
    if not 0 < 2 * args.lines < smallest:
        options.error(f"--lines must lie in [1, {(smallest - 1) // 2}], got {args.lines}")
    rows = [
        measure(name, Task.from_name(task), images, args.lines)
        for task in args.tasks
        for name in args.methods or METHODS[task]
    ]
    facts = {"images": len(images), "lines": args.lines}
    write_json(args.out, {**facts, "rows": [row for row in rows if row is not None]})


if __name__ == "__main__":
    main()
