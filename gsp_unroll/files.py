"""Files that are complete or absent, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

# Only setting it tells what it is, for all threads at once: not while others may make files.
_UMASK = os.umask(0)
os.umask(_UMASK)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` to a temporary file beside ``path``, then rename it; creates missing folders.

    An existing file is replaced as a whole; after a failure, of power too, it is what it was.

    Returns:
        The path written.

    Raises:
        OSError: If the file system refuses; no temporary file is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; give it the permissions a plain open would. Some file
        # systems have none.
        with contextlib.suppress(OSError):
            Path(temporary).chmod(0o666 & ~_UMASK)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    return path


def check_can_write(path: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` if :func:`write_atomically` could not make ``path``, before long work."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path}: {folder} is not writable")
