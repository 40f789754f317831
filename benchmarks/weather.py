"""Temperatures of weather stations, most of them hidden: learned networks and what people use.

    python benchmarks/weather.py
    python benchmarks/weather_page.py

Needs the extra ``examples``. Protocol: a month of winter and one of summer,
averaged over its days, in the United States and in Australia; 10, 30 or 50 % of the stations are
observed, drawn at random 20 times; RMSE in °C on the others. Networks and hyperparameters of
baselines never see January or July, the months tested:

- ``in place``: fitted to the other months of the same country, on the same stations, of which the
  mean and the leading patterns (EOFs) over those months are known, too;
- ``elsewhere``: fitted to the other months of the other country, knowing heights and positions,
  which are turned and mirrored at random, so that no place is learned;
- baselines: hyperparameters chosen on the other months of the country tested, "kernel of the other
  country" on those of the other one, as ``elsewhere`` is. "past: Gaussian" has the mean and
  covariance of the stations over those months, as ``in place`` has. "best kernel in hindsight" is
  chosen by the truth, and only shows what a better choice could give.

A method that the result has already is not run again: stop and start as you like, and delete the
file to measure anew.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, parser, print_table, write_json
from torch_geometric.data import Data
from weather_baselines import BASELINES, BOUNDS, ELSEWHERE, Method, tuned
from weather_data import climate, draw, training

from gsp_unroll import GraphSignalModel
from gsp_unroll.data.stations import DATASETS, Stations, load_stations
from gsp_unroll.graph_signal_model import SMALL
from gsp_unroll.graphs import knn_edge_index
from gsp_unroll.models import ModelConfig

SHARES = (0.1, 0.3, 0.5)
SEASONS = ("winter", "summer")
PLACES = ("in place", "elsewhere")
NEIGHBOURS = 8
# Patterns of the past that are attributes of the stations.
PATTERNS = 8
# Height in km is as far as this many times the distance in 1000 km, for the graph alone.
HEIGHT = 0.3

_SIZE = {"blocks": 2, "layers": 1, "cg_steps": 8, "heads": 4, "features": 8, "maps": 32}
NETWORKS = {
    "uGLR": ModelConfig("uglr", features_from="gnn", **_SIZE),
    "uGTV": ModelConfig("ugtv", features_from="gnn", **_SIZE),
    "uGLR+": dataclasses.replace(SMALL, **_SIZE),
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "weather")
    options.add_argument("--repeats", type=int, default=20, help="masks of each row")
    options.add_argument("--steps", type=int, default=700, help="optimiser steps of each fit")
    options.add_argument("--only", nargs="*", help="methods by the beginnings of their names")
    args = options.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.quick:
        args.repeats, args.steps = 2, 2
    stations = {country: load_stations(country) for country in DATASETS}
    result = _read(args.out, {"repeats": args.repeats, "steps": args.steps})

    def wanted(method: str) -> bool:
        chosen = not args.only or any(method.startswith(name) for name in args.only)
        return chosen and method not in result["runs"]

    def keep(method: str, errors: dict[str, list[float]]) -> None:
        result["runs"][method] = machine()
        for row, values in errors.items():
            result["rows"].setdefault(row, {})[method] = values
        write_json(args.out, result)

    for name, candidates in (BASELINES | BOUNDS).items():
        if wanted(name):
            errors = {}
            for country, found in stations.items():
                judged = other(country, stations) if name in ELSEWHERE else found
                for share in SHARES:
                    method = tuned(candidates, judged, training_cases(judged, share, args.quick))
                    errors |= score(country, found, share, method, args.repeats)
            keep(name, errors)
    for network, config in NETWORKS.items():
        for place in PLACES:
            if wanted(f"{network}, {place}"):
                errors = {}
                for tested, found in stations.items():
                    learned = found if place == "in place" else other(tested, stations)
                    print(f"{network}, {place}: for {tested}", flush=True)
                    method = fit(config, learned, place, args.steps)
                    for share in SHARES:
                        errors |= score(tested, found, share, method, args.repeats)
                keep(f"{network}, {place}", errors)
    show(result)


def other(country: str, stations: dict[str, Stations]) -> Stations:
    """The stations of the other country."""
    (name,) = stations.keys() - {country}
    return stations[name]


def fit(config: ModelConfig, stations: Stations, place: str, steps: int) -> Method:
    """Learn from the months that are not tested."""
    past = place == "in place"
    like = as_data(stations, past)
    signals = []
    for y in training(stations):
        signals.append(like.clone())
        signals[-1].x = torch.from_numpy(y).float()
    model = GraphSignalModel(
        config, trend="kernel", rotate=() if past else (1, 2), observed=(0.05, 0.6), steps=steps
    ).fit(signals)

    def method(stations: Stations, y: np.ndarray, seen: np.ndarray) -> np.ndarray:
        data = as_data(stations, past)
        data.x = torch.from_numpy(np.where(seen, y, np.nan)).float()
        return model.predict(data).x.numpy()

    return method


@functools.cache
def as_data(stations: Stations, past: bool) -> Data:
    """The graph of the nearest stations, with height and position, and the past, as attributes."""
    place = stations.in_plane()
    edges = knn_edge_index(place * place.new_tensor([HEIGHT, 1, 1]), NEIGHBOURS)
    if past:
        mean, covariance = climate(stations)
        size, pattern = np.linalg.eigh(covariance)
        pattern = pattern[:, -PATTERNS:] * np.sqrt(size[-PATTERNS:])
        place = torch.cat([place, torch.tensor(np.column_stack([mean, pattern])).float()], dim=1)
    return Data(edge_index=edges, attributes=place, num_nodes=len(place))


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


def _read(path: Path, settings: dict[str, int]) -> dict[str, Any]:
    """The result so far; another repeat or length of training would not go with it."""
    if not path.exists():
        return {"settings": settings, "runs": {}, "rows": {}}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise SystemExit(f"{path} is of {found['settings']}, not {settings}: choose another --out")
    return {key: found[key] for key in ("settings", "runs", "rows")}


def show(result: dict[str, Any]) -> None:
    """Print mean RMSE of every method."""
    rows = result["rows"]
    methods = list(result["runs"])
    lines = [[m, *(f"{np.mean(rows[row][m]):.2f}" for row in rows)] for m in methods]
    print_table(["RMSE in °C", *rows], lines)


if __name__ == "__main__":
    main()
