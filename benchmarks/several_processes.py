"""Two processes on one joint batch: the same curve as one process, and how much faster.

``python benchmarks/several_processes.py`` trains uGTV of the published size for a few steps with
``torchrun --nproc-per-node=2`` on the CPU and in one process, each process with one thread, by the
training loop of the library. The same command with more processes, or started on several hosts, is
what one runs on GPUs.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measure import parser, print_table, write_json

from gsp_unroll.training import Config, config_from_mapping, load_config, save_config, train


def experiment(steps: int, batch: int, quick: bool) -> Config:
    """The same experiment for any number of processes."""
    small = {"blocks": 1, "layers": 1, "cg_steps": 2, "maps": 8} if quick else {}
    return config_from_mapping(
        {
            "task": {},
            "model": {"name": "ugtv", **small},
            "data": {"patch": 16 if quick else 64, "workers": 0, "holdout": 0},
            "train": {
                "steps": steps,
                "batch": batch,
                "warmup": 0,
                "log_every": 1,
                "threads": 1,
                "validate_every": 0,
            },
        }
    )


def worker(config: str, folder: str) -> None:
    """One process of a run; the first one prints the throughput."""
    torch.set_num_threads(1)
    result = train(load_config(config), folder)
    if result.is_main:
        print(json.dumps(result.patches_per_second))


def run(processes: int, config: Path, folder: Path) -> dict[str, Any]:
    """Train with this number of processes; throughput and the loss of every step."""
    command = [sys.executable]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        command += [*launcher, f"--nproc-per-node={processes}"]
    command += [__file__, "--worker", str(config), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    with (folder / "train.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    return {"patches_per_second": json.loads(output.splitlines()[-1]), "losses": losses}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "several_processes")
    options.add_argument("--worker", nargs=2, help="used by the script itself")
    options.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    options.add_argument("--batch", type=int, default=8, help="joint batch, default: %(default)s")
    options.add_argument("--steps", type=int, default=8, help="default: %(default)s")
    options.add_argument("--repeats", type=int, default=3, help="runs of each, in turns")
    args = options.parse_args(argv)
    if args.worker:
        worker(*args.worker)
        return
    steps, repeats = (3, 1) if args.quick else (args.steps, args.repeats)
    counts = (1, args.processes)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    curves: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "experiment.yaml"
        save_config(config, experiment(steps, args.batch, args.quick))
        for repeat in range(repeats):
            for count in counts:
                done = run(count, config, folder / f"{count}-{repeat}")
                rates[count].append(done["patches_per_second"])
                curves[count] = done["losses"]
    one, many = (curves[count] for count in counts)
    difference = max(abs(a - b) / abs(a) for a, b in zip(one, many, strict=True))
    median = {count: sorted(rates[count])[repeats // 2] for count in counts}
    scaling = median[args.processes] / median[1]
    print_table(
        ["processes", "patches/s", "scaling"],
        [[count, f"{median[count]:.2f}", f"{median[count] / median[1]:.2f}"] for count in counts],
    )
    print(f"largest relative difference of the loss over {steps} steps: {difference:.1e}")
    write_json(
        args.out,
        {
            "batch": args.batch,
            "steps": steps,
            "patches_per_second": {str(count): rates[count] for count in counts},
            "scaling": scaling,
            "losses": {str(count): curves[count] for count in counts},
            "loss_difference": difference,
        },
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
