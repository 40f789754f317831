"""State of a run on disk: written atomically, read without executing anything, complete.

Weights for use are saved apart, by `gsp_unroll.models.save_pretrained`.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gsp_unroll.files import write_atomically
from gsp_unroll.training.config import config_from_mapping, differing_keys
from gsp_unroll.training.schema import ConfigError, to_mapping

FORMAT = 1

# These say how a run is carried out, not what it computes: they may change at a resume.
FREE_KEYS = frozenset(
    {
        "data.cache_mb",
        "data.workers",
        "model.keep_directions",
        "train.max_minutes",
        "train.save_every",
        "train.save_minutes",
        "train.tensorboard",
    }
)


class StateError(ValueError):
    """A saved state that cannot be used; the message names the file and the reason."""


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` so that ``path`` always holds either the old state or the whole new one.

    Args:
        path: The file; missing folders are made.
        state: Nested dictionaries, lists, tuples, tensors, numbers and texts, nothing else.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_state(path: str | Path) -> dict[str, Any]:
    """Read a state saved by `save_state`, on the CPU, with ``weights_only=True``.

    Raises:
        StateError: The file is missing, truncated, corrupt or of another format.
    """
    path = Path(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StateError(f"there is no training state at {path}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StateError(
            f"the training state {path} cannot be read, it is truncated or corrupt ({reason}); "
            "delete it to start anew, or put back an intact copy"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise StateError(
            f"{path} is no training state of format {FORMAT} of this library (found {found!r}); "
            "weights alone (.safetensors) cannot be resumed from"
        )
    return state


def check_same_experiment(saved: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Raise `StateError` naming every key in which two configurations compute otherwise.

    A key that did not exist when ``saved`` was written counts as its default.
    """
    with contextlib.suppress(ConfigError):
        saved, wanted = (to_mapping(config_from_mapping(c)) for c in (saved, wanted))
    differing = {
        key: values
        for key, values in differing_keys(saved, wanted).items()
        if key not in FREE_KEYS and key.split(".")[0] != "demo"
    }
    if differing:
        listed = "; ".join(f"{key}: saved {a!r}, now {b!r}" for key, (a, b) in differing.items())
        raise StateError(
            f"cannot resume {where}: it was started with another configuration ({listed}); "
            "undo these changes, or start a new run in another folder"
        )


def rng_state() -> dict[str, Any]:
    """Return the state of the generators of Python, NumPy and torch (CPU and CUDA)."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "python": (version, list(words), gauss),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Put back what `rng_state` returned; CUDA only as far as the same devices exist."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state.get("cuda", [])) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
