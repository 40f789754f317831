"""Networks in one file: weights, configuration and a checksum, as safetensors (never pickle)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.models.build import build
from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.shipped import weight_path
from gsp_unroll.models.unrolled import UnrolledNetwork
from gsp_unroll.tensor_file import CheckpointError, read_tensors, write_tensors

_CONFIG_KEY = "gsp_unroll_config"


def save_pretrained(
    model: UnrolledNetwork, path: str | Path, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write weights, configuration and checksum to ``path`` (``.safetensors``), atomically.

    Args:
        model: :class:`UGLR`, :class:`UGTV` or :class:`UGLRPlus`.
        path: File to write; its folder is made if missing.
        metadata: Further strings to keep with the weights.

    Raises:
        ValueError: If ``path`` does not end in ``.safetensors``.
    """
    config = json.dumps(model.config.as_dict(), sort_keys=True)
    return write_tensors(path, model.state_dict(), {**(metadata or {}), _CONFIG_KEY: config})


def load_pretrained(weights: str | Path, device: torch.device | str = "cpu") -> UnrolledNetwork:
    """Read a network written by :func:`save_pretrained`, in evaluation mode.

    Args:
        weights: Path of a ``.safetensors`` file, or a name of :func:`shipped_weights`.
        device: Where the network goes.

    Raises:
        ValueError: If ``weights`` is neither a path nor a known name, or there is no such device.
        CheckpointError: If the file is missing, damaged or changed, holds no configuration of this
            library or one with an option that this version does not have, or its weights do not fit
            the configuration.
    """
    path, device = weight_path(weights), checks.device("device", device)
    tensors, metadata = _read(path)
    try:
        model = build(ModelConfig(**_known(json.loads(metadata[_CONFIG_KEY]))))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds a configuration that does not fit: {error}") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {path} do not fit its configuration: {error}"
        ) from error
    return model.to(device).eval()


def pretrained_metadata(weights: str | Path) -> dict[str, str]:
    """The strings that were given to :func:`save_pretrained`, e.g. what a network was trained on.

    Args:
        weights: As for :func:`load_pretrained`.

    Raises:
        ValueError: If ``weights`` is neither a path nor a known name.
        CheckpointError: If the file is missing, damaged, changed or not one of ours.
    """
    _, metadata = _read(weight_path(weights))
    return {key: value for key, value in metadata.items() if key != _CONFIG_KEY}


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` without what another version of this library could do and did not."""
    known = {field.name for field in fields(ModelConfig)}
    return {key: value for key, value in dict(config).items() if key in known or value}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a network."""
    return read_tensors(path, _CONFIG_KEY, "gsp_unroll configuration; save with save_pretrained")
