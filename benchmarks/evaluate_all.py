"""Evaluate everything that docs/results.md shows: one JSON for each set of images and each task.

    python benchmarks/evaluate_all.py --data DIR --threads 2

``DIR`` holds the folders ``mcm`` (McMaster, 18 images) and ``kodak`` (24 images). What is measured
already is kept: delete a file of docs/results to measure it again. Then
``python benchmarks/results_page.py`` writes the page.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

from gsp_unroll.cli import main as gsp_unroll
from gsp_unroll.files import write_atomically
from gsp_unroll.models import pretrained_metadata, shipped_weights

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SETS = ("mcm", "kodak")
# Images of each set in the tables of what networks were not trained for.
FEW = "4"
SIGMAS = (10, 20, 30, 50)
OTHER_PATTERNS = ("BGGR", "GRBG", "GBRG", "quad_bayer", "xtrans")


def experiments() -> dict[str, list[str]]:
    """Arguments of ``gsp_unroll evaluate``, by the name of the file they lead to."""
    colour = [n for n in shipped_weights() if pretrained_metadata(n)["task"].startswith("demosaic")]
    luma = [n for n in shipped_weights() if n not in colour]
    models = ["iglr", "igtv"]
    every = {
        "demosaic": [
            "--task", "demosaic", "--methods",
            ",".join(["bilinear", "malvar", "menon", *models, *colour, "demosaicnet"]),
        ],
        "interpolate": [
            "--task", "interpolate", "--methods",
            ",".join(["bilinear", "bicubic", "bicubic_shifted", *models, *luma]),
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
            if has_all(target, arguments):
                print(f"{target.name} is there", file=sys.stderr)
                continue
            command = ["evaluate", "--data", str(options.data / images), *arguments]
            command += ["--threads", str(options.threads)]
            print(f"python -m gsp_unroll {shlex.join(command)}", flush=True)
            code = evaluate(command, options.data, target)
            if code:
                return code
    return 0


def has_all(target: Path, arguments: list[str]) -> bool:
    """Whether the file is there and holds every method that is asked for."""
    if not target.exists():
        return False
    asked = arguments[arguments.index("--methods") + 1].split(",")
    result = json.loads(target.read_text(encoding="utf-8"))
    return set(asked) <= {summary["method"] for summary in result["summary"]}


def evaluate(command: list[str], data: Path, target: Path) -> int:
    """Run one command and keep its JSON, without the place where the images lie on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        code = gsp_unroll([*command, "--out", folder])
        if code:
            return code
        (written,) = Path(folder).glob("*.json")
        result = json.loads(written.read_text(encoding="utf-8"))
    shown = [
        part.replace(str(data), "DIR") if part.startswith(str(data)) else part for part in command
    ]
    result["command"] = f"python -m gsp_unroll {shlex.join(shown)}"
    write_atomically(target, (json.dumps(result, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
