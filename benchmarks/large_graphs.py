"""GLR and GTV interpolation on large graphs: time and memory against size, steps against size.

``scaling``: nearest-neighbour graphs of random points in the unit square, nodes in random order,
~12 neighbours, 30 % of the nodes observed; every size and prior in a process of its own, with its
peak memory from making the points to the restored signal. ``preconditioner``: steps and time of
conjugate gradients on the same kind of graph, with a fixed share and with a fixed number of
samples, with equal weights and with weights spread over four decades.

    python benchmarks/large_graphs.py --sizes 10000 100000 1000000 10000000
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

# Threads of PyTorch that wait for work by spinning would take the cores from our own.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from measure import parser, peak_memory, print_table, write_json
from torch import Tensor
from torch_geometric.data import Data

import gsp_unroll
from gsp_unroll.graphs import knn_edge_index
from gsp_unroll.priors import GLR
from gsp_unroll.solvers import ConjugateGradient, Solution, solve_glr
from gsp_unroll.topology import Graph

NEIGHBOURS = 11  # of each point; 12 after symmetrisation
SHARE = 0.3
FEW_SAMPLES = 64
# A fixed number of ADMM iterations at every size.
GTV_ITERATIONS = 30


def make_points(nodes: int) -> tuple[Tensor, Tensor]:
    """Random points and a signal on them: a wave and a jump."""
    pos = torch.rand(nodes, 2, generator=torch.Generator().manual_seed(0))
    return pos, torch.sin(6 * pos[:, 0]) + (pos[:, 1] > 0.5)


def observe_share(nodes: int) -> Tensor:
    """Mask with 30 % of the nodes."""
    return torch.rand(nodes, generator=torch.Generator().manual_seed(1)) < SHARE


def run_one(nodes: int, prior: str) -> dict[str, Any]:
    """Restore one signal; called in a process of its own."""
    began = time.perf_counter()
    pos, signal = make_points(nodes)
    data = Data(x=signal, mask=observe_share(nodes), edge_index=knn_edge_index(pos, NEIGHBOURS))
    del pos
    made = time.perf_counter()
    steps: list[int] = []
    _record_steps(steps)
    limits = {"tolerance": 0.0, "max_iterations": GTV_ITERATIONS}
    out = gsp_unroll.interpolate(
        data, prior, on_failure="ignore", **(limits if prior == "gtv" else {})
    )
    done = time.perf_counter()
    kept = bool((out.x == data.x)[data.mask].all())
    assert kept, "an observed sample has changed"
    return {
        "nodes": nodes,
        "directed_edges": data.edge_index.shape[1],
        "prior": prior,
        "make_graph_seconds": made - began,
        "interpolate_seconds": done - made,
        "cg_steps": sum(steps),
        "mean_error": float((out.x - data.x).abs().mean()),
    }


def _record_steps(steps: list[int]) -> None:
    """Append the steps of every solve by conjugate gradients to ``steps``."""
    solve = ConjugateGradient.solve

    def counted(self: ConjugateGradient, *args: Any, **options: Any) -> Solution:
        solution = solve(self, *args, **options)
        steps.append(int(solution.stats["iterations"].max()))
        return solution

    ConjugateGradient.solve = counted


def run_scaling(sizes: list[int], priors: list[str], threads: int) -> dict[str, Any]:
    """Every size and prior in a process of its own; slopes over all sizes."""
    script = [sys.executable, __file__, "--threads", str(threads)]
    idle = peak_memory([*script, "--worker", "idle"]).peak
    rows = []
    for prior in priors:
        for nodes in sizes:
            done = peak_memory([*script, "--worker", prior, "--sizes", str(nodes)])
            row = json.loads(done.output.splitlines()[-1])
            row["peak_bytes"], row["peak_above_idle_bytes"] = done.peak, done.peak - idle
            rows.append(row)
            print(json.dumps(row), flush=True)
    print_table(
        ["prior", "nodes", "edges", "graph s", "interpolate s", "CG steps", "peak GB"],
        [
            [
                row["prior"], row["nodes"], row["directed_edges"],
                f"{row['make_graph_seconds']:.2f}", f"{row['interpolate_seconds']:.2f}",
                row["cg_steps"], f"{row['peak_bytes'] / 1e9:.2f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    slopes = {
        prior: {
            what: _slope([row for row in rows if row["prior"] == prior], what)
            for what in ("interpolate_seconds", "peak_above_idle_bytes")
        }
        for prior in priors
    }
    print("log-log slopes", json.dumps(slopes), flush=True)
    return {
        "idle_bytes": idle,
        "gtv_iterations": GTV_ITERATIONS,
        "rows": rows,
        "slopes": slopes,
    }


def _slope(rows: list[dict[str, Any]], what: str) -> float | None:
    """Least-squares slope of log ``what`` against log nodes."""
    if len(rows) < 2:
        return None
    x = torch.tensor([math.log(row["nodes"]) for row in rows])
    y = torch.tensor([math.log(row[what]) for row in rows])
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


def run_preconditioners(sizes: list[int], names: list[str]) -> list[dict[str, Any]]:
    """Steps and time of one GLR solve to a relative residual of 1e-8."""
    rows = []
    cg = ConjugateGradient(tolerance=1e-8, max_iterations=20_000)
    for nodes in sizes:
        pos, signal = make_points(nodes)
        graph = Graph(knn_edge_index(pos, NEIGHBOURS), nodes)
        few = torch.zeros(nodes, dtype=torch.bool)
        few[torch.randperm(nodes, generator=torch.Generator().manual_seed(2))[:FEW_SAMPLES]] = True
        generator = torch.Generator().manual_seed(3)
        decades = torch.rand(graph.num_edges, generator=generator, dtype=torch.float64)
        y = signal.double().view(1, -1)
        weights = {"equal": torch.ones_like(decades), "four decades": 10 ** (-4 * decades)}
        for samples, mask in {f"{SHARE:.0%}": observe_share(nodes), str(FEW_SAMPLES): few}.items():
            for kind, weight in weights.items():
                for name in names:
                    began = time.perf_counter()
                    solution = solve_glr(
                        GLR(graph, weight), y, mask.view(1, -1), cg=cg, preconditioner=name
                    )
                    rows.append({
                        "nodes": nodes, "samples": samples, "weights": kind, "preconditioner": name,
                        "steps": int(solution.stats["iterations"].max()),
                        "seconds": time.perf_counter() - began,
                        "converged": solution.converged,
                    })  # fmt: skip
                    print(json.dumps(rows[-1]), flush=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """See the module text."""
    options = parser(__doc__, "large_graphs")
    options.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--priors", nargs="+", default=["glr", "gtv"])
    options.add_argument(
        "--preconditioner-sizes", type=int, nargs="*", default=[1000, 10_000, 100_000]
    )
    options.add_argument(
        "--preconditioners", nargs="*", default=["none", "jacobi"], help="add amg if pyamg is there"
    )
    options.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    if chosen.worker:
        if chosen.worker != "idle":
            print(json.dumps(run_one(chosen.sizes[0], chosen.worker)))
        return
    sizes, others = chosen.sizes, chosen.preconditioner_sizes
    if chosen.quick:
        sizes, others = [1000, 4000], [1000]
    results = {
        "scaling": run_scaling(sizes, chosen.priors, chosen.threads),
        "preconditioner": run_preconditioners(others, chosen.preconditioners),
    }
    write_json(Path(chosen.out), results)


if __name__ == "__main__":
    main()
