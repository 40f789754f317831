"""A report as text: an aligned table for the terminal or Markdown, protocols spelled out."""

from __future__ import annotations

from collections.abc import Sequence

from gsp_unroll import checks
from gsp_unroll.evaluation.harness import Report

LAYOUTS = ("text", "markdown")


def format_report(report: Report, layout: str = "text") -> str:
    """Return the whole report: what was done, every protocol in words, the table, what is missing.

    Args:
        report: Result of ``evaluate``.
        layout: ``"text"`` (columns aligned with spaces) or ``"markdown"``.
    """
    checks.one_of("layout", layout, LAYOUTS)
    bullet = "- " if layout == "markdown" else ""
    head = [
        f"{bullet}task: {report.task}, noise sigma {report.noise_sigma:.4g} of [0, 1]",
        f"{bullet}data: {report.data or 'images'}, {report.images} images, "
        f"{report.megapixels:.2f} megapixels",
        *(f"{bullet}protocol {p.name}: {p.describe()}" for p in report.protocols),
    ]
    tail = []
    if report.skipped:
        total = report.images + len(report.skipped)
        tail.append(f"{bullet}skipped {len(report.skipped)} of {total} images:")
        tail += [f"  {bullet}{s.image}: {s.reason}" for s in report.skipped]
    table = _table(report)
    body = _markdown(table) if layout == "markdown" else _aligned(table)
    return "\n".join([*head, "", *body, *([""] if tail else []), *tail])


def _table(report: Report) -> list[list[str]]:
    header = ["method", "parameters"]
    for protocol in report.protocols:
        header += [f"PSNR {protocol.name} [dB]", f"SSIM {protocol.name}"]
    lines = {m.name: [m.name, f"{m.parameters:,}"] for m in report.methods}
    cost = {}
    for summary in report.summaries():
        lines[summary.method] += [f"{summary.psnr:.2f}", f"{summary.ssim:.4f}"]
        cost[summary.method] = [
            f"{summary.seconds_per_megapixel:.3g}", f"{summary.megabytes_per_megapixel:.0f}"
        ]  # fmt: skip
    header += ["s/megapixel", "MB/megapixel"]
    return [header, *([*line, *cost[name]] for name, line in lines.items())]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for line in table:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells))
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _markdown(table: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]
    lines.insert(1, "|---|" + "---:|" * (len(table[0]) - 1))
    return lines
