"""Trained networks that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

from gsp_unroll import checks

# Beside the code, so that they install with it and load without a network connection.
FOLDER = Path(__file__).resolve().parents[1] / "weights"


def shipped_weights(task: str | None = None) -> list[str]:
    """Names that ``from_pretrained`` knows; a model card ``NAME.md`` is beside each file.

    Args:
        task: ``"demosaic"`` or ``"interpolate"``: only those for it (default: all).

    Raises:
        ValueError: If the task is another one.
    """
    if task is not None:
        checks.one_of("task", task, ("demosaic", "interpolate"))
    names = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
    return names if task is None else [name for name in names if name.endswith(f"-{task}")]


def weight_path(name_or_path: str | Path) -> Path:
    """The file of shipped weights, or the path itself if it ends in ``.safetensors``.

    Raises:
        TypeError: If it is neither a string nor a path.
        ValueError: If it is neither a path of that kind nor a known name.
    """
    if not isinstance(name_or_path, str | Path):
        raise TypeError(
            f"weights must be a name or a path, got {type(name_or_path).__name__} {name_or_path!r}"
        )
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        return path
    known = shipped_weights()
    if str(name_or_path) not in known:
        raise ValueError(
            f"weights must be one of {', '.join(map(repr, known)) or 'none that ship'}, or the "
            f"path of a .safetensors file, got {str(name_or_path)!r}"
            f"{checks.did_you_mean(name_or_path, known)}"
        )
    return FOLDER / f"{name_or_path}.safetensors"
