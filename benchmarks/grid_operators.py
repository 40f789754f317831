"""Operators on the 5x5 window graph of a 512x768 image: 4 graphs, 3 channels, float32, CPU.

``python benchmarks/grid_operators.py`` times every backend and the plain ways of other libraries,
forward and forward + backward with the gradient of every input. The bound is the time to copy
what must be read and written once, at the copy bandwidth measured in the same run; memory itself
could be faster by at most two, since a copy moves each byte twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from baselines import PlainOperators
from measure import copy_bandwidth, measure_all, parser, print_table, write_json
from torch import Tensor

from gsp_unroll.ops import planar
from gsp_unroll.ops.softmax import edge_softmax
from gsp_unroll.topology import BACKENDS, Grid, Topology

HEADS, CHANNELS, FEATURES = 4, 3, 12
BASELINE = "PyG gather-scatter"
OPERATORS = ("laplacian", "difference", "divergence", "distance", "edge_softmax")


@dataclass
class Candidate:
    """One way to compute an operator.

    Attributes:
        function: From ``inputs`` to the value.
        inputs: Tensors in the layout of this candidate; all of them want gradients.
        differentiable: ``False`` if there is no usable gradient.
    """

    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    differentiable: bool = True
    direction: Tensor = field(init=False)

    def __post_init__(self) -> None:
        with torch.no_grad():
            self.value = self.function(*self.inputs)
        self.direction = torch.randn_like(self.value)

    def forward(self) -> None:
        """Value only."""
        with torch.no_grad():
            self.function(*self.inputs)

    def both(self) -> None:
        """Value and all gradients."""
        inputs = [tensor.detach().requires_grad_() for tensor in self.inputs]
        torch.autograd.grad(self.function(*inputs), inputs, self.direction)


def planar_inputs(operator: str, topology: Topology) -> tuple[Tensor, ...]:
    """Random inputs in the planar layout, zero in unused slots."""
    torch.manual_seed(0)
    m, n = topology.num_edges, topology.num_nodes
    inside = torch.ones(m)
    if topology.used_slots is not None:
        inside = torch.zeros(m).index_fill(0, topology.used_slots, 1)
    weight = torch.rand(HEADS, m) * inside
    return {
        "laplacian": lambda: (weight, torch.randn(HEADS, CHANNELS, n)),
        "difference": lambda: (weight, torch.randn(HEADS, CHANNELS, n)),
        "divergence": lambda: (weight, torch.randn(HEADS, CHANNELS, m) * inside),
        "distance": lambda: (torch.randn(HEADS, FEATURES, n),),
        "edge_softmax": lambda: (torch.randn(HEADS, m) * inside,),
    }[operator]()


def plain_candidate(operator: str, plain: PlainOperators, inputs: tuple[Tensor, ...]) -> Candidate:
    """The baseline, on the same numbers in PyG's layout."""
    first, *rest = inputs
    if operator == "distance":
        arguments = [plain.nodes_first(first)]
    else:
        edges = plain.edges_first(first)
        both = operator in ("laplacian", "edge_softmax")
        arguments = [plain.both_directions(edges) if both else edges]
    for tensor in rest:
        over_nodes = tensor.shape[-1] == plain.num_nodes
        arguments.append((plain.nodes_first if over_nodes else plain.edges_first)(tensor))
    return Candidate(getattr(plain, operator), tuple(arguments))


