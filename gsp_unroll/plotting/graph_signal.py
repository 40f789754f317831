"""Truth, samples and result of a signal on a graph, side by side with one colour scale."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.plotting.save import save_figure


def graph_signal_report(
    path: str | Path,
    pos: Tensor,
    edge_index: Tensor,
    truth: Tensor,
    mask: Tensor,
    results: dict[str, Tensor],
    *,
    unit: str = "",
    edge_weight: Tensor | None = None,
) -> Path:
    """Draw the signal, what was observed of it and each result to ``path``.

    Args:
        path: Image file to write (format by its ending).
        pos: Positions ``[N, 2]`` (horizontal, vertical).
        edge_index: Edges ``[2, E]``, drawn as lines.
        truth: Signal ``[N]``.
        mask: Boolean ``[N]``, ``True`` = observed.
        results: Restored signals ``[N]`` by title.
        unit: Unit of the signal, for the colour bar and the errors.
        edge_weight: Weights ``[E]``: lines are drawn the darker the larger (default: all alike).

    Raises:
        ValueError: If a shape does not fit.
    """
    checks.shape("pos", pos, ["N", 2])
    for name, value in {"truth": truth, "mask": mask, **results}.items():
        checks.shape(name, value, [len(pos)])
    figure = Figure(figsize=(4 * (2 + len(results)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 + len(results), sharex=True, sharey=True)
    limits = (float(truth.min()), float(truth.max()))
    lines = torch.stack([pos[edge_index[0]], pos[edge_index[1]]], dim=1).tolist()
    shade = torch.ones(len(lines)) if edge_weight is None else edge_weight / edge_weight.max()
    colours = [(0.4, 0.4, 0.4, 0.15 + 0.6 * float(s)) for s in shade]
    shown = {"truth": truth, f"observed ({int(mask.sum())} of {len(mask)})": truth, **results}
    dots = None
    for axis, (title, value) in zip(axes, shown.items(), strict=True):
        axis.add_collection(LineCollection(lines, colors=colours, linewidths=0.5, zorder=0))
        seen = mask if title.startswith("observed") else torch.ones_like(mask)
        axis.scatter(*pos[~seen].T, s=14, facecolors="none", edgecolors="0.6", linewidths=0.6)
        dots = axis.scatter(
            *pos[seen].T, c=value[seen], s=22, cmap="coolwarm", vmin=limits[0], vmax=limits[1]
        )
        if title in results:
            error = (value - truth)[~mask].square().mean().sqrt()
            title = f"{title}: RMSE {float(error):.2f} {unit}"
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(dots, ax=axes, label=unit, shrink=0.9)
    return save_figure(figure, path)
