"""Networks in one file: weights, configuration and a checksum, as safetensors (never pickle)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gsp_unroll.files import write_atomically
from gsp_unroll.models.build import build
from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.shipped import weight_path
from gsp_unroll.models.unrolled import UnrolledNetwork

_CONFIG_KEY = "gsp_unroll_config"
_CHECKSUM_KEY = "gsp_unroll_sha256"


class CheckpointError(ValueError):
    """A weight file is missing, damaged or not one of ours."""


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
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path.name!r}")
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    kept = {**(metadata or {}), _CONFIG_KEY: json.dumps(model.config.as_dict(), sort_keys=True)}
    kept[_CHECKSUM_KEY] = _checksum(tensors, kept)
    return write_atomically(path, save(tensors, metadata=kept))


def load_pretrained(weights: str | Path, device: torch.device | str = "cpu") -> UnrolledNetwork:
    """Read a network written by :func:`save_pretrained`, in evaluation mode.

    Args:
        weights: Path of a ``.safetensors`` file, or a name of :func:`shipped_weights`.
        device: Where the network goes.

    Raises:
        ValueError: If ``weights`` is neither a path nor a known name.
        CheckpointError: If the file is missing, damaged or changed, holds no configuration of this
            library, or its weights do not fit the configuration.
    """
    path = weight_path(weights)
    tensors, metadata = _read(path)
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


def pretrained_metadata(weights: str | Path) -> dict[str, str]:
    """The strings that were given to :func:`save_pretrained`, e.g. what a network was trained on.

    Args:
        weights: As for :func:`load_pretrained`.

    Raises:
        ValueError: If ``weights`` is neither a path nor a known name.
        CheckpointError: If the file is missing, damaged, changed or not one of ours.
    """
    _, metadata = _read(weight_path(weights))
    return {key: v for key, v in metadata.items() if key not in (_CONFIG_KEY, _CHECKSUM_KEY)}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that is as it was written."""
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
    if _CHECKSUM_KEY not in metadata:
        raise CheckpointError(
            f"{path} holds no checksum: it was not written by save_pretrained of this version"
        )
    if metadata[_CHECKSUM_KEY] != _checksum(tensors, metadata):
        raise CheckpointError(
            f"{path} is not what was saved: its checksum does not fit; put back an intact copy"
        )
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of everything in the file but itself."""
    known = {key: text for key, text in metadata.items() if key != _CHECKSUM_KEY}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