def library_candidates(plain: PlainOperators, inputs: tuple[Tensor, ...]) -> dict[str, Candidate]:
    """``L(w) x`` with the sparse products of other libraries, those that are installed."""
    n = plain.num_nodes
    source, target = plain.edge_index
    order = (target * n + source).argsort()
    source, target = source[order], target[order]
    indptr = torch.zeros(n + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(target, minlength=n), 0, out=indptr[1:])
    weight = plain.both_directions(plain.edges_first(inputs[0]))[order]
    x = plain.nodes_first(inputs[1])
    out: dict[str, Candidate] = {}

    # One matrix for each head: W x and the degree in one product.
    columns = x.new_ones(HEADS, n, CHANNELS + 1)
    columns[..., :CHANNELS] = x.movedim(1, 0)
    by_head = weight.T.contiguous()
    small = torch.int32

    def torch_csr(w: Tensor, columns: Tensor) -> Tensor:
        rows = []
        for value, column in zip(w, columns, strict=True):
            matrix = torch.sparse_csr_tensor(
                indptr32, source32, value, (n, n), check_invariants=False
            )
            product = matrix @ column
            rows.append(product[:, -1:] * column[:, :-1] - product[:, :-1])
        return torch.stack(rows)

    indptr32, source32 = indptr.to(small), source.to(small)
    # The gradient of torch for the values of a CSR matrix is a dense N x N matrix.
    out["torch CSR, per head"] = Candidate(torch_csr, (by_head, columns), differentiable=False)

    try:
        from torch_scatter import gather_csr, segment_csr
    except ImportError:
        pass
    else:

        def scatter_csr(w: Tensor, x: Tensor) -> Tensor:
            flow = w.unsqueeze(-1) * (gather_csr(x, indptr) - x[source])
            return segment_csr(flow, indptr, reduce="sum")

        out["torch_scatter.segment_csr"] = Candidate(scatter_csr, (weight, x))
    try:
        from torch_sparse import SparseTensor
    except ImportError:
        pass
    else:
        pattern = SparseTensor(rowptr=indptr, col=source, sparse_sizes=(n, n), is_sorted=True)
        pattern.storage.row(), pattern.storage.csr2csc(), pattern.storage.colptr()

        def sparse_spmm(w: Tensor, columns: Tensor) -> Tensor:
            rows = []
            for value, column in zip(w, columns, strict=True):
                product = pattern.set_value(value, layout="csr") @ column
                rows.append(product[:, -1:] * column[:, :-1] - product[:, :-1])
            return torch.stack(rows)

        out["torch_sparse.spmm, per head"] = Candidate(sparse_spmm, (by_head, columns))
    return out


def backend_candidates(
    operator: str,
    structure: Topology,
    inputs: tuple[Tensor, ...],
    backends: Sequence[str],
    skipped: dict[str, str],
) -> dict[str, Candidate]:
    """Those of ``backends`` that are present."""
    function = edge_softmax if operator == "edge_softmax" else getattr(planar, operator)
    out = {}
    for name in backends:
        if name == "triton":
            skipped[name] = "on the CPU only Triton's interpreter runs it, for tests"
            continue
        try:
            topology = structure.with_backend(name)
            out[name] = Candidate(lambda *args, f=function, t=topology: f(t, *args), inputs)
        except Exception as error:  # a backend says in its own way that it is not for this machine
            skipped[name] = f"{type(error).__name__}: {error}"
    return out


def run(
    operator: str,
    topology: Topology,
    copied: float,
    repeats: dict[str, Any],
    backends: Sequence[str],
) -> dict[str, Any]:
    """Time one operator; the values of all candidates are compared first."""
    skipped: dict[str, str] = {}
    inputs = planar_inputs(operator, topology)
    plain = PlainOperators(topology)
    candidates = {BASELINE: plain_candidate(operator, plain, inputs)}
    if operator == "laplacian":
        candidates |= library_candidates(plain, inputs)
    candidates |= backend_candidates(operator, topology, inputs, backends, skipped)
    measured = compare_candidates(operator, candidates, inputs, copied, repeats)
    return {**measured, "skipped": skipped}


