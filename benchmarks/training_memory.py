"""Peak memory of a training step: the published networks, 64x64 patches, batch 16, CPU.

``python benchmarks/training_memory.py`` runs forward + backward of uGLR and uGTV, plain,
checkpointed and with directions kept, each in a process of its own, and counts the peak resident
memory (what ``/usr/bin/time -v`` reports) above what the process held before the step: its imports,
network and batch. Gather-scatter operators do not fit into this machine with 16 patches: they run
on one, and the table says so beside the number times 16.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measure import (
    Timing,
    measure_all,
    named,
    own_peak,
    parser,
    peak_memory,
    print_table,
    write_json,
)
from networks import MESSAGES, MODES, TrainingStep, largest_relative_difference

CASES = (
    *(("native", mode) for mode in MODES),
    ("gather_scatter", "plain"),
    (MESSAGES, "plain"),
)


def worker(text: str) -> None:
    """The process that is measured; prints the peak before the step."""
    task = json.loads(text)
    torch.set_num_threads(task.pop("threads"))
    gradient = task.pop("gradient")
    step = TrainingStep(**task)
    print(own_peak())
    torch.save(step.gradient(), gradient)
    # Once more: nothing that the first step left may add to the peak.
    step.gradient()


def peak_of_step(task: dict[str, Any]) -> dict[str, int]:
    """Peak memory of one step above idle, in bytes."""
    memory = peak_memory([sys.executable, __file__, "--worker", json.dumps(task)])
    idle = int(memory.output)
    return {"above_idle": memory.peak - idle, "peak": memory.peak, "idle": idle}


def time_steps(network: str, batch: int) -> dict[str, Timing]:
    """Seconds of forward + backward in each mode, in turns."""
    calls = {mode: TrainingStep(network, "native", batch, mode=mode).gradient for mode in MODES}
    return measure_all(calls, warmup=0, repeats=5, min_seconds=0.0)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "training_memory")
    options.add_argument("--worker", help="used by the script itself")
    options.add_argument("--batch", type=int, default=16, help="default: %(default)s")
    args = options.parse_args(argv)
    if args.worker:
        worker(args.worker)
        return
    torch.set_num_threads(args.threads)
    side = 16 if args.quick else 64
    networks = ["ugtv"] if args.quick else ["uglr", "ugtv"]
    memory, modes, rows = [], {}, []
    for network in networks:
        gradients = {}
        for operators, mode in CASES[:1] if args.quick else CASES:
            task = {
                "network": network,
                "operators": operators,
                "batch": args.batch if operators == "native" else 1,
                "mode": mode,
                "side": side,
                "quick": args.quick,
            }
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "gradient.pt"
                peak = peak_of_step({**task, "threads": args.threads, "gradient": str(file)})
                gradients[operators, mode] = torch.load(file)
            scaled = peak["above_idle"] * args.batch // task["batch"]
            memory.append({**task, **peak, "scaled": scaled})
            rows.append(
                [
                    f"{network} {named(operators, mode)}",
                    task["batch"],
                    f"{peak['above_idle'] / 1e9:.2f} GB",
                    f"{scaled / 1e9:.2f} GB",
                ]
            )
        if not args.quick:
            times = time_steps(network, args.batch)
            plain = gradients["native", "plain"]
            modes[network] = {
                mode: {
                    "seconds": seconds,
                    "cost": seconds.median / times["plain"].median - 1,
                    "gradient_difference": largest_relative_difference(
                        gradients["native", mode], plain
                    ),
                }
                for mode, seconds in times.items()
            }
            for mode, measured in modes[network].items():
                print(
                    f"{network} {mode}: {measured['seconds']} ({100 * measured['cost']:+.0f} %), "
                    "largest relative difference of gradients "
                    f"{measured['gradient_difference']:.1e}"
                )
    print_table(["above idle", "patches", "measured", f"for {args.batch} patches"], rows)
    write_json(
        args.out,
        {"batch": args.batch, "side": side, "memory": memory, "modes": modes},
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
