"""A learned model on a graph of a million nodes, trained on pieces of it, with 10 % observed.

    python examples/million_nodes.py                      # one million
    python examples/million_nodes.py --nodes 50000 --steps 100

Ground temperatures at random places of a made-up country: they fall with height, follow the weather
and jump where forest, field and town meet. Height and two noisy bands of a satellite are known
everywhere, temperatures at one place in ten. The model learns from these samples alone, hiding some
of them from itself; the truth is used for the errors in the table only.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import grid_sample
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

import gsp_unroll
from gsp_unroll.data import GraphPieces
from gsp_unroll.graphs import cut_share, knn_edge_index, partition
from gsp_unroll.models import ModelConfig
from gsp_unroll.plotting.point_signal import point_signal_report
from gsp_unroll.plotting.save import figure_path

NETWORK = ModelConfig(
    "uglr-plus", blocks=2, layers=1, cg_steps=12, heads=4, features=6, maps=24,
    features_from="gnn", mean=True, sees_mask=True, carry=True,
)  # fmt: skip
# Warmer than open land, and the mean in two bands of a satellite: forest, field, town.
WARMER = torch.tensor([-3.0, 0.0, 4.0])
BANDS = torch.tensor([[0.0, 1.0], [0.5, 0.3], [1.0, 0.8]])
BAND_NOISE = 0.3


def main() -> int:
    args = parse_args()
    generator = torch.Generator().manual_seed(args.seed)
    with phase("make the places"):
        pos, truth, attributes = country(args.nodes, generator)
        mask = torch.rand(args.nodes, generator=generator) < args.observed
        mask[0] = True
    with phase("nearest neighbours"):
        edge_index = knn_edge_index(pos, k=8)
    results = {"mean": truth[mask].mean().expand_as(truth)}
    with phase("nearest sample"):
        results["nearest"] = truth[mask][cKDTree(pos[mask].numpy()).query(pos.numpy())[1]]
    data = Data(x=truth, mask=mask, edge_index=edge_index)
    amg = "amg" if importlib.util.find_spec("pyamg") else "jacobi"
    with phase(f"GLR ({amg})"):
        results["GLR"] = gsp_unroll.interpolate(data, preconditioner=amg, tolerance=1e-6).x

    with phase(f"regression, GLR ({amg})"):
        line = regression(attributes, truth, mask)
        data.x = truth - line
        rest = gsp_unroll.interpolate(data, preconditioner=amg, tolerance=1e-6).x
        results["regression + GLR"] = line + rest

    # The mean of the whole, once: pieces have means of their own.
    centre = truth[mask].mean()
    data = Data(
        x=torch.where(mask, truth - centre, torch.nan), edge_index=edge_index, attributes=attributes
    )
    with phase("partition"):
        part = partition(edge_index, args.nodes, max(1, args.nodes // args.piece))
    pieces = GraphPieces(data, part)
    loader = DataLoader(pieces, batch_size=1, shuffle=True)
    model = gsp_unroll.GraphSignalModel(
        NETWORK, trend="none", observed=(0.5, 0.9), steps=args.steps, lr=5e-3, seed=args.seed
    )
    with phase(f"fit, {args.steps} steps"):
        model.fit(loader)
    with phase(f"predict, {args.predict_pieces} pieces"):
        results["learned"] = model.predict(data, pieces=args.predict_pieces).x + centre

    cut, random = cut_share(edge_index, part), 1 - 1 / len(pieces)
    print(f"\n{args.nodes:,} nodes, {edge_index.shape[1]:,} directed edges, {len(pieces)} pieces")
    print(f"cut by pieces: {cut:.1%} of the edges, {random:.1%} if they were random")
    print(f"{mask.double().mean():.0%} observed, RMSE elsewhere:")
    for method, value in results.items():
        print(f"  {method:16s} {(value - truth)[~mask].square().mean().sqrt():6.3f} °C")
    shown = {name: results[name] for name in ("GLR", "learned")}
    point_signal_report(args.out, pos, truth, mask, shown, centre=(0.29, 0.66), unit="°C")
    print(f"picture: {args.out}")
    return 0


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Print the seconds of a phase, on the clock and of the processor, and the peak until then."""
    began, busy = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    took, busy = time.perf_counter() - began, time.process_time() - busy
    print(f"{name:24s} {took:7.1f} s ({busy:.1f} s of CPU)   peak {peak:.2f} GB", flush=True)


def country(nodes: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Places ``[N, 2]``, temperatures ``[N]``, and height and bands ``[N, 3]``."""
    pos = torch.rand(nodes, 2, generator=generator)
    height, weather, land = (
        sample(fractal(512, rough, generator), pos) for rough in (2.2, 3.5, 2.6)
    )
    cover = torch.bucketize(land, torch.quantile(land[:100_000], torch.tensor([0.4, 0.75])))
    local = 0.2 * torch.randn(nodes, generator=generator)
    temperature = 15 - 3 * height + 2 * weather + WARMER[cover] + local
    bands = BANDS[cover] + BAND_NOISE * torch.randn(nodes, 2, generator=generator)
    return pos, temperature, torch.cat([height[:, None], bands], dim=1)


def regression(attributes: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Linear regression of the samples on what is known everywhere."""
    design = torch.cat([attributes, torch.ones(len(attributes), 1)], dim=1)
    return design @ torch.linalg.lstsq(design[mask], truth[mask, None]).solution[:, 0]


def fractal(side: int, rough: float, generator: torch.Generator) -> Tensor:
    """Noise whose spectrum falls with frequency to the power ``rough``; the larger the smoother."""
    spectrum = torch.fft.rfft2(torch.randn(side, side, generator=generator))
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    frequency[0, 0] = torch.inf
    field = torch.fft.irfft2(spectrum / frequency**rough, (side, side))
    return field / field.std()


def sample(field: Tensor, pos: Tensor) -> Tensor:
    """Values of a field on the unit square at some places."""
    at = (2 * pos - 1).view(1, 1, -1, 2)
    return grid_sample(field[None, None], at, mode="bicubic", align_corners=True)[0, 0, 0]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Restore a signal on a million nodes.")
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--observed", type=float, default=0.1, help="share of nodes observed")
    parser.add_argument("--piece", type=int, default=4000, help="nodes of a training piece")
    parser.add_argument("--steps", type=int, default=200, help="training steps, a piece each")
    parser.add_argument("--predict-pieces", type=int, default=8, help="1 = the whole at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", default="runs/million_nodes.png", type=figure_path, help="picture to write"
    )
    args = parser.parse_args()
    if args.nodes < 100 or not 0.01 <= args.observed <= 0.9:
        parser.error("--nodes must be at least 100 and --observed between 0.01 and 0.9")
    if not 100 <= args.piece <= args.nodes or args.steps < 1:
        parser.error("--piece must be between 100 and --nodes, and --steps at least 1")
    if args.seed < 0:
        parser.error(f"--seed must be at least 0, got {args.seed}")
    if not 1 <= args.predict_pieces <= args.nodes:
        parser.error("--predict-pieces must be between 1 and --nodes")
    return args


if __name__ == "__main__":
    sys.exit(main())
