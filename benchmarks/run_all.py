"""Run every benchmark, draw the figures and fill in ``docs/performance.md``.

``python benchmarks/run_all.py`` passes its arguments on to each; a benchmark that fails is named at
the end, and the others still run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).parent
BENCHMARKS = (
    "grid_operators", "gtv_layer", "graph_operators", "saved_bytes", "training_memory",
    "training_step", "several_processes", "whole_image", "large_graphs", "cuda_operators",
)  # fmt: skip


def main() -> int:
    failed = []
    for name in (*BENCHMARKS, "plots", "report"):
        script = HERE / f"{name}.py"
        if name == "cuda_operators" and not torch.cuda.is_available():
            print("\n=== cuda_operators: skipped, no CUDA device ===", flush=True)
            continue
        print(f"\n=== {name} ===", flush=True)
        start = time.perf_counter()
        options = sys.argv[1:] if name in BENCHMARKS else []
        if subprocess.run([sys.executable, str(script), *options], check=False).returncode:
            failed.append(name)
        print(f"=== {name}: {time.perf_counter() - start:.0f} s ===", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
