"""A signal on very many points of a plane: truth, samples and results as maps and in a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.plotting.save import save_figure

# Points in the window, and pixels a side of a map; cells of it hold this many points at least.
_SHOWN, _SIDE, _IN_CELL = 4000, 400, 9
_EXTREMES = (0.005, 0.995)


def point_signal_report(
    path: str | Path,
    pos: Tensor,
    truth: Tensor,
    mask: Tensor,
    results: dict[str, Tensor],
    *,
    centre: tuple[float, float],
    unit: str = "",
) -> Path:
    """Draw maps of a signal, cell means of all points, and below them the points of a window.

    Each row has one scale of colours for all its panels.

    Args:
        path: Image file to write (format by its ending).
        pos: Positions ``[N, 2]`` (horizontal, vertical).
        truth: Signal ``[N]``.
        mask: Boolean ``[N]``, ``True`` = observed.
        results: Restored signals ``[N]`` by title.
        centre: Middle of the window, in shares of width and height in [0, 1].
        unit: Unit of the signal, for the colour bar and the errors.

    Raises:
        ValueError: If a shape does not fit.
    """
    checks.shape("pos", pos, ["N", 2])
    for name, value in {"truth": truth, "mask": mask, **results}.items():
        checks.shape(name, value, [len(pos)])
    points = pos.double().numpy()
    low, size = points.min(0), np.ptp(points, axis=0)
    half = size * min(0.25, 0.5 * (_SHOWN / len(points)) ** 0.5)
    middle = (low + size * centre).clip(low + half, low + size - half)
    window = (np.abs(points - middle) <= half).all(1)
    values = truth.numpy()
    limits, near = _limits(values), _limits(values[window])
    figure = Figure(figsize=(3.6 * (2 + len(results)), 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2 + len(results))
    shown = {"truth": truth, f"observed ({float(mask.double().mean()):.0%})": truth, **results}
    picture = dots = None
    for column, (title, value) in enumerate(shown.items()):
        whole, part = axes[:, column]
        seen = mask.numpy() if title.startswith("observed") else np.ones(len(mask), dtype=bool)
        image = _cell_means(points[seen], value.numpy()[seen], low, size, len(points))
        extent = (low[0], low[0] + size[0], low[1], low[1] + size[1])
        picture = whole.imshow(image, origin="lower", extent=extent, cmap="viridis", **limits)
        whole.add_patch(Rectangle(middle - half, *(2 * half), fill=False, edgecolor="red"))
        if title in results:
            error = (value - truth)[~mask].square().mean().sqrt()
            title = f"{title}: RMSE {float(error):.2f} {unit}"
        whole.set_title(title, fontsize=11)
        chosen = window & seen
        dots = part.scatter(
            *points[chosen].T, c=value.numpy()[chosen], s=12, cmap="viridis", linewidths=0, **near
        )
        (left, bottom), (right, top) = middle - half, middle + half
        part.set(xlim=(left, right), ylim=(bottom, top), aspect=1)
        for axis in (whole, part):
            axis.set(xticks=[], yticks=[])
    figure.colorbar(picture, ax=axes[0], label=unit)
    figure.colorbar(dots, ax=axes[1], label=unit)
    return save_figure(figure, path, dpi=100)


def _limits(values: np.ndarray) -> dict[str, float]:
    """Of colours: few extremes must not take them from the rest."""
    return dict(zip(("vmin", "vmax"), np.quantile(values, _EXTREMES).tolist(), strict=True))


def _cell_means(
    points: np.ndarray, value: np.ndarray, low: np.ndarray, size: np.ndarray, total: int
) -> np.ndarray:
    """Mean of the points in each cell of a map ``[rows, columns]``, NaN where there is none."""
    side = int(min(_SIDE, (total / _IN_CELL) ** 0.5)) or 1
    column, row = ((points - low) / size * side).astype(int).clip(max=side - 1).T
    cell = row * side + column
    count = np.bincount(cell, minlength=side * side)
    total_value = np.bincount(cell, weights=value, minlength=side * side)
    with np.errstate(invalid="ignore"):
        return (total_value / count).reshape(side, side)
