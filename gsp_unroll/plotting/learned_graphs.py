"""Learned adjacency matrices beside the truth, and the error of each layer."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.half_vector import to_matrix
from gsp_unroll.graph_learning.metrics import gmse
from gsp_unroll.plotting.save import save_figure


def learned_graphs_report(
    path: str | Path,
    truth: Tensor,
    results: dict[str, Tensor],
    errors: dict[str, Tensor],
) -> Path:
    """Draw one graph as learned by each method, and the mean error after each layer.

    Args:
        path: Image file to write (format by its ending).
        truth: True weights, the half vector of one graph.
        results: Learned weights by title, as ``truth``.
        errors: Mean error after each layer ``[layers]`` by title; a single value is drawn as a
            line across.

    Raises:
        ValueError: If a shape does not fit.
    """
    shown = {"truth": truth, **results}
    for name, value in shown.items():
        checks.shape(name, value, list(truth.shape))
    figure = Figure(figsize=(3 * len(shown) + 4.6, 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(shown) + 1, width_ratios=[3] * len(shown) + [4])
    for axis, (title, value) in zip(axes, shown.items(), strict=False):
        # Above the weights of the truth, colours end: an outlier must not pale the rest.
        image = axis.imshow(
            to_matrix(value).numpy(), cmap="magma_r", vmin=0, vmax=float(truth.max())
        )
        if title in results:
            title = f"{title}: GMSE {float(gmse(value, truth)):.3f}"
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(image, ax=axes[:-1], label="weight", shrink=0.85, extend="max")
    for k, (title, error) in enumerate(errors.items()):
        colour = f"C{k}"
        if error.numel() == 1:
            axes[-1].axhline(float(error), color=colour, linestyle="--", label=title)
        else:
            axes[-1].plot(range(1, len(error) + 1), error, color=colour, marker=".", label=title)
    axes[-1].set_yscale("log")
    axes[-1].set_xlabel("layer")
    axes[-1].set_title("GMSE, mean of all test graphs", fontsize=10)
    axes[-1].legend(fontsize=8)
    return save_figure(figure, path)
