"""Operators and blocks on a CUDA device: share of the copy bandwidth, and CUDA graphs.

``python benchmarks/cuda_operators.py`` times every backend that is present on a 2048x2048 image
(5x5 window, 4 graphs, 3 channels, float32) and on a graph of nearest neighbours, and the published
networks on small batches with and without captured blocks. The bandwidth of an operator counts
every input and output once; that of a copy counts what it reads and what it writes.
``--tiles`` tries other tile shapes of the Triton kernels.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from baselines import Laplacian
from measure import Timing, measure, measure_all, parser, print_table, write_json
from torch import Tensor

from gsp_unroll.graphs import knn_edge_index
from gsp_unroll.models import UGLR, UGTV
from gsp_unroll.nn import capture_blocks
from gsp_unroll.observe import CFA
from gsp_unroll.ops import available_backends, planar
from gsp_unroll.ops.softmax import edge_softmax
from gsp_unroll.topology import Graph, Grid, Topology

HEADS, CHANNELS, FEATURES = 4, 3, 12
BASELINE = "PyG gather-scatter"
OPERATORS: dict[str, Callable[..., Tensor]] = {
    "laplacian": planar.laplacian,
    "difference": planar.difference,
    "divergence": planar.divergence,
    "distance": planar.distance,
    "edge_softmax": edge_softmax,
}


def random_inputs(operator: str, topology: Topology) -> tuple[Tensor, ...]:
    """Arguments of an operator behind the topology."""
    m, n = topology.num_edges, topology.num_nodes
    make = torch.Generator("cuda").manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, device="cuda", generator=make)

    return {
        "laplacian": lambda: (random(HEADS, m), random(HEADS, CHANNELS, n)),
        "difference": lambda: (random(HEADS, m), random(HEADS, CHANNELS, n)),
        "divergence": lambda: (random(HEADS, m), random(HEADS, CHANNELS, m)),
        "distance": lambda: (random(HEADS, FEATURES, n),),
        "edge_softmax": lambda: (random(HEADS, m),),
    }[operator]()


def forward_and_backward(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    """Value and the gradient of every input, for the direction that the value itself is."""
    leaves = [value.detach().requires_grad_() for value in inputs]
    value = function(*leaves)
    torch.autograd.grad(value, leaves, value.detach())


def message_passing(topology: Topology, inputs: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    """``L(w) x`` by message passing, on the same numbers in PyG's layout."""
    weight = topology.unpack_edges(torch.stack([inputs[0]] * 2, dim=-2))
    x = inputs[1].permute(2, 0, 1).contiguous()
    layer = Laplacian()
    return lambda: layer(topology.edge_index, weight, x)


def time_operator(operator: str, topology: Topology, copied: float, quick: bool) -> dict[str, Any]:
    """Forward, and forward + backward, of every backend, as times and shares of a copy."""
    inputs = random_inputs(operator, topology)
    forward: dict[str, Callable[[], object]] = {}
    both: dict[str, Callable[[], object]] = {}
    for backend in available_backends("cuda"):
        on = topology.with_backend(backend)

        def call(*values: Tensor, on: Topology = on) -> Tensor:
            return OPERATORS[operator](on, *values)

        forward[backend] = lambda call=call: call(*inputs)
        both[backend] = lambda call=call: forward_and_backward(call, inputs)
    if operator == "laplacian":
        forward[BASELINE] = message_passing(topology, inputs)
    with torch.no_grad():
        output = OPERATORS[operator](topology, *inputs)
        moved = 4 * (output.numel() + sum(value.numel() for value in inputs))
        del output
        timings = measure_all(forward, repeats=3 if quick else 21)
    result: dict[str, Any] = {
        "bytes": moved,
        "forward": timings,
        "share_of_copy": {name: moved / t.median / copied for name, t in timings.items()},
        "forward_backward": measure_all(both, repeats=3 if quick else 11),
    }
    plain = timings.get(BASELINE, timings["gather_scatter"])
    result["times_faster_than_gather_scatter"] = plain.median / timings["native"].median
    return result


