"""Signals on a triangle mesh, each a shaded surface, with one colour scale in each row."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.plotting.save import save_figure

_COLOURS = "viridis"
_UNKNOWN = (0.8, 0.8, 0.8)
# What of the light comes from everywhere, and where the rest comes from.
_AMBIENT = 0.5
_LIGHT = (0.3, -0.6, 0.75)


def mesh_report(
    path: str | Path,
    pos: Tensor,
    face: Tensor,
    rows: dict[str, tuple[Tensor, Tensor, dict[str, Tensor]]],
    *,
    elevation: float = 25.0,
    azimuth: float = -60.0,
) -> Path:
    """Draw signals on a mesh to ``path``: truth, what was observed, and each result.

    A triangle has the mean colour of its corners; under "observed" of those that are, and grey
    if none is.

    Args:
        path: Image file to write (format by its ending).
        pos: Vertices ``[V, 3]``.
        face: Triangles ``[3, F]``, counter-clockwise seen from outside.
        rows: For each signal by name: truth ``[V]``, boolean mask ``[V]`` (``True`` = observed),
            and restored signals ``[V]`` by title, as many in each row.
        elevation: Of the eye above the horizon, in degrees (default: 25).
        azimuth: Of the eye, in degrees (default: -60).

    Raises:
        ValueError: If a shape does not fit, or rows are none or not alike.
    """
    checks.shape("pos", pos, ["V", 3])
    checks.shape("face", face, [3, "F"])
    if len({len(results) for _, _, results in rows.values()}) != 1:
        raise ValueError("rows must hold one signal at least, each with as many results")
    for name, (truth, mask, results) in rows.items():
        for title, value in {"truth": truth, "mask": mask, **results}.items():
            checks.shape(f"rows[{name!r}] {title}", value, [len(pos)])
    columns = 2 + len(next(iter(rows.values()))[2])
    figure = Figure(figsize=(3.1 * columns, 3.2 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False, subplot_kw={"projection": "3d"})
    shade = _shade(pos, face).unsqueeze(1)
    for line, (name, (truth, mask, results)) in zip(axes, rows.items(), strict=True):
        scale = Normalize(float(truth.min()), float(truth.max()))
        panels = {f"{name}: truth": truth, f"observed ({int(mask.sum())} of {len(mask)})": truth}
        for title, value in results.items():
            error = float((value - truth)[~mask].square().mean().sqrt())
            panels[f"{title}: RMSE {error:.3f}"] = value
        for k, (axis, (title, value)) in enumerate(zip(line, panels.items(), strict=True)):
            seen = mask if k == 1 else torch.ones_like(mask)
            _surface(axis, pos, face, _colours(value, seen, face, scale) * shade)
            axis.view_init(elevation, azimuth)
            axis.set_title(title, fontsize=10)
        figure.colorbar(ScalarMappable(scale, _COLOURS), ax=list(line), shrink=0.7, pad=0.01)
    return save_figure(figure, path, dpi=100)


def _shade(pos: Tensor, face: Tensor) -> Tensor:
    """Brightness of each triangle ``[F]``."""
    a, b, c = pos[face]
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    light = torch.nn.functional.normalize(pos.new_tensor(_LIGHT), dim=0)
    return _AMBIENT + (1 - _AMBIENT) * (1 + normal @ light) / 2


def _colours(value: Tensor, seen: Tensor, face: Tensor, scale: Normalize) -> Tensor:
    """Colour of each triangle ``[F, 3]``."""
    corner = torch.tensor(colormaps[_COLOURS](scale(value.double().numpy()))[:, :3])[face]
    weight = seen[face].to(corner).unsqueeze(-1)
    count = weight.sum(0)
    mean = (corner * weight).sum(0) / count.clamp(min=1)
    return torch.where(count > 0, mean, corner.new_tensor(_UNKNOWN))


def _surface(axis: Axes3D, pos: Tensor, face: Tensor, colour: Tensor) -> None:
    shown = colour.tolist()
    triangles = Poly3DCollection(
        pos[face.T].numpy(), facecolors=shown, edgecolors=shown, linewidths=0.3
    )
    axis.add_collection3d(triangles)
    xlim, ylim, zlim = torch.stack([pos.amin(0), pos.amax(0)], dim=1).tolist()
    axis.set(xlim=xlim, ylim=ylim, zlim=zlim)
    axis.set_box_aspect([high - low for low, high in (xlim, ylim, zlim)], zoom=1.5)
    axis.set_axis_off()
