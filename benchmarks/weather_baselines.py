"""What people restore a signal on a graph or on a map with today, for ``weather.py``.

A method is called as ``method(stations, y, seen)`` with the temperatures ``y [N]`` in °C, of which
it may read those where the boolean ``seen [N]`` is true, and returns all of them. All but
``interpolate`` restore what is left when the mean of the samples is taken away, which helps each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache, partial

import numpy as np
import torch
from pygsp.graphs import Graph
from pygsp.learning import regression_tikhonov
from scipy.sparse import coo_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import Ridge
from torch_geometric.data import Data
from torch_geometric.transforms import FeaturePropagation
from weather_data import climate

from gsp_unroll import interpolate
from gsp_unroll.data.stations import Stations

Method = Callable[[Stations, np.ndarray, np.ndarray], np.ndarray]

LAPLACIANS = ("combinatorial", "normalized")
STRENGTHS = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
BANDWIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


def mean(stations: Stations, y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The mean of the samples everywhere."""
    del stations
    return np.full_like(y, y[seen].mean())


def nearest(stations: Stations, y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The sample of the nearest station."""
    pos = stations.in_space()
    return y[seen][torch.cdist(pos, pos[seen]).argmin(1).numpy()]


def tikhonov(
    stations: Stations, y: np.ndarray, seen: np.ndarray, *, laplacian: str, strength: float
) -> np.ndarray:
    """PyGSP: least squares at the samples plus the Laplacian quadratic form."""
    offset = y[seen].mean()
    left = np.where(seen, y - offset, 0)
    return offset + regression_tikhonov(_graph(stations, laplacian), left, seen, tau=strength)


def band_limited(
    stations: Stations, y: np.ndarray, seen: np.ndarray, *, laplacian: str, bandwidth: int
) -> np.ndarray:
    """Least squares in the lowest graph frequencies, with a touch of ridge for few samples."""
    basis = _graph(stations, laplacian).U[:, :bandwidth]
    offset = y[seen].mean()
    gram = basis[seen].T @ basis[seen] + 1e-3 * np.eye(bandwidth)
    return offset + basis @ np.linalg.solve(gram, basis[seen].T @ (y[seen] - offset))


def feature_propagation(stations: Stations, y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """PyG's ``FeaturePropagation``, 40 rounds."""
    offset = y[seen].mean()
    left = torch.from_numpy(np.where(seen, y - offset, np.nan)).unsqueeze(1)
    data = Data(x=left, edge_index=stations.edge_index, edge_weight=stations.edge_weight.double())
    return offset + FeaturePropagation(missing_mask=left.isnan())(data).x.squeeze(1).numpy()


def model_based(stations: Stations, y: np.ndarray, seen: np.ndarray, *, prior: str) -> np.ndarray:
    """``gsp_unroll.interpolate`` on the graph of the data set, nothing learned."""
    data = Data(
        x=torch.from_numpy(y), mask=torch.from_numpy(seen), edge_index=stations.edge_index,
        edge_weight=stations.edge_weight.double(),
    )  # fmt: skip
    return interpolate(data, prior, tolerance=1e-4 if prior == "gtv" else None).x.numpy()


def kriging(
    stations: Stations, y: np.ndarray, seen: np.ndarray, *, height: bool, trend: bool
) -> np.ndarray:
    """A Gaussian process (scikit-learn), hyperparameters by maximum likelihood on the samples.

    Matérn kernel of smoothness 3/2 with a length for each coordinate, and a nugget; on position, or
    also on height; ``trend`` takes a linear trend in all coordinates away first, by ridge
    regression (regression kriging).
    """
    at = stations.in_plane().double().numpy()
    at = at if height else at[:, 1:]
    line = np.zeros_like(y)
    if trend:
        line = Ridge(alpha=0.1).fit(at[seen], y[seen]).predict(at)
    lengths = [2.0, 1.0, 1.0][-at.shape[1] :]
    kernel = ConstantKernel(1.0) * Matern(lengths, nu=1.5) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings():
        # Few samples leave some lengths open: they end at their bounds.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return line + process.fit(at[seen], (y - line)[seen]).predict(at)


def kernel_kriging(
    stations: Stations,
    y: np.ndarray,
    seen: np.ndarray,
    *,
    up: float,
    along: float,
    nugget: float,
) -> np.ndarray:
    """The same with a linear trend, and with a kernel that does not depend on the samples."""
    at = stations.in_plane().double().numpy()
    line = Ridge(alpha=0.1).fit(at[seen], y[seen]).predict(at)
    kernel = Matern([up, along, along], nu=1.5)
    process = GaussianProcessRegressor(kernel, alpha=nugget, optimizer=None)
    return line + process.fit(at[seen], (y - line)[seen]).predict(at)


def in_hindsight(stations: Stations, y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of all ``KERNELS`` the best for these samples, chosen by the truth: a bound, not a method."""
    found = [method(stations, y, seen) for method in KERNELS]
    return min(found, key=lambda x: np.square((x - y)[~seen]).sum())


def gaussian(
    stations: Stations, y: np.ndarray, seen: np.ndarray, *, shrinkage: float
) -> np.ndarray:
    """Conditional mean given the samples, with the past mean and covariance of the stations."""
    mean, covariance = climate(stations)
    nodes = len(mean)
    own = shrinkage * np.trace(covariance) / nodes
    # An unknown level of the whole signal is a constant covariance.
    covariance = covariance + own * np.eye(nodes) + 1e3 * own
    left = (y - mean)[seen]
    level = left.mean()
    system = covariance[np.ix_(seen, seen)]
    return mean + level + covariance[:, seen] @ np.linalg.solve(system, left - level)


KERNELS: list[Method] = [
    partial(kernel_kriging, up=up, along=along, nugget=nugget)
    for up in (0.5, 1.0, 2.0, 4.0)
    for along in (0.5, 1.0, 2.0, 4.0)
    for nugget in (0.01, 0.03, 0.1)
]

# Name -> candidates, of which the best on the training months is taken.
BASELINES: dict[str, list[Method]] = {
    "mean": [mean],
    "nearest station": [nearest],
    **{
        f"Tikhonov, {laplacian} (PyGSP)": [
            partial(tikhonov, laplacian=laplacian, strength=strength) for strength in STRENGTHS
        ]
        for laplacian in LAPLACIANS
    },
    "band-limited least squares": [
        partial(band_limited, laplacian=laplacian, bandwidth=bandwidth)
        for laplacian in LAPLACIANS
        for bandwidth in BANDWIDTHS
    ],
    "FeaturePropagation (PyG)": [feature_propagation],
    "GLR (interpolate)": [partial(model_based, prior="glr")],
    "GTV (interpolate)": [partial(model_based, prior="gtv")],
    "kriging: position": [partial(kriging, height=False, trend=False)],
    "kriging: position, height": [partial(kriging, height=True, trend=False)],
    "kriging: position, height, trend": [partial(kriging, height=True, trend=True)],
    "kriging: kernel of other months": KERNELS,
    "kriging: kernel of the other country": KERNELS,
    # Of 0.003 to 0.2 the best on what is tested, in its favour.
    "past: Gaussian": [partial(gaussian, shrinkage=0.05)],
}
# Those whose candidates are judged on the training months of the other country.
ELSEWHERE = {"kriging: kernel of the other country"}
# What no choice of a kernel could beat.
BOUNDS: dict[str, list[Method]] = {"kriging: best kernel in hindsight": [in_hindsight]}


def tuned(
    candidates: list[Method],
    stations: Stations,
    cases: Iterable[tuple[np.ndarray, np.ndarray]],
) -> Method:
    """The candidate with the least squared error on ``cases`` of signals and masks."""
    if len(candidates) == 1:
        return candidates[0]
    error = np.zeros(len(candidates))
    for y, seen in cases:
        for k, method in enumerate(candidates):
            error[k] += np.square((method(stations, y, seen) - y)[~seen]).mean()
    return candidates[int(error.argmin())]


@lru_cache(maxsize=8)
def _graph(stations: Stations, laplacian: str) -> Graph:
    nodes = len(stations.place)
    entries = stations.edge_weight.double().numpy(), tuple(stations.edge_index.numpy())
    graph = Graph(coo_array(entries, shape=(nodes, nodes)).tocsr(), lap_type=laplacian)
    graph.compute_fourier_basis()
    return graph
