"""Write the tables of ``docs/experiments.md`` from the results of four scripts.

``python benchmarks/experiments_page.py`` replaces what stands between ``<!-- table: NAME -->`` and
``<!-- end -->``.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from ablations import GROUPS, group_rows
from border import SIDES
from measure import RESULTS, measured_by
from report import fill_page, table
from softness import METHODS as TASKS

PAGE = Path(__file__).parents[1] / "docs" / "experiments.md"


def group_table(result: dict[str, Any] | None, group: str) -> str:
    """PSNR (mean and half the range over seeds), parameters and seconds of each row."""
    rows = group_rows(result, group) if result is not None else {}
    # The base alone compares nothing.
    if len(rows) < 2:
        return "Not measured yet."
    lines = []
    for label, seeds in rows.items():
        values = [row["psnr"] for row in seeds]
        spread = f" ± {(max(values) - min(values)) / 2:.2f}" if len(values) > 1 else ""
        graph = statistics.mean(statistics.mean(row["graph"]) for row in seeds)
        lines.append(
            [
                label,
                f"{seeds[0]['parameters']:,}",
                f"{statistics.mean(values):.2f}{spread}",
                f"{graph:.3f}",
                f"{statistics.mean(row['training_seconds'] for row in seeds):.0f}",
                f"{statistics.mean(row['seconds_per_megapixel'] for row in seeds):.2f}",
                len(seeds),
            ]
        )
    headers = [
        group, "parameters", "PSNR, dB", "quality of the graph", "training, s", "s/megapixel",
        "seeds",
    ]  # fmt: skip
    return table(headers, lines)


def softness_table(result: dict[str, Any] | None, task: str) -> str:
    """PSNR of each method for each softness."""
    if result is None:
        return "Not measured yet."
    headers = [f"PSNR, {task}", *(f"blurred by {sigma:g} pixels" for sigma in result["sigmas"])]
    lines = [
        [row["method"], *(f"{value:.2f}" for value in row["psnr"])]
        for row in result["rows"]
        if row["task"] == task
    ]
    falls = ", ".join(f"{name} {fall:.1f}" for name, fall in result["roll_off"].items())
    judged = squares_source(result)
    return f"{table(headers, lines)}\n\n{judged} Luma falls by, dB: {falls or 'not measured'}."


def border_table(result: dict[str, Any] | None, task: str) -> str:
    """PSNR of each method with and without the border, and the share of the error at each side."""
    if result is None:
        return "Not measured yet."
    headers = [f"PSNR, {task}", "all", "without the border", *(f"error {side}" for side in SIDES)]
    lines = [
        [
            row["method"], f"{row['psnr']:.2f}", f"{row['psnr_within']:.2f}",
            *(f"{100 * row['share'][side]:.1f} %" for side in SIDES),
        ]
        for row in result["rows"]
        if row["task"] == task
    ]  # fmt: skip
    source = (
        f"PSNR `paper` in dB, {result['images']} whole images; the border is {result['lines']} "
        f"lines at each side. {measured_by(result['machine'])}"
    )
    return f"{table(headers, lines)}\n\n{source}"


def left_out_table(result: dict[str, Any] | None, what: str = "block") -> str:
    """PSNR of each network, and what it loses without each ``"block"`` or ``"maps of block"``."""
    if result is None:
        return "Not measured yet."
    key = "without" if what == "block" else "without_maps"
    rows = [row for row in result["rows"] if row.get(key)]
    blocks = sorted({int(number) for row in rows for number in row[key]})
    lines = []
    for row in rows:
        # Adding zero makes -0.0 a 0.0.
        losses = {int(k): round(row["psnr"] - v, 2) + 0.0 for k, v in row[key].items()}
        cells = [f"{losses[number]:.2f}" if number in losses else "" for number in blocks]
        lines.append([row["weights"], f"{row['psnr']:.2f}", *cells])
    headers = ["weights", "PSNR, dB", *(f"lost without {what} {number}" for number in blocks)]
    return f"{table(headers, lines)}\n\n{squares_source(result)}"


def squares_source(result: dict[str, Any]) -> str:
    """What was judged on, with which command, where and when."""
    return (
        f"PSNR `paper` in dB, central squares of {result['side']} x {result['side']} of "
        f"{result['images']} images. {measured_by(result['machine'])}"
    )


def main() -> None:
    names = ("ablations", "softness", "left_out", "border")
    result, soft, left_out, border = (_read(RESULTS / f"{name}.json") for name in names)
    texts = {group: group_table(result, group) for group in GROUPS}
    texts |= {f"softness, {task}": softness_table(soft, task) for task in TASKS}
    texts |= {f"border, {task}": border_table(border, task) for task in TASKS}
    texts["blocks left out"] = left_out_table(left_out)
    texts["maps left out"] = left_out_table(left_out, "maps of block")
    machine = "Not measured yet."
    if result is not None:
        trained, judged = result["rows"][-1]["images"][:2]
        machine = f"Trained on {trained}, judged on {judged}. {measured_by(result['machine'])}"
    fill_page(PAGE, {**texts, "machine": machine})


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


if __name__ == "__main__":
    main()
