"""Evaluate everything that docs/results.md shows: one JSON for each set of images and each task.

    python benchmarks/evaluate_all.py --data DIR --threads 2

``DIR`` holds the folders ``mcm`` (McMaster, 18 images) and ``kodak`` (24 images). Methods that are
measured already are kept, unless their shipped weights have changed since: delete a file of
docs/results to measure all of it again. Then ``python benchmarks/results_page.py`` writes the page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gsp_unroll.cli import main as gsp_unroll
from gsp_unroll.files import write_atomically
from gsp_unroll.models import shipped_weights
from gsp_unroll.models.shipped import weight_path

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SETS = ("mcm", "kodak")
# Images of each set in the tables of what networks were not trained for.
FEW = "4"
SIGMAS = (10, 20, 30, 50)
OTHER_PATTERNS = ("BGGR", "GRBG", "GBRG", "quad_bayer", "xtrans")


def experiments() -> dict[str, list[str]]:
    """Arguments of ``gsp_unroll evaluate``, by the name of the file they lead to."""
    colour, luma = shipped_weights("demosaic"), shipped_weights("interpolate")
    classical, models = ["bilinear", "malvar", "menon"], ["iglr", "igtv"]
    every = {
        "demosaic": [
            "--task", "demosaic", "--methods",
            ",".join([*classical, *models, *with_ensemble(colour), "demosaicnet"]),
        ],
        "interpolate": [
            "--task", "interpolate", "--methods",
            ",".join(["bilinear", "bicubic", "bicubic_shifted", *models, *with_ensemble(luma)]),
        ],
        "inpaint": [
            "--task", "inpaint", "--limit", FEW, "--methods", ",".join(["bilinear", *colour]),
        ],
    }  # fmt: skip
    shifted = ",".join(["menon", *colour, "demosaicnet"])
    for sigma in SIGMAS:
        aware = ",".join(f"{name}:noise-aware" for name in colour)
        noise = ["--noise", f"{sigma}/255", "--limit", FEW]
        every[f"noise{sigma}"] = [*noise, "--methods", f"{shifted},{aware}"]
    for pattern in OTHER_PATTERNS:
        bayer = len(pattern) == 4
        methods = shifted if bayer else ",".join(["bilinear", *colour])
        every[f"cfa_{pattern}"] = ["--cfa", pattern, "--limit", FEW, "--methods", methods]
    return every


def with_ensemble(networks: Sequence[str]) -> list[str]:
    """The names, and behind each fast network its mean over eight orientations."""
    return [
        row for name in networks for row in (name, *[f"{name}:x8"] * name.startswith("uglr-plus"))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with mcm/ and kodak/")
    parser.add_argument("--only", nargs="+", help="names of experiments (all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name, arguments in experiments().items():
        if options.only and name not in options.only:
            continue
        for images in SETS:
            target = options.out / f"{name}_{images}.json"
            before = read(target)
            missing = to_measure(before, methods_of(arguments))
            if not missing:
                print(f"{target.name} is there", file=sys.stderr)
                continue
            command = ["evaluate", "--data", str(options.data / images), *arguments]
            command[command.index("--methods") + 1] = ",".join(missing)
            command += ["--threads", str(options.threads)]
            print(f"python -m gsp_unroll {shlex.join(command)}", flush=True)
            code, measured = evaluate(command, options.data)
            if code:
                return code
            result = merged(before, measured, methods_of(arguments))
            write_atomically(target, (json.dumps(result, indent=2) + "\n").encode())
    return 0


def methods_of(arguments: list[str]) -> list[str]:
    """The methods that a command asks for."""
    return arguments[arguments.index("--methods") + 1].split(",")


def read(target: Path) -> dict[str, Any] | None:
    """What was measured before, if there is something."""
    return json.loads(target.read_text(encoding="utf-8")) if target.exists() else None


def fingerprint(method: str) -> str | None:
    """Hash of the shipped weights that a method uses, ``None`` if it uses none."""
    name = method.partition(":")[0]
    if name not in shipped_weights():
        return None
    return hashlib.sha256(weight_path(name).read_bytes()).hexdigest()[:16]


def to_measure(result: dict[str, Any] | None, asked: list[str]) -> list[str]:
    """Methods that are not in the result, or are there with other weights."""
    known = (
        {}
        if result is None
        else {m: w for run in result["runs"] for m, w in run["methods"].items()}
    )
    return [name for name in asked if name not in known or known[name] != fingerprint(name)]


def evaluate(command: list[str], data: Path) -> tuple[int, dict[str, Any]]:
    """Run one command; its JSON, without the place where the images lie on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        code = gsp_unroll([*command, "--out", folder])
        if code:
            return code, {}
        (written,) = Path(folder).glob("*.json")
        result = json.loads(written.read_text(encoding="utf-8"))
    shown = [
        part.replace(str(data), "DIR") if part.startswith(str(data)) else part for part in command
    ]
    result["command"] = f"python -m gsp_unroll {shlex.join(shown)}"
    run = {key: result.pop(key) for key in ("command", "date", "machine")}
    methods = {name: fingerprint(name) for name in methods_of(command)}
    return 0, {**result, "runs": [{**run, "methods": methods}]}


def merged(before: dict[str, Any] | None, now: dict[str, Any], asked: list[str]) -> dict[str, Any]:
    """Two results of one experiment as one, methods in the order ``asked``; the later counts.

    Raises:
        ValueError: If they are not of the same task, images and protocols.
    """
    if before is None:
        return now
    for part in ("task", "data", "protocols"):
        if before[part] != now[part]:
            raise ValueError(
                f"{part} has changed since the other methods were measured ({before[part]} then, "
                f"{now[part]} now): delete the file and measure all of them"
            )
    kept = without(before, set(now["runs"][0]["methods"]))
    result = {**now, "runs": [*kept["runs"], *now["runs"]]}
    for part in ("summary", "rows"):
        result[part] = sorted(
            [*kept[part], *now[part]],
            key=lambda row: asked.index(row["method"]) if row["method"] in asked else len(asked),
        )
    return result


def without(result: dict[str, Any], methods: set[str]) -> dict[str, Any]:
    """A result with nothing of ``methods``."""
    left = dict(result)
    for part in ("summary", "rows"):
        left[part] = [row for row in result[part] if row["method"] not in methods]
    runs = (
        {**run, "methods": {name: w for name, w in run["methods"].items() if name not in methods}}
        for run in result["runs"]
    )
    left["runs"] = [run for run in runs if run["methods"]]
    return left


if __name__ == "__main__":
    sys.exit(main())
