"""Temperatures of weather stations, most of them hidden: learned networks and what people use.

    python benchmarks/weather.py
    python benchmarks/weather_page.py

Needs the extra ``examples``. Protocol: a month of winter and one of summer,
averaged over its days, in the United States and in Australia; 10, 30 or 50 % of the stations are
observed, drawn at random 20 times; RMSE in °C on the others. Networks and hyperparameters of
baselines never see January or July, the months tested:

- ``in place``: fitted to the other months of the same country, on the same stations;
- ``elsewhere``: fitted to the other months of the other country, with positions turned and mirrored
  at random, so that no place is learned;
- baselines: hyperparameters chosen on the other months of the country tested.

A method that the result has already is not run again: stop and start as you like, and delete the
file to measure anew.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, parser, print_table, write_json
from torch_geometric.data import Data
from weather_baselines import BASELINES, Method, tuned

from gsp_unroll import GraphSignalModel
from gsp_unroll.data.stations import DATASETS, Stations, load_stations
from gsp_unroll.graph_signal_model import SMALL
from gsp_unroll.graphs import knn_edge_index
from gsp_unroll.models import ModelConfig

SHARES = (0.1, 0.3, 0.5)
SEASONS = ("winter", "summer")
HELD_OUT = (1, 7)
# Means over so many days are learned from: those tested are over a month.
WINDOWS = (7, 30)
STRIDE = 2
NEIGHBOURS = 8
# Height in km is as far as this many times the distance in 1000 km, for the graph alone.
HEIGHT = 0.3

_SIZE = {"blocks": 2, "layers": 1, "cg_steps": 8, "heads": 4, "features": 8, "maps": 32}
NETWORKS = {
    "uGLR": ModelConfig("uglr", features_from="gnn", **_SIZE),
    "uGTV": ModelConfig("ugtv", features_from="gnn", **_SIZE),
    "uGLR+": dataclasses.replace(SMALL, **_SIZE),
}
# Fits of each network from other random numbers, of which the mean is taken in a row of its own.
FITS = {"uGLR": 1, "uGTV": 1, "uGLR+": 3}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "weather")
    options.add_argument("--repeats", type=int, default=20, help="masks of each row")
    options.add_argument("--steps", type=int, default=600, help="optimiser steps of each fit")
    options.add_argument("--only", nargs="*", help="methods by the beginnings of their names")
    args = options.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.quick:
        args.repeats, args.steps = 2, 2
    stations = {country: load_stations(country) for country in DATASETS}
    result = _read(args.out)

    def wanted(method: str) -> bool:
        chosen = not args.only or any(method.startswith(name) for name in args.only)
        return chosen and method not in result["runs"]

    def keep(method: str, errors: dict[str, list[float]]) -> None:
        result["runs"][method] = machine()
        for row, values in errors.items():
            result["rows"].setdefault(row, {})[method] = values
        write_json(args.out, result)

    for name, candidates in BASELINES.items():
        if wanted(name):
            errors = {}
            for country, found in stations.items():
                for share in SHARES:
                    method = tuned(candidates, found, training_cases(found, share, args.quick))
                    errors |= score(country, found, share, method, args.repeats)
            keep(name, errors)
    for network, config in NETWORKS.items():
        for place in ("in place", "elsewhere"):
            fits = [f"{network}, {place}"]
            fits += [f"{fits[0]}, fit {k + 1}" for k in range(1, FITS[network])]
            together = f"{fits[0]}, mean of {len(fits)} fits"
            if not any(wanted(method) for method in (*fits, *([together] if fits[1:] else []))):
                continue
            models = [fit(config, stations, place, seed, args) for seed in range(len(fits))]
            each = {name: [member] for name, member in zip(fits, models, strict=True)}
            for name, members in (each | ({together: models} if fits[1:] else {})).items():
                errors = {}
                for country, found in stations.items():
                    chosen = [member[country] for member in members]
                    for share in SHARES:
                        method = averaged(chosen)
                        errors |= score(country, found, share, method, args.repeats)
                keep(name, errors)
    show(result)


def fit(
    config: ModelConfig, stations: dict[str, Stations], place: str, seed: int, args: Any
) -> dict[str, GraphSignalModel]:
    """A model for each country to be tested."""
    found = {}
    for tested in stations:
        (learned,) = {tested} if place == "in place" else stations.keys() - {tested}
        signals = [
            as_data(stations[learned], torch.from_numpy(y)) for y in training(stations[learned])
        ]
        print(f"{config.name}, {place}: {len(signals)} signals of {learned}, seed {seed}")
        found[tested] = GraphSignalModel(
            config, trend="kernel", rotate=(1, 2) if place == "elsewhere" else (),
            observed=(0.08, 0.6), steps=args.steps, seed=seed,
        ).fit(signals)  # fmt: skip
    return found


def averaged(models: list[GraphSignalModel]) -> Method:
    """Mean of what several models predict."""

    def method(stations: Stations, y: np.ndarray, seen: np.ndarray) -> np.ndarray:
        data = as_data(stations, torch.from_numpy(np.where(seen, y, np.nan)))
        return np.mean([model.predict(data).x.numpy() for model in models], axis=0)

    return method


def as_data(stations: Stations, y: torch.Tensor) -> Data:
    """Temperatures on the graph of the nearest stations, height and position as attributes."""
    place = stations.in_plane()
    edges = knn_edge_index(place * place.new_tensor([HEIGHT, 1, 1]), NEIGHBOURS)
    return Data(x=y.float(), edge_index=edges, attributes=place)


def training(stations: Stations) -> list[np.ndarray]:
    """Means over some days, none of them in a month that is tested; NaN where nothing is known."""
    found = []
    allowed = ~np.isin(stations.month.numpy(), HELD_OUT)
    days = stations.days.double()
    for length in WINDOWS:
        for first in range(0, len(days) - length + 1, STRIDE):
            if allowed[first : first + length].all():
                found.append(days[first : first + length].nanmean(0).numpy())
    return found


def training_cases(
    stations: Stations, share: float, quick: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Complete signals of the months to learn from, and masks."""
    complete = [y for y in training(stations) if not np.isnan(y).any()]
    for k, y in enumerate(complete[:: len(complete) // (2 if quick else 30)]):
        yield y, draw(len(y), share, 10_000 + k)


def score(
    country: str, stations: Stations, share: float, method: Method, repeats: int
) -> dict[str, list[float]]:
    """RMSE of each mask, by row."""
    rows = {}
    for season in SEASONS:
        y = getattr(stations, season).double().numpy()
        masks = [draw(len(y), share, 1000 + k) for k in range(repeats)]
        rows[f"{country} {season} {share:.0%}"] = [
            float(np.sqrt(np.square((method(stations, y, seen) - y)[~seen]).mean()))
            for seen in masks
        ]
    return rows


def draw(nodes: int, share: float, seed: int) -> np.ndarray:
    """``share`` of the nodes, rounded."""
    seen = np.zeros(nodes, dtype=bool)
    seen[np.random.default_rng(seed).permutation(nodes)[: round(share * nodes)]] = True
    return seen


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"runs": {}, "rows": {}}
    return {key: json.loads(path.read_text())[key] for key in ("runs", "rows")}


def show(result: dict[str, Any]) -> None:
    """Print mean RMSE of every method."""
    rows = result["rows"]
    methods = list(result["runs"])
    lines = [[m, *(f"{np.mean(rows[row][m]):.2f}" for row in rows)] for m in methods]
    print_table(["RMSE in °C", *rows], lines)


if __name__ == "__main__":
    main()