def time_blocks(quick: bool) -> dict[str, Any]:
    """Restoring and training on 64x64 patches, with and without captured blocks."""
    small = {"blocks": 2, "layers": 1, "cg_steps": 2, "maps": 8} if quick else {}
    results: dict[str, Any] = {}
    for kind, batch in itertools.product((UGLR, UGTV), (1, 8)):
        network = kind(3, **small).cuda()
        y = torch.rand(batch, 3, 64, 64, device="cuda")
        mask = CFA("RGGB").mask(64, 64).cuda()
        ways = {"plain": network, "captured": capture_blocks(network)}

        def train(model: torch.nn.Module, y: Tensor = y, mask: Tensor = mask) -> None:
            model.zero_grad(set_to_none=True)
            model(y, mask).square().mean().backward()

        with torch.inference_mode():
            restoring = {
                name: lambda m=model, y=y, mask=mask: m(y, mask) for name, model in ways.items()
            }
            inference = measure_all(restoring, repeats=3 if quick else 21)
        training = measure_all(
            {name: lambda m=model, train=train: train(m) for name, model in ways.items()},
            repeats=3 if quick else 21,
        )
        results[f"{kind.__name__} batch {batch}"] = {"inference": inference, "training": training}
    return results


def time_tiles(grid: Grid, copied: float) -> dict[str, Any]:
    """``L(w) x`` with other tile shapes of the Triton kernels, as shares of a copy."""
    inputs = random_inputs("laplacian", grid)
    moved = 4 * (sum(value.numel() for value in inputs) + inputs[1].numel())
    shares = {}
    for rows, columns, threads in itertools.product((1, 2, 4), (32, 64, 128), (128, 256)):
        kernels = grid.with_backend("triton").kernels
        kernels.rows, kernels.columns, kernels.threads = rows, columns, threads
        timing = measure(lambda kernels=kernels: kernels.laplacian(*inputs))
        shares[f"rows {rows}, columns {columns}, threads {threads}"] = (
            moved / timing.median / copied
        )
    return shares


def copy_speed(quick: bool) -> tuple[float, Timing]:
    """Bytes read and written in a second by a copy far larger than the caches."""
    source = torch.rand((1 << 26) if quick else (1 << 29), device="cuda")
    target = torch.empty_like(source)
    timing = measure(lambda: target.copy_(source), repeats=21)
    return 2 * source.nbytes / timing.median, timing


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 without a CUDA device."""
    options = parser(__doc__, "cuda_operators")
    options.add_argument("--tiles", action="store_true", help="try other tile shapes, too")
    args = options.parse_args(argv)
    if not torch.cuda.is_available():
        print("cuda_operators: needs a CUDA device, and torch sees none", file=sys.stderr)
        return 1
    side, nodes = (256, 10_000) if args.quick else (2048, 400_000)
    grid = Grid(side, side, 5, device="cuda")
    graph = Graph(knn_edge_index(torch.rand(nodes, 3), 16), nodes).to("cuda")
    copied, copy = copy_speed(args.quick)
    results: dict[str, Any] = {"copy_bytes_per_second": copied, "copy": copy}
    for name, topology in (("grid", grid), ("graph", graph)):
        results[name] = {
            "topology": repr(topology),
            **{op: time_operator(op, topology, copied, args.quick) for op in OPERATORS},
        }
        rows = [
            [op, way, str(timing), f"{results[name][op]['share_of_copy'][way]:.1%}"]
            for op in OPERATORS
            for way, timing in results[name][op]["forward"].items()
        ]
        print_table((f"{name}: operator", "backend", "forward", "share of copy"), rows)
        torch.cuda.empty_cache()
    results["blocks"] = time_blocks(args.quick)
    rows = [
        [f"{kind}, {what}", *map(str, ways.values())]
        for kind, timings in results["blocks"].items()
        for what, ways in timings.items()
    ]
    print_table(("64x64 patches", "plain", "captured"), rows)
    if args.tiles:
        results["tiles"] = time_tiles(grid, copied)
        print_table(
            ("tile", "share of copy"), [[k, f"{v:.1%}"] for k, v in results["tiles"].items()]
        )
    print("written:", write_json(args.out, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
