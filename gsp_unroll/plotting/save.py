"""A figure in a file, complete or not at all."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from gsp_unroll.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 110) -> Path:
    """Write a figure atomically, in the format that the ending of ``path`` says.

    Args:
        figure: What to write.
        path: The file; missing folders are made.
        dpi: Dots per inch (default: 110).

    Raises:
        ValueError: If the ending is not one that matplotlib writes.
    """
    path = Path(path)
    kind = _kind(path)
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=dpi)
    return write_atomically(path, file.getvalue())


def figure_path(text: str) -> Path:
    """Type of a command-line option that names a figure: refused before the work, not after it.

    Args:
        text: A path.

    Raises:
        argparse.ArgumentTypeError: If the ending is not one that matplotlib writes.
    """
    try:
        _kind(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def _kind(path: Path) -> str:
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    kind = path.suffix[1:].lower()
    if kind not in known:
        raise ValueError(f"path must end in one of {', '.join(sorted(known))}, got {path.name!r}")
    return kind
