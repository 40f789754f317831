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
