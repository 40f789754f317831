"""Methods by name: classical ones, model-based priors, and trained networks from a file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gsp_unroll.evaluation.classical import CLASSICAL, MethodError, classical_method
from gsp_unroll.observe import Task

MODEL_BASED = ("iglr", "igtv")
METHODS = (*CLASSICAL, *MODEL_BASED)


@dataclass(frozen=True)
class Method:
    """Something that restores an image.

    Args:
        name: Row label of the table.
        restore: ``restore(y, mask)``, ``[C, H, W]`` each, gives ``[C, H, W]``.
        parameters: Number of learned parameters.
    """

    name: str
    restore: Callable[[Tensor, Tensor], Tensor]
    parameters: int = 0


def resolve_method(name: str, task: Task, device: str | torch.device = "cpu") -> Method:
    """Return the method called ``name``, ready to run on ``device``.

    Args:
        name: One of ``METHODS``, or the path of a ``.safetensors`` checkpoint.
        task: What is restored; a checkpoint must have been built for its number of channels.
        device: Where networks run.

    Raises:
        MethodError: If the name is unknown (the nearest is suggested), the file is missing, or the
            method cannot do the task.
    """
    if name in CLASSICAL:
        return Method(name, classical_method(name, task))
    if name in MODEL_BASED:
        return _module_method(name, _model_based(name), device)
    if name.endswith(".safetensors"):
        return _checkpoint_method(Path(name), task, device)
    near = difflib.get_close_matches(name.lower(), METHODS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise MethodError(
        f"method must be one of {', '.join(METHODS)}, or the path of a .safetensors file, "
        f"got {name!r}{hint}"
    )


def resolve_methods(
    names: list[str], task: Task, device: str | torch.device = "cpu"
) -> list[Method]:
    """Resolve several names; two checkpoints of one file name are told apart by their folders.

    Raises:
        MethodError: As ``resolve_method``; also if a name is given twice or none is given.
    """
    if not names:
        raise MethodError("methods must name at least one method, got none")
    for name in names:
        if names.count(name) > 1:
            raise MethodError(f"methods must be distinct, got {name!r} twice")
    methods = [resolve_method(name, task, device) for name in names]
    labels = [m.name for m in methods]
    return [
        m if labels.count(m.name) == 1 else Method(name, m.restore, m.parameters)
        for name, m in zip(names, methods, strict=True)
    ]


def module_method(name: str, module: nn.Module) -> Method:
    """Wrap a module called as ``module(y [1, C, H, W], mask [C, H, W])`` as a method."""
    return Method(
        name,
        lambda y, mask: module(y[None], mask)[0],
        sum(p.numel() for p in module.parameters() if p.requires_grad),
    )


def _module_method(name: str, module: nn.Module, device: str | torch.device) -> Method:
    return module_method(name, module.to(device).eval())


def _model_based(name: str) -> nn.Module:
    # Imported here: reading a table or scoring a classical method needs no model code.
    from gsp_unroll import models

    return {"iglr": models.IGLR, "igtv": models.IGTV}[name]()


def _checkpoint_method(path: Path, task: Task, device: str | torch.device) -> Method:
    if not path.is_file():
        raise MethodError(f"checkpoint not found: {path}")
    from gsp_unroll.models import load_pretrained

    model = load_pretrained(path, device=device)
    channels = model.config.in_channels
    if channels != task.channels:
        raise MethodError(
            f"checkpoint {path} restores {channels} channel(s), but {task} needs {task.channels}"
        )
    return module_method(path.stem, model)
