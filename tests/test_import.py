"""What ``import gsp_unroll`` offers, and what it leaves for later."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gsp_unroll


def run(code: str) -> str:
    """Output of another process, where nothing has been imported yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_public_name_is_there_and_listed():
    for name in gsp_unroll.__all__:
        assert hasattr(gsp_unroll, name)
        assert name in dir(gsp_unroll)
    assert gsp_unroll.interpolate.__module__ == "gsp_unroll.interpolation"
    assert gsp_unroll.Grid.__name__ == "Grid"


def test_modules_are_attributes_without_an_import_of_their_own():
    assert run("import gsp_unroll; print(gsp_unroll.solvers.__name__)") == "gsp_unroll.solvers"


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'interpolat'"):
        _ = gsp_unroll.interpolat
    assert not hasattr(gsp_unroll, "__wrapped__")


@pytest.mark.parametrize("command", ["evaluate", "restore", "enlarge"])
def test_help_and_usage_errors_do_not_wait_for_pytorch(command):
    code = f"""
import sys
from gsp_unroll.cli import main
for arguments in (["--help"], ["{command}", "--help"], ["{command}", "--no-such-option"]):
    try:
        main(arguments)
    except SystemExit:
        pass
print("torch" in sys.modules, "torch_geometric" in sys.modules)
"""
    assert run(code).splitlines()[-1] == "False False"


def test_a_missing_dependency_is_named_and_not_taken_for_a_wrong_name():
    code = """
import sys
sys.modules["torch_geometric"] = None
import gsp_unroll
try:
    gsp_unroll.interpolate
except ImportError as error:
    print(type(error).__name__, "torch_geometric" in str(error))
"""
    assert run(code) == "ModuleNotFoundError True"