def compare_candidates(
    name: str,
    candidates: dict[str, Candidate],
    inputs: tuple[Tensor, ...],
    copied: float,
    repeats: dict[str, Any],
) -> dict[str, Any]:
    """Time candidates for one operator, ``native`` and the baseline among them."""
    energy = {way: float(c.value.double().square().sum()) for way, c in candidates.items()}
    for way, value in energy.items():
        if abs(value - energy[BASELINE]) > 1e-5 * energy[BASELINE]:
            raise ValueError(f"{name} of {way} has energy {value}, not {energy[BASELINE]}")
    # Every input and output once in each direction; backward reads what forward has read.
    read = sum(tensor.nbytes for tensor in inputs)
    written = candidates["native"].value.nbytes
    size = {"forward": read + written, "both": (read + written) + (2 * read + written)}
    for candidate in candidates.values():
        del candidate.value
    forward = measure_all({way: c.forward for way, c in candidates.items()}, **repeats)
    both = measure_all(
        {way: c.both for way, c in candidates.items() if c.differentiable}, **repeats
    )
    bound = {direction: bytes_ / copied for direction, bytes_ in size.items()}
    rows, results = [], {}
    for way in candidates:
        results[way] = {"forward": forward[way], "both": both.get(way)}
        row = [way]
        for direction, times in (("forward", forward), ("both", both)):
            if way in times:
                time_ = times[way]
                row += [
                    str(time_),
                    f"{time_.median / bound[direction]:.1f}",
                    f"{times[BASELINE].median / time_.median:.1f}",
                ]
            else:
                row += ["-", "-", "-"]
        rows.append(row)
    print(f"\n{name}: bound {1e3 * bound['forward']:.1f} ms forward, "
          f"{1e3 * bound['both']:.1f} ms forward + backward")  # fmt: skip
    headers = ["", "forward", "x bound", "faster", "forward + backward", "x bound", "faster"]
    print_table(headers, rows)
    return {"bytes": size, "bound": bound, "candidates": results}


_FIRST_CALL = """
import json, time
import torch
from gsp_unroll.ops import planar
from gsp_unroll.topology import Grid
grid = Grid(64, 64)
w, x = torch.rand(4, grid.num_edges), torch.rand(4, 3, grid.num_nodes)
w.requires_grad_(), x.requires_grad_()
times = []
for _ in range(3):
    start = time.perf_counter()
    y = planar.laplacian(grid, w, x)
    torch.autograd.grad(y, (w, x), y)
    times.append(time.perf_counter() - start)
print(json.dumps([times[0], min(times[1:])]))
"""


def first_call() -> dict[str, float]:
    """Seconds of the first L(w)x with gradients: nothing compiled, and compiled by another run."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", _FIRST_CALL]
        cold, warm = (
            json.loads(subprocess.check_output(command, env=environment, text=True))
            for _ in range(2)
        )
    result = {"nothing_cached": cold[0], "cached_on_disk": warm[0], "next": warm[1]}
    print("\nfirst call: " + ", ".join(f"{k} {v:.3f} s" for k, v in result.items()))
    return result


def repeats_of(args: Any) -> dict[str, Any]:
    """How often to time each candidate."""
    if args.quick:
        return {"warmup": 1, "repeats": 3, "min_seconds": 0.0}
    return {"warmup": 1, "max_seconds": 8.0}


def compare(topology: Topology, operators: Sequence[str], args: Any) -> dict[str, Any]:
    """Time all operators on one structure; the part of the result that grids and graphs share."""
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    bandwidth = copy_bandwidth(args.threads)
    copied = f"copy bandwidth {bandwidth.copied / 1e9:.1f} GB/s with {args.threads} threads"
    print(f"{topology}, {copied}")
    return {
        "heads": HEADS,
        "channels": CHANNELS,
        "features": FEATURES,
        "baseline": BASELINE,
        "bandwidth": bandwidth,
        "operators": {
            name: run(name, topology, bandwidth.copied, repeats_of(args), args.backends)
            for name in operators
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "grid_operators")
    options.add_argument("--operators", nargs="+", default=OPERATORS, help="default: all")
    options.add_argument("--backends", nargs="+", default=BACKENDS, help="default: all")
    args = options.parse_args(argv)
    grid = Grid(24, 32) if args.quick else Grid(512, 768)
    size = {"height": grid.height, "width": grid.width, "window": grid.window}
    result = compare(grid, args.operators, args)
    first = None if args.quick else first_call()
    write_json(args.out, {"grid": size, **result, "first_call": first})
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
