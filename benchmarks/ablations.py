"""What each choice is worth: many small networks, one change at a time, the same data and budget.

    python benchmarks/ablations.py --data DIR --validation DIR
    python benchmarks/plots.py && python benchmarks/experiments_page.py

Without folders it trains on photographs that come with scikit-image.

Every row trains ``configs/ablation.yaml`` with some keys changed and keeps, for each seed, the PSNR
on the validation images (protocol ``paper``), the PSNR of each image, and seconds of training and
of restoring. A row that is in the result already is not run again, so the script may be stopped
and started as one likes.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from measure import machine, parser, write_json

from gsp_unroll.evaluation.protocols import decibel
from gsp_unroll.models import load_pretrained
from gsp_unroll.training import Config, load_config, train
from gsp_unroll.training.schema import flatten, to_mapping
from gsp_unroll.training.sources import load_held_out, split_images
from gsp_unroll.training.validate import psnr, squared_errors

CONFIG = Path(__file__).parents[1] / "configs" / "ablation.yaml"
# To see whether everything runs.
QUICK = [
    "train.steps=2", "train.batch=2", "data.patch=16", "data.validation_crop=16",
    "model.maps=4", "model.features=2", "model.cg_steps=2",
]  # fmt: skip

PLUS = ["model.name=uglr-plus", "model.features=11"]
LUMA = ["task.name=interpolate", "model.in_channels=1"]
CARRY = [*PLUS, "model.mean=true", "model.sees_mask=true", "model.carry=true"]

# Group -> row -> what is changed. The first row of a group is the base, where it is part of it.
GROUPS: dict[str, dict[str, list[str]]] = {
    "prior": {
        "uGLR": [],
        "uGTV": ["model.name=ugtv"],
        "uGLR+": PLUS,
    },
    "options of uGLR+": {
        "none": PLUS,
        "mean": [*PLUS, "model.mean=true"],
        "mean, mask": [*PLUS, "model.mean=true", "model.sees_mask=true"],
        "mean, mask, maps": CARRY,
        "mean, scores": [*PLUS, "model.mean=true", "model.offset_scores=true"],
        "mean, scores, window 7": [
            *PLUS,
            "model.mean=true",
            "model.offset_scores=true",
            "model.window=7",
        ],
    },
    "depth": {
        "2 blocks": CARRY,
        "2 blocks, maps mixed": [*CARRY, "model.carry_mix=true"],
        "2 blocks, deeper features": [*CARRY, "model.carry_mix=true", "model.residual_pairs=1"],
        "3 blocks": [*CARRY, "model.blocks=3"],
    },
    "cells": {
        "each pixel": CARRY,
        "2 x 2": [*CARRY, "model.cell=2"],
        "2 x 2, twice the steps": [*CARRY, "model.cell=2", "train.steps=600"],
    },
    "cells, 2x interpolation": {
        "each pixel": [*CARRY, *LUMA],
        "2 x 2": [*CARRY, *LUMA, "model.cell=2"],
        "2 x 2, twice the steps": [*CARRY, *LUMA, "model.cell=2", "train.steps=600"],
    },
    "optimiser": {
        "Adam": [],
        "Muon": ["train.optimizer=muon"],
        "uGLR+, Adam": PLUS,
        "uGLR+, Muon": [*PLUS, "train.optimizer=muon"],
    },
    "weights": {
        "softmax, symmetrised": [],
        "symmetric normalisation": ["model.norm=symmetric"],
        "directed softmax": ["model.norm=directed"],
    },
    "laplacian": {"combinatorial": [], "normalized": ["model.laplacian=normalized"]},
    "blocks": {str(n): [f"model.blocks={n}"] for n in (1, 2, 3, 4)},
    "layers": {str(n): [f"model.layers={n}"] for n in (1, 2, 4)},
    "CG steps": {str(n): [f"model.cg_steps={n}"] for n in (2, 4, 8, 16)},
    "heads": {str(n): [f"model.heads={n}"] for n in (1, 2, 4, 8)},
    "window": {str(n): [f"model.window={n}"] for n in (3, 5, 7)},
    "distinct patches": {
        "24 (1 %)": ["data.distinct=24"],
        "120 (5 %)": ["data.distinct=120"],
        "240 (10 %)": ["data.distinct=240"],
        "720 (30 %)": ["data.distinct=720"],
        "2400 (100 %)": [],
    },
    "loss": {"MSE": [], "L1": ["train.loss=l1"]},
    "average of weights": {"0.99": [], "none": ["train.ema=0"], "0.999": ["train.ema=0.999"]},
    "learning rate": {f"{lr:g}": [f"train.lr={lr}"] for lr in (1e-3, 3e-3, 6e-3)},
    "patch": {
        "24, batch 22": ["data.patch=24", "train.batch=22"],
        "40, batch 8": [],
        "64, batch 3": ["data.patch=64", "train.batch=3"],
    },
    "candidates": {
        "1": [],
        "4": ["data.candidates=4"],
        "16": ["data.candidates=16"],
        "uGLR+, 1": PLUS,
        "uGLR+, 16": [*PLUS, "data.candidates=16"],
    },
    "flips and transposes": {"yes": [], "no": ["data.augment=false"]},
    "stronger colours": {
        "as they are": [],
        "up to 1.5 times": ["data.saturation=0.5"],
        "up to 2.5 times": ["data.saturation=1.5"],
        "half of them shuffled and darkened": ["data.recolour=0.5"],
    },
}


def configuration(
    changes: Sequence[str], data: Path | None, validation: Path | None, seed: int
) -> Config:
    """The base with ``changes``, on the given images."""
    places = ["data.validation_crop=192", f"train.seed={seed}"]
    if data is not None:
        places += [f"data.folder={data}", f"data.validation={validation}"]
    return load_config(CONFIG, [*places, *changes])


def run(config: Config) -> dict[str, Any]:
    """Train one network and judge it."""
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, folder)
        model = load_pretrained(result.weights)
    held_out = load_held_out(split_images(config.data)[1], config)
    start = time.perf_counter()
    errors = squared_errors(model, held_out, torch.device("cpu"), lambda: False)
    seconds = time.perf_counter() - start
    megapixels = sum(item.truth.shape[-2] * item.truth.shape[-1] for item in held_out) / 1e6
    return {
        "psnr": psnr(errors, "paper"),
        "by_image": {
            item.name: decibel(e) for item, e in zip(held_out, errors.tolist(), strict=True)
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "training_seconds": result.seconds,
        "seconds_per_megapixel": seconds / megapixels,
        "graph": [graph_quality(model, item) for item in held_out],
    }


@torch.no_grad()
def graph_quality(model: torch.nn.Module, item: Any) -> float:
    r"""How well the last graph knows where the truth changes.

    .. math:: 1-\frac{\sum_{ij}w_{ij}(x_i-x_j)^2}{\bar w\sum_{ij}(x_i-x_j)^2}

    for the true image ``x``, mean over heads and channels: 0 for equal weights everywhere, 1 if no
    edge crosses a change.
    """
    last = model.explain(item.y, item.mask)[-1]
    weight = last.weight if last.weight.dim() == 3 else last.weight.mean(-2)
    truth = item.truth.flatten(-2)
    change = last.topology.kernels.edge_inner(truth, truth)[:, None]
    used = last.topology.used_slots
    used = slice(None) if used is None else used
    weight, change = weight[..., used], change[..., used]
    mean = weight.mean(-1, keepdim=True)
    return float((1 - (weight * change).sum(-1) / (mean * change).sum(-1)).mean())


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "ablations")
    options.add_argument("--data", type=Path, help="folder of training images")
    options.add_argument("--validation", type=Path, help="folder of other images")
    options.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    options.add_argument("--seeds", type=int, default=2)
    args = options.parse_args(argv)
    if (args.data is None) != (args.validation is None):
        options.error("give both --data and --validation, or neither")
    torch.set_num_threads(args.threads)
    rows: list[dict[str, Any]] = []
    if args.out.exists():
        rows = json.loads(args.out.read_text(encoding="utf-8"))["rows"]
    # Rows of other images, or of a quick run, are others.
    images = [folder.name if folder else "scikit-image" for folder in (args.data, args.validation)]
    images += ["quick"] if args.quick else []
    base = fingerprint()
    for seed in range(args.seeds):
        for group in args.groups:
            for label, changes in effective(group).items():
                # One network may be a row of several groups.
                if find(rows, changes, seed, images, base) is not None:
                    continue
                every = [*changes, *(QUICK if args.quick else [])]
                measured = run(configuration(every, args.data, args.validation, seed))
                key = {"changes": changes, "seed": seed, "images": images, "base": base}
                rows.append({**key, **measured})
                print(f"{group}: {label}, seed {seed}: {measured['psnr']:.2f} dB", flush=True)
                write_json(
                    args.out, {"machine": described(args.data, args.validation), "rows": rows}
                )


def effective(group: str) -> dict[str, list[str]]:
    """The rows of a group without the changes that change nothing."""
    base = flatten(to_mapping(load_config(CONFIG)))

    def changes_something(change: str) -> bool:
        key, _, value = change.partition("=")
        return base[key] != yaml.safe_load(value)

    return {
        label: [change for change in changes if changes_something(change)]
        for label, changes in GROUPS[group].items()
    }


def fingerprint() -> str:
    """Hash of the configuration that all rows change.

    What is off does not count, so that rows outlive a new option which is off by default.
    """
    values = flatten(to_mapping(load_config(CONFIG)))
    known = json.dumps({key: value for key, value in values.items() if value}, sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def find(
    rows: Sequence[dict[str, Any]], changes: list[str], seed: int, images: list[str], base: str
) -> dict[str, Any] | None:
    """The row of one network, if it has been measured from the present configuration."""
    for row in rows:
        if [row[k] for k in ("changes", "seed", "images", "base")] == [changes, seed, images, base]:
            return row
    return None


def group_rows(result: dict[str, Any], group: str) -> dict[str, list[dict[str, Any]]]:
    """``{label: [the row of each seed]}`` for what was measured of a group, on the last images."""
    last = result["rows"][-1] if result["rows"] else {}
    alike = [r for r in result["rows"] if all(r[k] == last[k] for k in ("images", "base"))]
    found = {
        label: [row for row in alike if row["changes"] == changes]
        for label, changes in effective(group).items()
    }
    return {label: rows for label, rows in found.items() if rows}


def mean_by_image(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """PSNR of each image, mean over seeds."""
    names = rows[0]["by_image"] if rows else {}
    return {name: sum(row["by_image"][name] for row in rows) / len(rows) for name in names}


def described(*folders: Path | None) -> dict[str, Any]:
    """The machine and the command, without where the images lie."""
    facts = machine()
    for folder in folders:
        if folder is not None:
            facts["command"] = facts["command"].replace(f" {folder}", " DIR")
    return facts


if __name__ == "__main__":
    main()
