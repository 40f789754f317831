"""Networks in one file: weights and configuration together, as safetensors (never pickle)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gsp_unroll.files import write_atomically
from gsp_unroll.models.build import build
from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.unrolled import UnrolledNetwork

_CONFIG_KEY = "gsp_unroll_config"


class CheckpointError(ValueError):
    """A weight file is missing, damaged or not one of ours."""


def save_pretrained(
    model: UnrolledNetwork, path: str | Path, metadata: dict[str, str] | None = None
) -> Path:
    """Write weights and configuration to ``path`` (``.safetensors``), atomically.

    Args:
        model: :class:`UGLR` or :class:`UGTV`.
        path: File to write; its folder is made if missing.
        metadata: Further strings to keep with the weights.

    Raises:
        ValueError: If ``path`` does not end in ``.safetensors``.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path.name!r}")
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    kept = {**(metadata or {}), _CONFIG_KEY: json.dumps(model.config.as_dict(), sort_keys=True)}
    return write_atomically(path, save(tensors, metadata=kept))


def load_pretrained(path: str | Path, device: torch.device | str = "cpu") -> UnrolledNetwork:
    """Read a network written by :func:`save_pretrained`, in evaluation mode.

    Raises:
        CheckpointError: If the file is missing, damaged, holds no configuration of this library,
            or its weights do not fit the configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no weight file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if _CONFIG_KEY not in metadata:
        raise CheckpointError(
            f"{path} holds no gsp_unroll configuration; save with save_pretrained"
        )
    try:
        model = build(ModelConfig(**json.loads(metadata[_CONFIG_KEY])))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds a configuration that does not fit: {error}") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {path} do not fit its configuration: {error}"
        ) from error
    for name, value in model.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"the weights {name!r} in {path} are not finite")
    return model.to(device).eval()
