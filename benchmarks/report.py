"""Write the tables of ``docs/performance.md`` from ``results/*.json``: nothing is typed by hand.

``python benchmarks/report.py`` replaces what stands between ``<!-- table: NAME -->`` and
``<!-- end -->``. A benchmark that has not been run here says so instead of a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import RESULTS, named

from gsp_unroll.files import write_atomically

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
Result = dict[str, Any]


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def fill_page(path: Path, tables: Mapping[str, str]) -> None:
    """Put each text between ``<!-- table: NAME -->`` and ``<!-- end -->`` of a page.

    Raises:
        ValueError: If the page has no place for one of them.
    """
    page = path.read_text(encoding="utf-8")
    for name, text in tables.items():
        pattern = re.compile(rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"{path} has no place for the table {name!r}")
        page = pattern.sub(lambda m, text=text: f"{m[1]}\n{text}\n\n{m[2]}", page)
    write_atomically(path, page.encode())
    print(f"wrote {len(tables)} tables into {path}")


def milliseconds(timing: Result | None) -> str:
    """Median ± interquartile range."""
    if timing is None:
        return "–"
    digits = 1 if timing["median"] < 0.1 else 0
    return f"{1e3 * timing['median']:.{digits}f} ± {1e3 * timing['iqr']:.{digits}f}"


def seconds(timing: Result) -> str:
    """The same in seconds."""
    return f"{timing['median']:.2f} ± {timing['iqr']:.2f}"


def gigabytes(size: float) -> str:
    """Bytes as GB (1e9)."""
    return f"{size / 1e9:.2f} GB"


def grid_operators(result: Result) -> str:
    """All operators, all candidates; the same for grids and graphs."""
    rows = []
    for operator, measured in result["operators"].items():
        candidates, bound = measured["candidates"], measured["bound"]
        baseline = candidates[result["baseline"]]
        order = sorted(candidates, key=lambda name: -candidates[name]["forward"]["median"])
        for name in order:
            row = [operator, f"**{name}**" if name == "native" else name]
            for direction in ("forward", "both"):
                timing = candidates[name][direction]
                row.append(milliseconds(timing))
                if timing is None:
                    row += ["–", "–"]
                else:
                    row.append(f"{timing['median'] / bound[direction]:.1f}")
                    row.append(f"{baseline[direction]['median'] / timing['median']:.1f}")
            rows.append(row)
    headers = ["", "", "forward, ms", "x bound", "x faster", "with gradients, ms", "x bound"]
    text = table([*headers, "x faster"], rows)
    copied = result["bandwidth"]["copied"] / 1e9
    text += f"\n\nCopy bandwidth in this run: {copied:.1f} GB/s copied"
    if result.get("first_call"):
        first = result["first_call"]
        text += (
            f"; first `L(w)x` with gradients {first['nothing_cached']:.2f} s with nothing "
            f"compiled, {first['cached_on_disk']:.2f} s in the next process"
        )
    left_out = {
        name: reason.split("\n")[0]
        for measured in result["operators"].values()
        for name, reason in measured["skipped"].items()
    }
    if left_out:
        text += "; left out: " + ", ".join(f"`{name}`" for name in left_out)
    return text + "."


def large_graphs(result: Result) -> str:
    """Time and memory against size, CG steps with and without preconditioner."""
    rows = [
        [
            row["prior"],
            f"{row['nodes']:,}",
            f"{row['directed_edges']:,}",
            f"{row['make_graph_seconds']:.1f}",
            f"{row['interpolate_seconds']:.1f}",
            row["cg_steps"],
            gigabytes(row["peak_above_idle_bytes"]),
        ]
        for row in result["scaling"]["rows"]
    ]
    headers = ["", "nodes", "directed edges", "make graph, s", "interpolate, s", "CG steps", "peak"]
    parts = [table(headers, rows)]
    slopes = [
        f"{prior} {slope['interpolate_seconds']:.2f} in time and "
        f"{slope['peak_above_idle_bytes']:.2f} in memory"
        for prior, slope in result["scaling"]["slopes"].items()
        if slope["interpolate_seconds"] is not None
    ]
    if slopes:
        parts.append("Slopes of log against log: " + "; ".join(slopes) + ".")
    rows = [
        [
            f"{row['nodes']:,}",
            row["samples"],
            row["weights"],
            row["preconditioner"],
            row["steps"] if row["converged"] else f"> {row['steps']}",
            f"{row['seconds']:.2f}",
        ]
        for row in result["preconditioner"]
    ]
    headers = ["nodes", "samples", "weights", "preconditioner", "CG steps", "s"]
    parts.append(table(headers, rows))
    return "\n\n".join(parts)


def saved_bytes(result: Result) -> str:
    """Bytes kept for backward."""
    rows = []
    for case in result["cases"]:
        name = named(case["operators"], case["mode"])
        counted = [case[key] for key in ("step", "layer", "block")]
        rows.append([case["network"], name, *(f"{value / 1e6:.2f}" for value in counted)])
    return table(["", "operators", "a CG step, MB", "a layer, MB", "a block, MB"], rows)


def training_memory(result: Result) -> str:
    """Peaks side by side."""
    rows = []
    for case in result["memory"]:
        name = named(case["operators"], case["mode"])
        scaled = "" if case["batch"] == result["batch"] else gigabytes(case["scaled"])
        rows.append([case["network"], name, case["batch"], gigabytes(case["above_idle"]), scaled])
    headers = ["", "operators", "patches", "peak above idle", f"times {result['batch']} (estimate)"]
    text = table(headers, rows)
    if result["modes"]:
        rows = [
            [
                network,
                mode,
                seconds(case["seconds"]),
                f"{100 * case['cost']:+.0f} %",
                f"{case['gradient_difference']:.1e}",
            ]
            for network, modes in result["modes"].items()
            for mode, case in modes.items()
        ]
        headers = ["", "mode", "s", "beside plain", "largest relative change of gradient"]
        text += "\n\n" + table(headers, rows)
    return text


def training_step(result: Result) -> str:
    """Time of a step, and what is left."""
    rows, shares = [], []
    for network, measured in result["networks"].items():
        for batch, timings in measured["steps"].items():
            slowest = max(timing["median"] for timing in timings.values())
            for name, timing in timings.items():
                faster = f"{slowest / timing['median']:.1f}"
                rows.append([network, name, batch, seconds(timing), faster])
        for mode, profile in measured["profile"].items():
            parts = profile["parts"]
            shares.append([named(network, mode), *(f"{100 * s:.0f} %" for s in parts.values())])
    text = table(["", "operators", "patches", "step, s", "x faster"], rows)
    return text + "\n\n" + table(["share of the native step", *parts], shares)


def whole_image(result: Result) -> str:
    """Time beside other methods, memory of a large image."""
    parts = []
    if "time" in result:
        height, width = result["time"]["size"]
        rows = [[row["method"], seconds(row["seconds"])] for row in result["time"]["methods"]]
        parts.append(table([f"{height} x {width}", "s"], rows))
    if "memory" in result:
        case = result["memory"]
        height, width = case["size"]
        parts.append(
            f"A mosaic of {height} x {width} with `max_memory={case['max_memory']!r}`: "
            f"{case['seconds']:.0f} s, peak {gigabytes(case['peak'])}, of which "
            f"{gigabytes(case['idle'])} before the first tile."
        )
    if "halo" in result:
        rows = [[r["halo"], f"{r['largest']:.1e}", f"{r['mean']:.1e}"] for r in result["halo"]]
        parts.append(table(["halo, pixels", "largest change", "mean change"], rows))
    return "\n\n".join(parts)


def several_processes(result: Result) -> str:
    """Throughput and scaling."""
    rates = {
        count: sorted(values)[len(values) // 2]
        for count, values in result["patches_per_second"].items()
    }
    rows = [[count, f"{rate:.2f}", f"{rate / rates['1']:.2f}"] for count, rate in rates.items()]
    return (
        table(["processes, one thread each", "patches/s", "x one process"], rows)
        + f"\n\nLargest relative difference of the loss over {result['steps']} steps: "
        f"{result['loss_difference']:.1e}."
    )


def cuda_operators(result: Result) -> str:
    """Operators as shares of a copy, blocks with and without CUDA graphs."""
    rows = []
    for kind in ("grid", "graph"):
        for operator, measured in result[kind].items():
            if operator == "topology":
                continue
            for way, timing in measured["forward"].items():
                share = measured["share_of_copy"][way]
                rows.append([kind, operator, way, milliseconds(timing), f"{100 * share:.0f} %"])
    parts = [table(["", "operator", "backend", "forward, ms", "share of copy"], rows)]
    rows = [
        [name, what, *(milliseconds(timing) for timing in ways.values())]
        for name, timings in result["blocks"].items()
        for what, ways in timings.items()
    ]
    parts.append(table(["64x64 patches", "", "plain, ms", "captured, ms"], rows))
    speed = result["copy_bytes_per_second"] / 1e9
    parts.append(f"Device copy in this run: {speed:.0f} GB/s read and written.")
    return "\n\n".join(parts)


TABLES: dict[str, Callable[[Result], str]] = {
    "grid_operators": grid_operators,
    "graph_operators": grid_operators,
    "gtv_layer": grid_operators,
    "large_graphs": large_graphs,
    "saved_bytes": saved_bytes,
    "training_memory": training_memory,
    "training_step": training_step,
    "training_step_avx2": training_step,
    "whole_image": whole_image,
    "several_processes": several_processes,
    "cuda_operators": cuda_operators,
}


CAPTIONS = {
    "grid_operators": "Time over bound for each operator and candidate",
    "graph_operators": "Time over bound for each operator and candidate",
    "gtv_layer": "Time over bound of a layer with each way",
    "saved_bytes": "Bytes that one block keeps for backward",
    "training_memory": "Peak memory side by side",
    "training_step": "Where the time of a native step goes",
    "whole_image": "Time beside other methods, and the change by the halo",
    "large_graphs": "Time, memory and CG steps against the number of nodes",
    "several_processes": "Curves of one and several processes, and their throughput",
}


def source(result: Result) -> str:
    """Machine, date and command of a result in one line."""
    machine = result["machine"]
    where = machine["gpu"] or f"{machine['processor']}, {machine['threads']} threads"
    return (
        f"*{machine['date']}, {where}, torch {machine['packages'].get('torch')}: "
        f"`{machine['command']}`*"
    )


def section(name: str) -> str:
    """What stands between the markers of ``name``."""
    path = RESULTS / f"{name}.json"
    if not path.is_file() or name not in TABLES:
        script = Path(__file__).with_name(f"{name}.py")
        return "*Not yet measured" + f": `python benchmarks/{name}.py`" * script.is_file() + ".*"
    result = json.loads(path.read_text(encoding="utf-8"))
    figure = PAGE.parent / "figures" / f"{name}.png"
    text = TABLES[name](result) + "\n\n" + source(result)
    if figure.is_file():
        text += f"\n\n![{CAPTIONS[name]}](figures/{figure.name})"
    return text


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    page, count = pattern.subn(lambda m: f"{m[1]}{section(m[2])}\n{m[3]}", page)
    write_atomically(PAGE, page.encode())
    print(f"wrote {count} tables into {PAGE}")


if __name__ == "__main__":
    main()
