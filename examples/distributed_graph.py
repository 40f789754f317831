"""Several processes learn one model from one graph, each from a part of it that it alone holds.

    torchrun --nproc-per-node 2 examples/distributed_graph.py
    python examples/distributed_graph.py --processes 2            # starts them itself

Every process reads the pieces of its own region only, computes the gradient on them, and takes the
mean of all gradients (gloo on CPUs): the step of one process with the pieces of all of them. The
first process then restores the whole graph and compares with GLR.

On several machines, ``torchrun --nnodes 2 --node-rank 0 --rdzv-endpoint HOST:PORT ...``. There the
whole graph need not fit on any of them: ``torch_geometric.distributed.Partitioner`` writes one
folder a part with its nodes, its edges and the numbers of both in the whole (it cuts with METIS,
which needs ``pyg-lib`` or ``torch-sparse`` built with it), and each machine loads its folder. What
is read there takes the place of ``Subset`` below: one part of it, with the nodes around, is one
``Data`` with ``inner``. PyG's own distributed loaders then fetch neighbours over RPC in every step;
pieces are cut once, so here gradients are all that travels.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.utils.data import Subset
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

import gsp_unroll
from gsp_unroll.data import GraphPieces
from gsp_unroll.graphs import cut_share, knn_edge_index, partition
from gsp_unroll.models import ModelConfig

NETWORK = ModelConfig(
    "uglr-plus", blocks=2, layers=1, cg_steps=8, heads=2, features=4, maps=16,
    features_from="gnn", mean=True, sees_mask=True, carry=True,
)  # fmt: skip


def main() -> int:
    args = parse_args()
    if "RANK" in os.environ:
        distributed.init_process_group("gloo", timeout=timedelta(minutes=10))
        work(args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            meeting = f"file://{Path(folder) / 'meeting'}"
            torch.multiprocessing.spawn(join, (meeting, args), nprocs=args.processes)
    return 0


def join(rank: int, meeting: str, args: argparse.Namespace) -> None:
    """Be one of the processes that this script started."""
    distributed.init_process_group(
        "gloo", meeting, rank=rank, world_size=args.processes, timeout=timedelta(minutes=10)
    )
    work(args)


def work(args: argparse.Namespace) -> None:
    """What every process does."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    torch.set_num_threads(1)
    data, truth, part = regions(args.nodes, args.pieces, args.seed)
    # Parts with neighbouring numbers lie side by side: each process has a region.
    own = range(rank * args.pieces // world, (rank + 1) * args.pieces // world)
    loader = DataLoader(Subset(GraphPieces(data, part, halo=1), own), batch_size=1, shuffle=True)
    model = gsp_unroll.GraphSignalModel(
        NETWORK, trend="none", observed=(0.3, 0.9), steps=args.steps, lr=5e-3, seed=args.seed,
        progress=rank == 0,
    )  # fmt: skip
    model.fit(loader, group=distributed.group.WORLD)
    weights = torch.cat([p.detach().flatten() for p in model.network.parameters()])
    low, high = weights.clone(), weights.clone()
    distributed.all_reduce(low, distributed.ReduceOp.MIN)
    distributed.all_reduce(high, distributed.ReduceOp.MAX)
    if rank == 0:
        report(data, truth, part, model, world, float((high - low).max()))
    distributed.barrier()
    distributed.destroy_process_group()


def report(
    data: Data,
    truth: torch.Tensor,
    part: torch.Tensor,
    model: gsp_unroll.GraphSignalModel,
    world: int,
    spread: float,
) -> None:
    missing = data.x.isnan()
    print(f"{world} processes, {len(truth)} nodes in {int(part.max()) + 1} pieces that cut "
          f"{cut_share(data.edge_index, part):.1%} of the edges")  # fmt: skip
    print(f"largest difference of a weight between processes: {spread:.1e}")
    for name, restored in {
        "GLR": gsp_unroll.interpolate(data, on_failure="ignore"),
        "learned": model.predict(data),
    }.items():
        print(f"  {name:8s} RMSE {(restored.x - truth)[missing].square().mean().sqrt():.3f}")


def regions(nodes: int, pieces: int, seed: int) -> tuple[Data, torch.Tensor, torch.Tensor]:
    """A wave with jumps at random places, an attribute that tells of the jumps, and a partition."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(nodes, 2, generator=generator)
    inside = (torch.sin(9 * pos[:, 0]) + torch.cos(8 * pos[:, 1]) > 0.2).float()
    truth = torch.sin(5 * pos[:, 0]) + 2 * inside - 1
    band = inside + 0.3 * torch.randn(nodes, generator=generator)
    x = torch.where(torch.rand(nodes, generator=generator) < 0.2, truth, torch.nan)
    edge_index = knn_edge_index(pos, k=8)
    data = Data(x=x, edge_index=edge_index, attributes=band[:, None])
    return data, truth, partition(edge_index, nodes, pieces)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn from one graph in several processes.")
    parser.add_argument("--processes", type=int, default=2, help="without torchrun")
    parser.add_argument("--nodes", type=int, default=20_000)
    parser.add_argument("--pieces", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    world = int(os.environ.get("WORLD_SIZE", args.processes))
    if not 1 <= world <= args.pieces <= args.nodes // 50 or args.steps < 1:
        parser.error("--pieces must be at least the processes and at most --nodes / 50, "
                     "--steps at least 1")  # fmt: skip
    return args


if __name__ == "__main__":
    sys.exit(main())
