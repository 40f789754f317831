"""Restore a signal on a closed surface from a tenth of its vertices.

    python examples/restore_mesh.py                          # a surface with six arms
    python examples/restore_mesh.py --mesh bunny.off --observed 0.05

Two signals: regions of constant value, and a smooth one. The surface is generated, or read from a
file in the format OFF.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch import Tensor
from torch_geometric.io import read_off

import gsp_unroll
from gsp_unroll.graphs import mesh_to_data
from gsp_unroll.plotting.mesh import mesh_report
from gsp_unroll.plotting.save import figure_path

TOLERANCE = 1e-3
ARMS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])


def main() -> int:
    args = parse_args()
    try:
        if args.mesh is None:
            pos, face = armed_surface(args.vertices, args.seed)
        else:
            mesh = read_off(str(args.mesh))
            pos, face = mesh.pos, mesh.face
        data = mesh_to_data(pos, face, args.weights)
    except (ValueError, IndexError, RuntimeError) as error:
        print(f"{args.mesh or 'the surface'}: {error}", file=sys.stderr)
        return 2
    generator = torch.Generator().manual_seed(args.seed)
    signals = {"regions": regions(pos, 6, generator), "smooth": smooth(pos, generator)}
    vertices = len(pos)
    count = round(args.observed * vertices)
    if not 0 < count < vertices:
        print(f"--observed {args.observed} is {count} of {vertices} vertices", file=sys.stderr)
        return 2
    mask = torch.zeros(vertices, dtype=torch.bool)
    mask[torch.randperm(vertices, generator=generator)[:count]] = True
    data.mask = mask

    rows = {}
    print(f"{vertices} vertices, {face.shape[1]} triangles, {args.observed:.0%} observed, "
          f"{args.weights} weights")  # fmt: skip
    print("on the other vertices: RMSE / mean absolute error")
    for name, truth in signals.items():
        data.x = truth
        print(name)
        results, seconds = {}, {}
        for prior in ("glr", "gtv"):
            started = time.process_time()
            results[prior] = gsp_unroll.interpolate(data, prior, tolerance=TOLERANCE).x
            seconds[prior] = f", {time.process_time() - started:.1f} s of CPU"
        mean = truth[mask].mean().expand_as(truth)
        nearest = truth[mask][torch.cdist(pos, pos[mask]).argmin(1)]
        for title, value in {"mean": mean, "nearest": nearest, **results}.items():
            error = (value - truth)[~mask]
            both = f"{float(error.square().mean().sqrt()):.4f} / {float(error.abs().mean()):.4f}"
            print(f"  {title:8s} {both}{seconds.get(title, '')}", flush=True)
        rows[name] = (truth, mask, {title.upper(): value for title, value in results.items()})
    mesh_report(args.out, pos, face, rows)
    print(f"picture: {args.out}")
    return 0


def armed_surface(vertices: int, seed: int) -> tuple[Tensor, Tensor]:
    """A sphere, triangulated irregularly, that grows an arm in each of six directions."""
    random = np.random.default_rng(seed)
    # Evenly spread (Fibonacci), then shaken.
    k = np.arange(vertices) + 0.5
    height, turn = 1 - 2 * k / vertices, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - height**2)
    unit = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
    unit += 0.4 / vertices**0.5 * random.normal(size=unit.shape)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    triangles = ConvexHull(unit).simplices.astype(np.int64)
    a, b, c = (unit[triangles[:, i]] for i in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    radius = 0.7 + 0.6 * np.exp(7 * (unit @ ARMS.T - 1)).sum(1, keepdims=True)
    return torch.tensor(unit * radius), torch.tensor(triangles.T.copy())


def regions(pos: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Constant where the same one of ``count`` random vertices is the nearest."""
    seeds = pos[torch.randperm(len(pos), generator=generator)[:count]]
    level = torch.randperm(count, generator=generator).to(pos) / (count - 1)
    return level[torch.cdist(pos, seeds).argmin(1)]


def smooth(pos: Tensor, generator: torch.Generator) -> Tensor:
    """A few waves as long as the surface is wide, between 0 and 1."""
    unit = (pos - pos.mean(0)) / (pos.amax(0) - pos.amin(0)).max()
    wave = torch.randn(3, 4, generator=generator).to(pos)
    value = torch.sin(2 * torch.pi * unit @ (wave / wave.norm(dim=0))).sum(1)
    return (value - value.min()) / (value.max() - value.min())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Restore signals on a triangle mesh.")
    parser.add_argument("--mesh", type=Path, help="OFF file (default: a generated surface)")
    parser.add_argument("--vertices", type=int, default=3000, help="of the generated surface")
    parser.add_argument("--observed", type=float, default=0.1, help="share of vertices observed")
    parser.add_argument("--weights", choices=("cotangent", "uniform"), default="cotangent")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", default="runs/restore_mesh.png", type=figure_path, help="picture to write"
    )
    args = parser.parse_args()
    if not 0 < args.observed < 1:
        parser.error(f"--observed must be between 0 and 1, got {args.observed}")
    if args.vertices < 200:
        parser.error(f"--vertices must be at least 200, got {args.vertices}")
    if args.mesh is not None and not args.mesh.is_file():
        parser.error(f"--mesh: no file {args.mesh}")
    return args


if __name__ == "__main__":
    sys.exit(main())
