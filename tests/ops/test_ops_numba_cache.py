"""Machine code that Numba has cached is not used with helpers that have changed since."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import gsp_unroll.ops.backends

FOLDER = Path(gsp_unroll.ops.backends.__file__).parent
IMPORT = re.compile(r"^from gsp_unroll\.ops\.backends\.(\w+) import", re.MULTILINE)
COMPILED = re.compile(r"^@_?jit$", re.MULTILINE)


def helpers(name: str) -> set[str]:
    """Modules next to ``name`` that it imports, and those that they import."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for module in IMPORT.findall((FOLDER / f"{todo.pop()}.py").read_text()):
            if module not in found:
                found.add(module)
                todo.append(module)
    return found


def digest(name: str) -> str:
    content = b"".join((FOLDER / f"{module}.py").read_bytes() for module in sorted(helpers(name)))
    return hashlib.sha256(content).hexdigest()[:12]


# Numba looks at the file of the compiled function only. This test sees to it that the file changes
# with its helpers.
CACHED = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if COMPILED.search(path.read_text()) and helpers(path.stem)
)


@pytest.mark.parametrize("name", CACHED)
def test_compiled_functions_state_what_they_are_compiled_with(name):
    stated = re.search(r'^HELPERS = "(\w+)"$', (FOLDER / f"{name}.py").read_text(), re.MULTILINE)
    assert stated is not None, f"{name}.py needs HELPERS = {digest(name)!r}"
    assert stated[1] == digest(name), f"HELPERS in {name}.py must be {digest(name)!r}"


def test_the_compiled_functions_are_found():
    assert "numba_unrolled_loops" in CACHED
    assert {"numba_cg_loops", "numba_rows"} <= helpers("numba_unrolled_loops")
