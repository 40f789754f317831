"""How a uGTV network uses C and C^T: inside its layers, beside the same with gather-scatter.

``python benchmarks/gtv_layer.py`` times layers of uGTV with one CG step, which needs no L(w)x: C x,
the edge variables, C^T of what they pull, a step along that. One layer and two, since the edge
variables of the first one have a closed form. Forward and forward + backward, on the grid of
`grid_operators`. The bound counts arguments and result only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from baselines import PlainOperators
from grid_operators import (
    BASELINE,
    CHANNELS,
    HEADS,
    Candidate,
    compare_candidates,
    planar_inputs,
    repeats_of,
)
from measure import copy_bandwidth, parser, write_json
from torch import Tensor

from gsp_unroll.models import UGTV
from gsp_unroll.topology import Grid, Topology

BACKENDS = ("native", "torch")
# What is measured, and of how many layers.
LAYERS = {"gtv_layer": 1, "two_gtv_layers": 2}


class LayersOfUGTV:
    """The solver part of a uGTV block whose layers have one CG step.

    Args:
        layers: How many.
        num_nodes: Of the graphs; half of the values are samples.
    """

    def __init__(self, layers: int, num_nodes: int) -> None:
        self.block = UGTV(CHANNELS, blocks=1, layers=layers, cg_steps=1, heads=HEADS).blocks[0]
        self.block.requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        self.observed = torch.rand(CHANNELS, num_nodes, generator=generator) < 0.5

    def on(self, topology: Topology) -> Callable[[Tensor, Tensor], Tensor]:
        """As the network computes it: ``[HEADS, M], [C, N] -> [HEADS, C, N]``."""
        return lambda w, x: self.block.solve(topology, w[None], x[None], self.observed[None])[0]

    def plain(self, operators: PlainOperators) -> Callable[[Tensor, Tensor], Tensor]:
        """With the baseline's operators: ``[M, HEADS], [N, 1, C] -> [N, HEADS, C]``."""
        layers, observed = self.block.layers, self.observed.T.unsqueeze(1)
        return lambda w, x: operators.gtv_layers(w, x, observed, layers)


def main(argv: Sequence[str] | None = None) -> None:
    args = parser(__doc__, "gtv_layer").parse_args(argv)
    torch.set_num_threads(args.threads)
    grid = Grid(24, 32) if args.quick else Grid(512, 768)
    weight, signals = planar_inputs("difference", grid)
    inputs = weight, signals[0]
    plain = PlainOperators(grid)
    arguments = plain.edges_first(inputs[0]), plain.nodes_first(inputs[1])
    bandwidth = copy_bandwidth(args.threads)
    measured = {}
    for name, number in LAYERS.items():
        layers = LayersOfUGTV(number, grid.num_nodes)
        candidates = {BASELINE: Candidate(layers.plain(plain), arguments)}
        for backend in BACKENDS:
            candidates[backend] = Candidate(layers.on(grid.with_backend(backend)), inputs)
        found = compare_candidates(name, candidates, inputs, bandwidth.copied, repeats_of(args))
        measured[name] = {**found, "skipped": {}}
    write_json(
        args.out,
        {
            "grid": {"height": grid.height, "width": grid.width, "window": grid.window},
            "heads": HEADS,
            "channels": CHANNELS,
            "baseline": BASELINE,
            "bandwidth": bandwidth,
            "operators": measured,
        },
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
