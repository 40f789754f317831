"""Draw ``docs/figures/*.png`` from ``results/*.json``; what has not been measured is left out.

``python benchmarks/plots.py`` needs matplotlib (extra ``plot``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from ablations import GROUPS, group_rows, mean_by_image
from measure import RESULTS, named

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
OURS, OTHERS, LIGHT = "#0b6e99", "#9a9a9a", "#7fc4dd"
Result = dict[str, Any]


def grid_operators(result: Result) -> Figure:
    """How far each candidate is from the bound, forward and with gradients."""
    operators = result["operators"]
    columns = min(len(operators), 3)
    rows = math.ceil(len(operators) / columns)
    size = (4.2 * columns, 3.2 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(operators) :]:
        axis.set_axis_off()
    for axis, (operator, measured) in zip(axes.flat, operators.items(), strict=False):
        candidates = measured["candidates"]
        names = sorted(candidates, key=lambda name: candidates[name]["forward"]["median"])
        for offset, direction in ((-0.2, "forward"), (0.2, "both")):
            bound = measured["bound"][direction]
            for place, name in enumerate(names):
                timing = candidates[name][direction]
                if timing is not None:
                    ours = (OURS, LIGHT) if name == "native" else (OTHERS, "#cfcfcf")
                    ratio = timing["median"] / bound
                    axis.barh(place + offset, ratio, 0.36, color=ours[direction == "both"])
                    axis.text(ratio * 1.05, place + offset, f"{ratio:.1f}", va="center", size=7)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_yticks(range(len(names)), names, size=7)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_xlim(0.7, axis.get_xlim()[1] * 2.5)
        axis.set_title(operator)
        axis.set_xlabel("times the bound; dark: forward, light: with gradients", size=8)
    return figure


def training_memory(result: Result) -> Figure:
    """Peak above idle, side by side."""
    figure, axis = plt.subplots(figsize=(7, 3.4))
    labels, sizes, colours = [], [], []
    for case in result["memory"]:
        scaled = case["batch"] != result["batch"]
        name = f"{case['network']}, {named(case['operators'], case['mode'])}"
        labels.append(name + (f" (1 patch x {result['batch']})" if scaled else ""))
        sizes.append(case["scaled"] / 1e9)
        colours.append(OURS if case["operators"] == "native" else OTHERS)
    axis.barh(labels, sizes, color=colours)
    for place, size in enumerate(sizes):
        axis.text(size * 1.04, place, f"{size:.2f} GB", va="center", size=8)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(min(0.1, min(sizes) / 2), max(sizes) * 3)
    axis.set_xlabel(f"peak above idle, GB: forward + backward of {result['batch']} patches 64x64")
    return figure


def training_step(result: Result) -> Figure:
    """Where the native step spends its time."""
    networks = {
        named(network, mode): profile["parts"]
        for network, measured in result["networks"].items()
        for mode, profile in measured["profile"].items()
    }
    figure, axis = plt.subplots(figsize=(7, 0.9 + 0.45 * len(networks)))
    left = dict.fromkeys(networks, 0.0)
    parts = ("convolutions", "graph learning", "solver", "rest")
    shades = (OTHERS, LIGHT, OURS, "#dddddd")
    for part, colour in zip(parts, shades, strict=True):
        shares = [100 * measured[part] for measured in networks.values()]
        axis.barh(list(networks), shares, left=list(left.values()), color=colour, label=part)
        for network, share in zip(networks, shares, strict=True):
            if share > 4:
                middle = left[network] + share / 2
                axis.text(middle, network, f"{share:.0f} %", ha="center", va="center", size=8)
            left[network] += share
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of a native training step, %")
    axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, fontsize=8)
    return figure


def saved_bytes(result: Result) -> Figure:
    """Bytes kept for backward by a block."""
    figure, axis = plt.subplots(figsize=(7, 3.4))
    labels = [
        f"{case['network']}, {named(case['operators'], case['mode'])}" for case in result["cases"]
    ]
    sizes = [case["block"] / 1e6 for case in result["cases"]]
    colours = [OURS if case["operators"] == "native" else OTHERS for case in result["cases"]]
    axis.barh(labels, sizes, color=colours)
    for place, size in enumerate(sizes):
        axis.text(size * 1.04, place, f"{size:.1f}", va="center", size=8)
    axis.axvline(result["features"] / 1e6, color="black", linewidth=0.8, linestyle=":")
    axis.text(result["features"] / 1e6, -0.7, " its convolutions alone", size=7)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(1, max(sizes) * 2)
    axis.set_xlabel("MB kept for backward by one block, one 64x64 patch")
    return figure


def several_processes(result: Result) -> Figure:
    """The curves over each other, and the throughput."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
    for (count, losses), style in zip(result["losses"].items(), ("-", "--"), strict=True):
        left.plot(range(1, len(losses) + 1), losses, style, label=f"{count} process(es)")
    left.set_xlabel("step")
    left.set_ylabel("loss")
    left.legend(frameon=False)
    counts = list(result["patches_per_second"])
    rates = [sorted(v)[len(v) // 2] for v in result["patches_per_second"].values()]
    right.bar(counts, rates, color=OURS)
    right.plot(counts, [rates[0] * int(c) / int(counts[0]) for c in counts], "k_", markersize=30)
    right.set_xlabel("processes, one thread each (line: perfect scaling)")
    right.set_ylabel("patches/s")
    return figure


def whole_image(result: Result) -> Figure:
    """Seconds of each method on one image, and the change by the halo."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
    rows = result.get("time", {}).get("methods", [])
    names = [row["method"] for row in rows]
    times = [row["seconds"]["median"] for row in rows]
    left.barh(names, times, color=[OURS if name == "uGTV" else OTHERS for name in names])
    left.set_xscale("log")
    left.set_xlabel("s for one image")
    halo = result.get("halo", [])
    right.semilogy([r["halo"] for r in halo], [max(r["largest"], 1e-9) for r in halo], "o-")
    right.set_xlabel("halo, pixels")
    right.set_ylabel("largest change")
    return figure


def large_graphs(result: Result) -> Figure:
    """Time, memory and CG steps against the number of nodes."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    rows = result["scaling"]["rows"]
    for axis, key, unit, label in (
        (axes[0], "interpolate_seconds", 1, "s"),
        (axes[1], "peak_above_idle_bytes", 1e9, "peak above idle, GB"),
    ):
        for prior, colour in (("glr", OURS), ("gtv", LIGHT)):
            mine = [row for row in rows if row["prior"] == prior]
            nodes, values = [r["nodes"] for r in mine], [r[key] / unit for r in mine]
            axis.loglog(nodes, values, "o-", color=colour, label=prior)
        if rows:
            nodes = sorted({row["nodes"] for row in rows})
            last = max(row[key] for row in rows if row["nodes"] == nodes[-1]) / unit
            line = [2 * last * n / nodes[-1] for n in nodes]
            axis.loglog(nodes, line, "k:", linewidth=0.8, label="linear")
        axis.set_xlabel("nodes")
        axis.set_ylabel(label)
        axis.legend(frameon=False)
    cases = sorted({(r["samples"], r["weights"]) for r in result["preconditioner"]})
    names = sorted({r["preconditioner"] for r in result["preconditioner"]})
    for case, colour in zip(cases, (OURS, "#c0504d", LIGHT, OTHERS), strict=False):
        for name, style in zip(names, ("-", "--", ":", "-."), strict=False):
            mine = [
                r
                for r in result["preconditioner"]
                if (r["samples"], r["weights"]) == case and r["preconditioner"] == name
            ]
            label = f"{case[0]} samples, {case[1]} weights, {name}"
            axes[2].loglog(
                [r["nodes"] for r in mine], [r["steps"] for r in mine], style, marker=".",
                color=colour, label=label,
            )  # fmt: skip
    axes[2].set_xlabel("nodes")
    axes[2].set_ylabel("CG steps to 1e-8")
    axes[2].legend(frameon=False, fontsize=6, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def ablations(result: Result) -> Figure:
    """A panel for each group: PSNR of every row, one dot for each seed; then image by image."""
    groups = {g: rows for g in GROUPS if len(rows := group_rows(result, g)) > 1}
    panels = len(groups) + 2
    columns = 4
    lines = math.ceil(panels / columns)
    size = (3.6 * columns, 2.6 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    places = list(axes.flat)
    for axis in places[panels:]:
        axis.set_axis_off()
    for axis, (group, rows) in zip(places, groups.items(), strict=False):
        labels = list(rows)
        axis.locator_params(axis="x", nbins=3)
        for place, label in enumerate(labels):
            values = [row["psnr"] for row in rows[label]]
            axis.plot(values, [place] * len(values), "o", color=OURS, alpha=0.6)
            axis.plot(sum(values) / len(values), place, "|", color="black", markersize=14)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.set(title=group, xlabel="validation PSNR, dB")
    _by_image(places[len(groups)], result)
    _graph_quality(places[len(groups) + 1], result)
    return figure


def _by_image(axis: plt.Axes, result: Result) -> None:
    """What GTV gains over GLR, image by image."""
    rows = group_rows(result, "prior")
    glr, gtv = (mean_by_image(rows.get(name, [])) for name in ("uGLR", "uGTV"))
    names = [name for name in glr if name in gtv]
    gains = [gtv[n] - glr[n] for n in names]
    axis.plot([glr[n] for n in names], gains, "o", color=OURS, alpha=0.6)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(
        title="GTV against GLR, by image", xlabel="PSNR of uGLR, dB", ylabel="gain of uGTV, dB"
    )


def _graph_quality(axis: plt.Axes, result: Result) -> None:
    """Networks that know better where the truth changes, and their PSNR."""
    for row in result["rows"]:
        if any(change.startswith("task.") for change in row["changes"]):
            continue  # the PSNR of another task is another one
        quality = sum(row["graph"]) / len(row["graph"])
        axis.plot(quality, row["psnr"], "o", color=OURS, alpha=0.6)
    axis.set(title="learned graph and result", xlabel="quality of the graph", ylabel="PSNR, dB")


DRAWINGS: dict[str, Callable[[Result], Figure]] = {
    "ablations": ablations,
    "grid_operators": grid_operators,
    "graph_operators": grid_operators,
    "gtv_layer": grid_operators,
    "large_graphs": large_graphs,
    "saved_bytes": saved_bytes,
    "training_memory": training_memory,
    "training_step": training_step,
    "several_processes": several_processes,
    "whole_image": whole_image,
}


def main() -> None:
    FIGURES.mkdir(parents=True, exist_ok=True)
    plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
    for name, draw in DRAWINGS.items():
        path = RESULTS / f"{name}.json"
        if not path.is_file():
            print(f"{name}: not measured, not drawn")
            continue
        figure = draw(json.loads(path.read_text(encoding="utf-8")))
        figure.savefig(FIGURES / f"{name}.png", dpi=130, bbox_inches="tight")
        plt.close(figure)
        print(f"wrote {FIGURES / f'{name}.png'}")


if __name__ == "__main__":
    main()
