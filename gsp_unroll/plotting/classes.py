"""Classes of nodes: true, as far as they were known, and predicted, side by side."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.plotting.save import save_figure

_GREY = "0.85"


def classes_report(
    path: str | Path, pos: Tensor, truth: Tensor, mask: Tensor, predicted: Tensor
) -> Path:
    """Draw true, known and predicted classes to ``path``; wrong ones get a black cross.

    Args:
        path: Image file to write (format by its ending).
        pos: Positions ``[N, 2]``, e.g. an embedding of features.
        truth: Class of each node, int64 ``[N]``.
        mask: Boolean ``[N]``, ``True`` = the class was known.
        predicted: Predicted class of each node ``[N]``.

    Raises:
        ValueError: If a shape does not fit.
    """
    checks.shape("pos", pos, ["N", 2])
    for name, value in {"truth": truth, "mask": mask, "predicted": predicted}.items():
        checks.shape(name, value, [len(pos)])
    figure = Figure(figsize=(13.5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    classes = int(torch.maximum(truth, predicted).max()) + 1
    palette = colormaps["tab10" if classes <= 10 else "gist_ncar"].resampled(classes)
    size = min(60.0, max(6.0, 18_000 / len(pos)))

    wrong = (predicted != truth) & ~mask
    right = 1 - float(wrong.sum()) / max(1, int((~mask).sum()))
    axes[0].scatter(*pos.T, c=palette(truth.numpy()), s=size)
    axes[0].set_title("truth")
    axes[1].scatter(*pos[~mask].T, c=_GREY, s=size)
    known = palette(truth[mask].numpy())
    axes[1].scatter(*pos[mask].T, c=known, s=5 * size, edgecolors="black", linewidths=0.8)
    axes[1].set_title(f"labelled ({int(mask.sum())} of {len(mask)})")
    axes[2].scatter(*pos.T, c=palette(predicted.numpy()), s=size)
    axes[2].scatter(*pos[wrong].T, c="black", s=1.5 * size, marker="x", linewidths=0.8)
    axes[2].set_title(f"predicted: {right:.1%} right, x = wrong ({int(wrong.sum())})")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    handles = [
        Line2D([], [], marker="o", linestyle="", color=palette(c), label=str(c))
        for c in range(classes)
    ]
    figure.legend(handles=handles, loc="outside right center", title="class", frameon=False)
    return save_figure(figure, path)
