"""Label handwritten digits, or the members of a club, from very few labels.

    python examples/classify.py                              # digits of scikit-learn, 20 draws
    python examples/classify.py --data karate --labels 1 2 5
    python examples/classify.py --gtv --repeats 3            # total variation too, which is slow

Beside scikit-learn's LabelPropagation and LabelSpreading. Each method has a grid of settings; that
with the best mean accuracy over ``--choose`` draws of labels, all other labels known, is the one
reported, over ``--repeats`` other draws. So is the graph of ours, and whether to use class masses.
Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub
from torch_geometric.utils import to_dense_adj

from gsp_unroll import classify
from gsp_unroll.graphs import gaussian_edge_weight, knn_edge_index
from gsp_unroll.plotting.classes import classes_report
from gsp_unroll.plotting.save import figure_path

# Predicts all classes from those where mask is True.
Method = Callable[[Tensor, Tensor], Tensor]


def main() -> int:
    args = parse_args()
    warnings.simplefilter("ignore")  # scikit-learn's grids hold settings that do not converge
    y, methods, place = {"digits": digits, "karate": karate}[args.data](args.gtv)
    largest = int(y.bincount().max())
    if max(args.labels) >= largest:
        print(f"--labels must be below {largest}, the members of the largest class, so that nodes "
              f"without a label are left, got {max(args.labels)}", file=sys.stderr)  # fmt: skip
        return 2
    print(f"{args.data}: {len(y)} nodes, accuracy in % on the nodes without a label, mean ± "
          f"standard deviation over {args.repeats} draws")  # fmt: skip
    print("labels a class" + "".join(f"{name:>20s}" for name in methods))
    for labels in args.labels:
        choosing = list(draws(y, labels, args.choose, seed=args.seed + 1_000_000))
        row, settings = "", []
        for name, grid in methods.items():
            best = max(grid, key=lambda k: np.mean([accuracy(grid[k], y, m) for m in choosing]))
            found = [accuracy(grid[best], y, m) for m in draws(y, labels, args.repeats, args.seed)]
            row += f"{np.mean(found):13.1f} ± {np.std(found):4.1f}"
            settings.append(f"{name}: {best}")
            if name == "glr" and labels == args.labels[0]:
                mask = next(draws(y, labels, 1, args.seed))
                classes_report(args.out, place(), y, mask, grid[best](y, mask))
        print(f"{labels:14d}{row}", flush=True)
        print("    " + "; ".join(settings), flush=True)
    print(f"picture of glr, {args.labels[0]} labels a class: {args.out}")
    return 0


def digits(gtv: bool) -> tuple[Tensor, dict[str, dict[str, Method]], Callable[[], Tensor]]:
    pixels, truth = load_digits(return_X_y=True)
    pos, y = torch.tensor(pixels, dtype=torch.float32), torch.tensor(truth)
    graphs = {
        f"k={k} {scale}": Data(
            edge_index=edges, edge_weight=gaussian_edge_weight(pos, edges, scale)
        )
        for k in (8, 10, 15)
        for edges in [knn_edge_index(pos, k)]
        for scale in ("median", "local")
    }
    kernels = {f"knn {k}": {"kernel": "knn", "n_neighbors": k} for k in (5, 7, 10, 15)}
    kernels |= {f"rbf {g}": {"kernel": "rbf", "gamma": g} for g in (1e-2, 3e-2, 1e-1)}
    methods = ours(graphs, gtv) | theirs(pixels, kernels)
    return y, methods, partial(embed, pixels)


def karate(gtv: bool) -> tuple[Tensor, dict[str, dict[str, Method]], Callable[[], Tensor]]:
    club = KarateClub()[0]
    adjacency = to_dense_adj(club.edge_index)[0].numpy()
    numbers = np.arange(len(adjacency))[:, None]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return adjacency[np.ix_(a[:, 0].astype(int), b[:, 0].astype(int))]

    methods = ours({"club": Data(edge_index=club.edge_index)}, gtv)
    methods |= theirs(numbers, {"club": {"kernel": kernel}})
    return club.y, methods, lambda: embed(adjacency)


def ours(graphs: dict[str, Data], gtv: bool) -> dict[str, dict[str, Method]]:
    def run(data: Data, prior: str, class_mass: bool, y: Tensor, mask: Tensor) -> Tensor:
        data = Data(y=y, mask=mask, **data.to_dict())
        return classify(data, prior, class_mass=class_mass).y

    return {
        name: {graph: partial(run, data, prior, mass) for graph, data in graphs.items()}
        for name, prior, mass in [("glr", "glr", True), ("glr, no mass", "glr", False),
                                  ("gtv", "gtv", False)]
        if gtv or prior == "glr"
    }  # fmt: skip


def theirs(features: np.ndarray, kernels: dict[str, dict]) -> dict[str, dict[str, Method]]:
    def run(method: type, options: dict, y: Tensor, mask: Tensor) -> Tensor:
        fitted = method(**options).fit(features, torch.where(mask, y, -1).numpy())
        return torch.tensor(fitted.transduction_)

    spread = {f"{name} alpha={alpha}": options | {"alpha": alpha}
              for name, options in kernels.items() for alpha in (0.2, 0.8, 0.99)}  # fmt: skip
    return {
        "LabelPropagation": {k: partial(run, LabelPropagation, o) for k, o in kernels.items()},
        "LabelSpreading": {k: partial(run, LabelSpreading, o) for k, o in spread.items()},
    }


def embed(features: np.ndarray) -> Tensor:
    """Two dimensions, neighbours near each other."""
    features = PCA(min(30, *features.shape), random_state=0).fit_transform(features)
    perplexity = min(30, len(features) // 4)
    return torch.tensor(TSNE(perplexity=perplexity, random_state=0).fit_transform(features))


def draws(y: Tensor, labels: int, repeats: int, seed: int) -> Iterator[Tensor]:
    """Masks with ``labels`` nodes of each class, or all that there are."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(repeats):
        mask = torch.zeros(len(y), dtype=torch.bool)
        for c in y.unique():
            nodes = (y == c).nonzero().squeeze(1)
            mask[nodes[torch.randperm(len(nodes), generator=generator)[:labels]]] = True
        yield mask


def accuracy(method: Method, y: Tensor, mask: Tensor) -> float:
    return 100 * float((method(y, mask) == y)[~mask].double().mean())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Semi-supervised classification.")
    parser.add_argument("--data", choices=("digits", "karate"), default="digits")
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2, 5], help="of each class")
    parser.add_argument("--repeats", type=int, default=20, help="draws to average over")
    parser.add_argument("--choose", type=int, default=2, help="draws to choose settings by")
    parser.add_argument("--gtv", action="store_true", help="total variation as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", default="runs/classify.png", type=figure_path, help="picture to write"
    )
    args = parser.parse_args()
    if min(*args.labels, args.repeats, args.choose, 1) < 1:
        parser.error("--labels, --repeats and --choose must be at least 1")
    return args


if __name__ == "__main__":
    sys.exit(main())
