"""Benchmarks are scripts, not a package: how tests import them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a script of the folder, as Python does when it is run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    # Processes that a benchmark starts find this copy of the library.
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (
            getattr(sys.modules[name], "__file__", None)
            and FOLDER in Path(sys.modules[name].__file__).parents
        ):
            del sys.modules[name]
