"""Machine code that Numba has cached is not used with helpers that have changed since."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
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


BITS = """
import hashlib
import torch
from gsp_unroll.ops import unrolled
from gsp_unroll.topology import Grid

bits = hashlib.sha256()
for side, layers, channels in ((9, 3, 3), (24, 5, 1), (45, 3, 1), (45, 7, 3), (51, 4, 1)):
    make = torch.Generator().manual_seed(layers)
    grid, scalars = Grid(side, side), 0.1 + 0.2 * torch.rand(2, layers, 4, 1, generator=make)
    w = 0.1 * torch.rand(1, 1, grid.num_edges, generator=make)
    x = torch.rand(1, channels, side * side, generator=make)
    threshold = 0.01 + 0.02 * torch.rand(layers, generator=make)
    ratio = 0.5 + torch.rand(layers, generator=make)
    mix = torch.eye(channels)[None] + 0.1
    found = unrolled.solvers(grid, w, x)
    for function, steps, further in (
        (unrolled.unrolled_glr, scalars, (threshold,)),
        (unrolled.unrolled_gtv, scalars, (threshold, ratio)),
        (unrolled.unrolled_joint_glr, scalars[..., 0], (threshold, mix)),
    ):
        inputs = [v.clone().requires_grad_() for v in (w, x, *steps, *further)]
        out = function(found, *inputs[:2], x > 0.5, *inputs[2:])
        gradients = torch.autograd.grad(out.square().sum(), inputs)
        for value in (out, *gradients):
            bits.update(value.detach().contiguous().numpy().tobytes())
print(bits.hexdigest())
"""


def test_a_process_that_compiles_and_one_that_loads_give_the_same_bits(tmp_path):
    def bits() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", BITS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert bits() == bits()
    for name in ("glr", "gtv", "joint_glr"):
        assert list(tmp_path.rglob(f"*.{name}_backward-*.nbc")), f"{name} was not cached"
