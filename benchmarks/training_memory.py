"""Peak memory of a training step: the published networks, 64x64 patches, batch 16, CPU.

``python benchmarks/training_memory.py`` runs forward + backward of uGLR and uGTV, plain and
checkpointed, each in a process of its own, and counts the peak resident memory (what
``/usr/bin/time -v`` reports) above what the process held before the step: its imports, network and
batch. Gather-scatter operators do not fit into this machine with 16 patches: they run on one, and
the table says so beside the number times 16.
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
    own_peak,
    parser,
    peak_memory,
    print_table,
    write_json,
)
from networks import MESSAGES, TrainingStep, largest_relative_difference

CASES = (
    ("native", False),
    ("native", True),
    ("gather_scatter", False),
    (MESSAGES, False),
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
    """Seconds of forward + backward, plain and checkpointed in turns."""
    steps = {
        name: TrainingStep(network, "native", batch, checkpointing=checkpointing)
        for name, checkpointing in (("plain", False), ("checkpointed", True))
    }
    calls = {name: step.gradient for name, step in steps.items()}
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
    memory, checkpointing, rows = [], {}, []
    for network in networks:
        gradients = {}
        for operators, checkpointed in CASES[:1] if args.quick else CASES:
            task = {
                "network": network,
                "operators": operators,
                "batch": args.batch if operators == "native" else 1,
                "checkpointing": checkpointed,
                "side": side,
                "quick": args.quick,
            }
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "gradient.pt"
                peak = peak_of_step({**task, "threads": args.threads, "gradient": str(file)})
                gradients[operators, checkpointed] = torch.load(file)
            scaled = peak["above_idle"] * args.batch // task["batch"]
            memory.append({**task, **peak, "scaled": scaled})
            rows.append(
                [
                    f"{network} {operators}{', checkpointed' if checkpointed else ''}",
                    task["batch"],
                    f"{peak['above_idle'] / 1e9:.2f} GB",
                    f"{scaled / 1e9:.2f} GB",
                ]
            )
        if ("native", True) in gradients:
            difference = largest_relative_difference(
                gradients["native", True], gradients["native", False]
            )
            seconds = time_steps(network, args.batch)
            cost = seconds["checkpointed"].median / seconds["plain"].median - 1
            checkpointing[network] = {
                "seconds": seconds,
                "cost": cost,
                "gradient_difference": difference,
            }
            print(
                f"{network}: plain {seconds['plain']}, checkpointed {seconds['checkpointed']} "
                f"({100 * cost:+.0f} %), largest relative difference of gradients {difference:.1e}"
            )
    print_table(["above idle", "patches", "measured", f"for {args.batch} patches"], rows)
    write_json(
        args.out,
        {"batch": args.batch, "side": side, "memory": memory, "checkpointing": checkpointing},
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
