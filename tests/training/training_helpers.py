"""A tiny experiment that still passes through every part of the real network."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gsp_unroll.training import Config, config_from_mapping

TINY_MODEL = {"name": "ugtv", "blocks": 1, "layers": 1, "cg_steps": 2, "heads": 1}
TINY_MODEL |= {"features": 2, "maps": 4, "window": 3}


def tiny_config(folder=None, *, model=None, data=None, train=None, task=None) -> Config:
    return config_from_mapping(
        {
            "task": task or {},
            "model": {**TINY_MODEL, **(model or {})},
            "data": {
                "folder": None if folder is None else str(folder),
                "holdout": 1,
                "validation_crop": 16,
                "patch": 12,
                "workers": 1,
                **(data or {}),
            },
            "train": {
                "steps": 6,
                "batch": 2,
                "warmup": 2,
                "validate_every": 3,
                "save_every": 2,
                "log_every": 2,
                **(train or {}),
            },
        }
    )


def write_photos(folder, count=4, side=24) -> None:
    """Smooth colour images, so that something can be learned from them."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        rng = np.random.default_rng(k)
        y, x = np.mgrid[:side, :side] / side
        waves = [
            0.5 + 0.5 * np.sin(2 * np.pi * (a * x + b * y + c))
            for a, b, c in rng.uniform(0, 2, (3, 3))
        ]
        pixels = np.round(255 * np.stack(waves, -1)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
