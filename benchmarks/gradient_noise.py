"""How much noise of the gradient importance sampling of patches takes away.

    python benchmarks/gradient_noise.py uglr-plus-demosaic --data DIR

Takes the gradient of the loss on single patches, then draws from them as `PatchDataset` does with
``candidates``. The noise is the variance of the weighted gradient of one drawn patch, all
parameters together; a batch of ``n`` patches has one n-th of it. With ``--teacher`` the loss is
that of a network that also learns from another method.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measure import print_table
from torch import nn

from gsp_unroll.data.difficulty import difficulty, importance
from gsp_unroll.data.images import find_images
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.models import load_pretrained
from gsp_unroll.observe import Task
from gsp_unroll.training.teacher import Teacher


def gradients(
    model: nn.Module, dataset: PatchDataset, teacher: Teacher | None = None
) -> tuple[np.ndarray, float, np.ndarray]:
    """Squared gradient of each patch, that of their mean, and the difficulties.

    The second is without bias: what a mean of few keeps of their noise is taken away.
    """
    parameters = list(model.parameters())
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    squares, hardness = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        y, mask, truth = (item[key][None] for key in ("y", "mask", "truth"))
        wanted = truth if teacher is None else truth + teacher.correction(y, mask, truth)
        loss = (model(y, mask) - wanted).square().mean()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]).double()
        total += gradient
        squares.append(float(gradient.square().sum()))
        hardness.append(float(difficulty(truth, mask[0])))
    count, own = len(squares), sum(squares)
    mean = (float(total.square().sum()) - own) / (count * (count - 1))
    return np.array(squares), mean, np.array(hardness)


def noise(
    squares: np.ndarray, mean: float, hardness: np.ndarray, candidates: int, draws: int = 50_000
) -> float:
    """Variance of the weighted gradient of a patch that is drawn from ``candidates``."""
    rng = np.random.default_rng(0)
    second = 0.0
    for _ in range(draws):
        some = rng.integers(len(squares), size=candidates)
        chosen, weight = importance(torch.from_numpy(hardness[some]), rng)
        second += weight**2 * squares[some[chosen]] / draws
    return second - mean


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", help="weights that ship, or a path, e.g. uglr-plus-demosaic")
    parser.add_argument("--data", type=Path, required=True, help="folder of training images")
    parser.add_argument("--task", default="demosaic", help="demosaic, interpolate or inpaint")
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--patches", type=int, default=400)
    parser.add_argument("--saturation", type=float, default=0.0)
    parser.add_argument("--recolour", type=float, default=0.0)
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shrink", type=float, default=0.0)
    parser.add_argument("--blur", type=float, default=0.0)
    parser.add_argument("--teacher", help="a method as `evaluate --methods` knows them")
    parser.add_argument("--teacher-share", type=float, default=0.5)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    task, teacher = Task.from_name(options.task), None
    if options.teacher is not None:
        teacher = Teacher(options.teacher, options.teacher_share, task, torch.device("cpu"))
    dataset = PatchDataset(
        find_images(options.data),
        task,
        patch=options.patch,
        length=options.patches,
        saturation=options.saturation,
        recolour=options.recolour,
        shrink=options.shrink,
        blur=options.blur,
    )
    measured = gradients(load_pretrained(options.weights).train(), dataset, teacher)
    plain = noise(*measured, candidates=1)
    print(f"noise {plain:.2e}, squared norm of the mean gradient {measured[1]:.2e}")
    rows = []
    for count in options.candidates:
        gain = plain / noise(*measured, candidates=count)
        rows.append([str(count), f"{1 / gain:.2f}", f"{gain:.2f}"])
    print_table(["candidates", "noise", "as a batch so many times as large"], rows)


if __name__ == "__main__":
    main()
