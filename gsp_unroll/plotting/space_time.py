"""Maps of a signal over time and nodes: truth, samples, results and their errors."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.plotting.save import save_figure

# Largest error that is told apart in the maps: this quantile of all of them.
_SHOWN_ERRORS = 0.99


def space_time_report(
    path: str | Path,
    truth: Tensor,
    mask: Tensor,
    results: dict[str, Tensor],
    *,
    order: Tensor | None = None,
    unit: str = "",
    nodes: str = "nodes",
    steps: str = "steps",
) -> Path:
    """Draw the signal, what was observed of it, each result and its error to ``path``.

    Args:
        path: Image file to write (format by its ending).
        truth: Signal ``[T, N]``; NaN where not known.
        mask: Boolean ``[T, N]``, ``True`` = observed.
        results: Restored signals ``[T, N]`` by title.
        order: Node of each row of the maps ``[N]``, from the top (default: as numbered).
        unit: Unit of the signal, for the colour bars and the errors.
        nodes: What the rows are (default: ``"nodes"``).
        steps: What the columns are (default: ``"steps"``).

    Raises:
        ValueError: If a shape does not fit, there is no result, or nothing known is hidden.
    """
    checks.shape("truth", truth, ["T", "N"])
    for name, value in {"mask": mask, **results}.items():
        checks.shape(name, value, list(truth.shape))
    hidden = ~mask & ~truth.isnan()
    if not bool(hidden.any()):
        raise ValueError("mask must hide at least one known value, got none hidden")
    if not results:
        raise ValueError("results must hold at least one restored signal, got none")
    order = torch.arange(truth.shape[1]) if order is None else order
    checks.shape("order", order, [truth.shape[1]])
    errors = {k: torch.where(hidden, value - truth, torch.nan) for k, value in results.items()}
    largest = torch.cat([error[hidden].abs() for error in errors.values()]).nan_to_num()
    largest = float(largest.quantile(_SHOWN_ERRORS))
    known = truth[~truth.isnan()]
    limits = float(known.min()), float(known.max())

    figure = Figure(figsize=(2.2 * (2 + 2 * len(results)) + 1.2, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, 2 + 2 * len(results), sharex=True, sharey=True))
    share = float((mask & ~truth.isnan()).sum() / (~truth.isnan()).sum())
    shown = {"truth": truth, f"observed ({share:.0%})": torch.where(mask, truth, torch.nan)}
    picture = None
    for axis, (title, value) in zip(axes, {**shown, **results}.items(), strict=False):
        picture = _map(axis, value[:, order], "RdYlBu_r", limits, title)
    figure.colorbar(picture, ax=axes[: 2 + len(results)], label=unit, pad=0.01)
    for axis, (title, value) in zip(axes[2 + len(results) :], errors.items(), strict=True):
        error = float(value[~value.isnan()].square().mean().sqrt())
        title = f"error of {title}\nRMSE {error:.2f} {unit}"
        picture = _map(axis, value[:, order], "PuOr", (-largest, largest), title)
        axis.set_facecolor("white")  # nothing was to be restored: as no error
    figure.colorbar(picture, ax=axes[2 + len(results) :], label=unit, extend="both", pad=0.01)
    axes[0].set_ylabel(nodes)
    for axis in axes:
        axis.set_xlabel(steps)
    return save_figure(figure, path)


def _map(
    axis: Axes, value: Tensor, colours: str, limits: tuple[float, float], title: str
) -> AxesImage:
    axis.set_facecolor("0.8")  # missing
    axis.set_title(title, fontsize=10)
    return axis.imshow(
        value.T.numpy(),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        aspect="auto",
        interpolation="none",
    )
