"""What the weights of a run say about how they came to be."""

from __future__ import annotations

from typing import Any

import torch

from gsp_unroll.models import ModelConfig
from gsp_unroll.training.config import Config


def run_record(
    config: Config, *, files: int, steps: int, seconds: float, device: torch.device
) -> dict[str, Any]:
    """Return what a run added to what its first weights had behind them, as plain values.

    Args:
        config: The experiment.
        files: How many images it was trained on.
        steps: Optimiser steps done.
        seconds: Time spent.
        device: Where it ran.
    """
    return {
        "network": _network(config.model),
        "images": config.data.folder or "photographs inside scikit-image",
        "files": files,
        "steps": steps,
        "minutes": round(seconds / 60, 1),
        "batch": config.train.batch,
        "patch": config.data.patch,
        "saturation": config.data.saturation,
        "recolour": config.data.recolour,
        "shrink": config.data.shrink,
        "blur": config.data.blur,
        "framed": config.data.framed,
        "candidates": config.data.candidates,
        "loss": config.train.loss,
        "teacher": config.train.teacher,
        "teacher_share": config.train.teacher_share,
        "optimizer": config.train.optimizer,
        "lr": config.train.lr,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _network(size: ModelConfig) -> str:
    parts = [f"{size.name}, {size.blocks} x {size.layers} x {size.cg_steps}"]
    if size.repeats:
        parts.append(f"last block {1 + size.repeats} times")
    if size.residual_pairs:
        parts.append(f"{2 * size.residual_pairs} further layers")
    if size.cell:
        parts.append(f"cells of {size.cell} x {size.cell}")
    if size.carry_mix:
        parts.append("maps mixed")
    return ", ".join(parts)
