"""Write the tables of ``docs/results.md`` from ``docs/results/*.json``: nothing is typed by hand.

``python benchmarks/results_page.py`` replaces what stands between ``<!-- table: NAME -->`` and
``<!-- end -->``. What has not been evaluated says so instead of a number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluate_all import OTHER_PATTERNS, RESULTS, SETS, SIGMAS, read, to_measure, without
from report import fill_page, table

from gsp_unroll.evaluation.protocols import decibel

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
TITLES = {"mcm": "McM", "kodak": "Kodak"}
LABELS = {
    "bicubic": "bicubic, aligned",
    "bicubic_shifted": "bicubic, half a pixel off",
    "malvar": "Malvar 2004",
    "menon": "Menon 2007",
    "iglr": "iGLR",
    "igtv": "iGTV",
}
# PSNR of McM and Kodak as printed in Do et al. (NeurIPS 2024).
PUBLISHED = {
    "demosaic": {"bilinear": (29.71, 28.22), "malvar": (32.79, 34.17), "menon": (32.68, 38.00)},
    "interpolate": {"bicubic_shifted": (29.01, 26.75)},
}
# Networks of that paper: parameters, PSNR of McM and Kodak.
PUBLISHED_NETWORKS = {
    "demosaic": {
        "RST-B": (931_763, 34.85, 38.75),
        "RST-S": (3_162_211, 35.84, 39.81),
        "uGLR": (323_410, 36.09, 37.88),
        "uGTV": (323_435, 36.59, 39.11),
    },
    "interpolate": {"SwinIR-light": (None, 32.24, 28.62), "uGTV": (319_115, 33.36, 29.08)},
}
MISSING = "Not measured yet."


def load(name: str) -> dict[str, Any] | None:
    """One evaluation, without methods whose weights have changed since."""
    result = read(RESULTS / f"{name}.json")
    if result is None:
        return None
    measured = [name for run in result["runs"] for name in run["methods"]]
    return without(result, set(to_measure(result, measured)))


def by_method(result: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """``{method: {protocol: summary}}``."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for summary in result["summary"]:
        found.setdefault(summary["method"], {})[summary["protocol"]] = summary
    return found


def source(result: dict[str, Any]) -> str:
    """Where the numbers come from: one sentence for each run."""
    return "\n\n".join(_run(run, len(result["runs"]) > 1) for run in result["runs"])


def _run(run: dict[str, Any], one_of_several: bool) -> str:
    machine = run["machine"]
    torch = machine["packages"]["torch"]
    whose = f"{', '.join(LABELS.get(name, name) for name in run['methods'])}: "
    return (
        f"{whose if one_of_several else ''}`{run['command']}`, {run['date'][:10]}, "
        f"{machine['processor']}, {machine['device']}, "
        f"{machine['threads']} threads, Python {machine['python']}, torch {torch}."
    )


def main_table(task: str) -> str:
    """All methods on both sets, in both protocols."""
    parts = []
    for position, images in enumerate(SETS):
        result = load(f"{task}_{images}")
        if result is None:
            parts.append(f"{TITLES[images]}: {MISSING}")
            continue
        rows = []
        for method, scores in by_method(result).items():
            paper, usual = scores["paper"], scores["usual"]
            published = PUBLISHED[task].get(method)
            rows.append(
                [
                    LABELS.get(method, f"**{method}**" if paper["parameters"] else method),
                    f"{paper['parameters']:,}" if paper["parameters"] else "–",
                    f"{paper['psnr']:.2f}",
                    f"{published[position]:.2f}" if published else "",
                    f"{usual['psnr']:.2f}",
                    f"{paper['ssim']:.4f}",
                    f"{paper['seconds_per_megapixel']:.2f}",
                    f"{paper['megabytes_per_megapixel']:.0f}",
                ]
            )
        for network, (parameters, *psnr) in PUBLISHED_NETWORKS[task].items():
            size = f"{parameters:,}" if parameters else ""
            rows.append([f"{network}, as published", size, "", f"{psnr[position]:.2f}", *[""] * 4])
        headers = [
            f"{TITLES[images]}, {result['data']['images']} images", "parameters", "PSNR `paper`",
            "published", "PSNR `usual`", "SSIM", "s/megapixel", "MB/megapixel",
        ]  # fmt: skip
        parts.append(f"{table(headers, rows)}\n\n{source(result)}")
    return "\n\n".join(parts)


def shift_table(columns: dict[str, str]) -> str:
    """PSNR (paper) of each method, one column for each evaluation ``{name: header}``.

    Over the images that all of the evaluations have.
    """
    parts = []
    for images in SETS:
        results = {name: load(f"{name}_{images}") for name in columns}
        present = {name: result for name, result in results.items() if result is not None}
        if len(present) < 2:
            parts.append(f"{TITLES[images]}: {MISSING}")
            continue
        common = set.intersection(
            *({row["image"] for row in result["rows"]} for result in present.values())
        )
        found = {name: mean_psnr(result, common) for name, result in present.items()}
        methods = list(dict.fromkeys(method for scores in found.values() for method in scores))
        shifted = [name for name in columns if name != next(iter(columns))]
        rows = [
            [
                LABELS.get(method, method),
                *(
                    f"{found[name][method]:.2f}" if method in found.get(name, {}) else ""
                    for name in columns
                ),
            ]
            for method in methods
            if any(method in found.get(name, {}) for name in shifted)
        ]
        headers = [f"{TITLES[images]}, PSNR `paper`, {len(common)} images", *columns.values()]
        last = list(present.values())[-1]
        parts.append(f"{table(headers, rows)}\n\nThe last column: {source(last)}")
    return "\n\n".join(parts)


def mean_psnr(result: dict[str, Any], images: set[str]) -> dict[str, float]:
    """PSNR of the mean squared error of each method over ``images``."""
    errors: dict[str, list[float]] = {}
    for row in result["rows"]:
        if row["image"] in images:
            errors.setdefault(row["method"], []).append(row["scores"]["paper"]["mse"])
    return {method: decibel(sum(mse) / len(mse)) for method, mse in errors.items()}


def tables() -> dict[str, str]:
    """All tables of the page."""
    return {
        "demosaic": main_table("demosaic"),
        "interpolate": main_table("interpolate"),
        "noise": shift_table(
            {"demosaic": "no noise"} | {f"noise{s}": f"sigma {s}/255" for s in SIGMAS}
        ),
        "patterns": shift_table(
            {"demosaic": "RGGB"}
            | {f"cfa_{pattern}": pattern for pattern in OTHER_PATTERNS}
            | {"inpaint": "random 25 %"}
        ),
    }


def main() -> None:
    fill_page(PAGE, tables())


if __name__ == "__main__":
    main()
