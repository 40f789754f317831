"""Named tensors and strings in one file with a checksum, as safetensors (never pickle)."""

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

_CHECKSUM_KEY = "gsp_unroll_sha256"


class CheckpointError(ValueError):
    """A weight file is missing, damaged or not one of ours."""


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Path:
    """Write ``tensors`` and ``metadata`` to ``path``, atomically; its folder is made if missing.

    Raises:
        TypeError: If ``metadata`` has anything but strings.
        ValueError: If ``path`` does not end in ``.safetensors``.
    """
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise TypeError(
                f"metadata[{name!r}] must be a str, got {type(value).__name__} {value!r}"
            )
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path.name!r}")
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    strings = {**metadata, _CHECKSUM_KEY: checksum(kept, metadata)}
    return write_atomically(path, save(kept, metadata=strings))


def read_tensors(path: Path, key: str, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that is as :func:`write_tensors` wrote it.

    Args:
        path: The file.
        key: Metadata that must be there.
        what: That in words, and what writes it.

    Raises:
        CheckpointError: If the file is missing, damaged, changed or has no ``key``, or a tensor is
            not finite.
    """
    if not path.is_file():
        raise CheckpointError(f"no weight file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if key not in metadata:
        raise CheckpointError(f"{path} holds no {what}")
    known = metadata.pop(_CHECKSUM_KEY, None)
    if known is None:
        raise CheckpointError(
            f"{path} holds no checksum: it was not written by this version of this library"
        )
    if known != checksum(tensors, metadata):
        raise CheckpointError(
            f"{path} is not what was saved: its checksum does not fit; put back an intact copy"
        )
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"the weights {name!r} in {path} are not finite")
    return tensors, metadata


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of all of it."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
