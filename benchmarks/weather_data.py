"""What ``weather.py`` learns from and is tested on: means over days, and random stations."""

from __future__ import annotations

from functools import cache

import numpy as np

from gsp_unroll.data.stations import Stations

# January and July are tested.
HELD_OUT = (1, 7)
# Means over so many days are learned from: those tested are over a month.
WINDOWS = (7, 30)
STRIDE = 2


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


@cache
def climate(stations: Stations) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``[N]`` and covariance ``[N, N]`` of stations over what is learned from.

    The mean of all stations is taken from each signal first: what is left is the pattern.
    """
    signals = np.stack(training(stations))
    signals = signals - np.nanmean(signals, axis=1, keepdims=True)
    mean = np.nanmean(signals, axis=0)
    left = np.nan_to_num(signals - mean)
    return mean, left.T @ left / len(left)


def draw(nodes: int, share: float, seed: int) -> np.ndarray:
    """``share`` of the nodes, rounded."""
    seen = np.zeros(nodes, dtype=bool)
    seen[np.random.default_rng(seed).permutation(nodes)[: round(share * nodes)]] = True
    return seen
