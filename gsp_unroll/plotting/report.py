"""One picture of a restoration: what was seen, restored and true, and the learned graph."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.plotting.neighbours import neighbour_weights
from gsp_unroll.plotting.save import save_figure
from gsp_unroll.topology import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gsp_unroll.models.unrolled import UnrolledNetwork

# Sides of the shown part of the image and of the part around the pixel, in pixels.
_VIEW = 96
_CLOSE = 9


def restoration_report(
    path: str | os.PathLike[str],
    truth: Tensor,
    y: Tensor,
    mask: Tensor,
    result: Tensor,
    model: UnrolledNetwork,
    *,
    pixel: tuple[int, int] | None = None,
) -> Path:
    """Draw observation, result, truth, error, and the graph that each head learned at one pixel.

    The graph is the last block's. An edge is drawn from the pixel to each neighbour in the window;
    its width, and the area of the dot at its end, are proportional to the learned weight (one scale
    for all heads).

    Args:
        path: Image file to write; its suffix decides on the format.
        truth: ``[C, H, W]``, values in [0, 1], C = 1 or 3.
        y: Observation of the same shape.
        mask: bool, broadcastable to ``truth``, ``True`` = observed.
        result: Restored image of the same shape.
        model: Network that learns graphs (`UGLR` or `UGTV`).
        pixel: Row and column; ``None`` takes the strongest edge of the truth.

    Returns:
        The path written.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: A shape does not fit or the pixel is outside the image.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plotting needs matplotlib: pip install "gsp-unroll[plot]"') from error
    checks.shape("truth", checks.tensor("truth", truth), ("C", "H", "W"))
    for name, value in (("y", y), ("result", result)):
        checks.shape(name, checks.tensor(name, value), truth.shape)
    mask = mask.expand_as(truth)
    row, column = _strongest_edge(truth) if pixel is None else pixel
    grid, weights = _graph_at(model, y, mask, row, column)

    heads = weights.shape[0]
    # A figure of its own, not pyplot's: no global state, no window, any thread.
    figure = Figure(figsize=(13.5, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.0, 1.0))
    rows, columns = _view(truth, row, column, _VIEW)
    error = (result - truth).abs().mean(0)[rows, columns]
    axes = upper.subplots(1, 4)
    for axis, image, title in zip(
        axes,
        (y, result, truth),
        ("observed", f"restored (whole image: {_psnr(result, truth):.2f} dB)", "truth"),
        strict=False,
    ):
        _show(axis, image[:, rows, columns], title)
    axes[2].add_patch(_frame(row - rows.start, column - columns.start))
    shown = axes[3].imshow(error.cpu().numpy(), cmap="magma", vmin=0.0)
    axes[3].set_title("mean absolute error")
    axes[3].set_axis_off()
    upper.colorbar(shown, ax=axes[3], shrink=0.8)

    largest = float(weights.nan_to_num().max()) or 1.0
    lower.suptitle(
        f"graph learned by the last block at pixel ({row}, {column}), "
        f"{grid.window} x {grid.window} window; the heaviest edge weighs {largest:.3g}"
    )
    for head, axis in enumerate(lower.subplots(1, heads, squeeze=False)[0]):
        _draw_graph(axis, truth, row, column, weights[head] / largest, f"head {head + 1}")
    return save_figure(figure, path)


def _graph_at(
    model: UnrolledNetwork, y: Tensor, mask: Tensor, row: int, column: int
) -> tuple[Grid, Tensor]:
    """Return the last block's weights at the pixel, learned from the image around it."""
    rows, columns = _view(y, row, column, _VIEW)
    report = model.explain(y[None, :, rows, columns], mask[None, :, rows, columns])[-1]
    at = (row - rows.start, column - columns.start)
    return report.topology, neighbour_weights(report.topology, report.weight[0], *at).cpu()


def _view(image: Tensor, row: int, column: int, side: int) -> tuple[slice, slice]:
    """Return the square of at most ``side`` pixels around a pixel, moved inside the image."""
    height, width = image.shape[-2:]
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"pixel must lie inside {height} x {width}, got ({row}, {column})")
    top = max(0, min(row - side // 2, height - side))
    left = max(0, min(column - side // 2, width - side))
    return slice(top, min(top + side, height)), slice(left, min(left + side, width))


def _strongest_edge(truth: Tensor) -> tuple[int, int]:
    """Return the pixel where brightness changes most, away from the border where possible."""
    grey = truth.mean(0)
    height, width = grey.shape
    margin = min(8, (min(height, width) - 1) // 2)
    change = torch.zeros_like(grey)
    change[:, 1:-1] += (grey[:, 2:] - grey[:, :-2]).abs()
    change[1:-1] += (grey[2:] - grey[:-2]).abs()
    inner = change[margin : height - margin, margin : width - margin]
    place = int(inner.argmax())
    return margin + place // inner.shape[1], margin + place % inner.shape[1]


def _show(axis: Axes, image: Tensor, title: str = "") -> None:
    pixels = image.detach().cpu().float().clamp(0, 1)
    if pixels.shape[0] == 1:
        axis.imshow(pixels[0].numpy(), cmap="gray", vmin=0.0, vmax=1.0)
    else:
        axis.imshow(pixels.permute(1, 2, 0).numpy())
    axis.set_title(title)
    axis.set_axis_off()


def _frame(row: int, column: int) -> Any:
    from matplotlib.patches import Rectangle

    corner = (column - _CLOSE / 2, row - _CLOSE / 2)
    return Rectangle(corner, _CLOSE, _CLOSE, fill=False, color="white", linewidth=1.5)


def _draw_graph(
    axis: Axes, truth: Tensor, row: int, column: int, weights: Tensor, title: str
) -> None:
    """Draw the edges of one head over the close surroundings of the pixel, shown pale."""
    rows, columns = _view(truth, row, column, _CLOSE)
    # Half way to white, so that the edges stand out from dark and light pixels alike.
    _show(axis, 0.5 + 0.5 * truth[:, rows, columns], title)
    centre = (column - columns.start, row - rows.start)
    reach = weights.shape[-1] // 2
    # Light edges first: the heavy ones lie on top.
    order = weights.flatten().nan_to_num().argsort().tolist()
    for place in order:
        dr, dc = place // weights.shape[-1] - reach, place % weights.shape[-1] - reach
        value = float(weights.flatten()[place])
        if not value > 0:
            continue
        end = (centre[0] + dc, centre[1] + dr)
        _draw_edge(axis, centre, end, value)
    axis.plot(*centre, marker="s", color="black", markersize=7)


def _draw_edge(axis: Axes, start: Sequence[int], end: Sequence[int], value: float) -> None:
    axis.plot(
        [start[0], end[0]],
        [start[1], end[1]],
        color="crimson",
        linewidth=0.3 + 4.0 * value,
        alpha=0.3 + 0.7 * value,
        solid_capstyle="round",
    )
    axis.scatter([end[0]], [end[1]], s=4.0 + 110.0 * value, color="crimson", zorder=3)


def _psnr(result: Tensor, truth: Tensor) -> float:
    squared = (result.double() - truth.double()).square().mean().clamp_min(1e-12)
    return float(-10.0 * squared.log10())
