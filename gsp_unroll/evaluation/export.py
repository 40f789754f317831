"""A report as files: CSV per image, CSV per method, JSON with everything needed to repeat it."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import torch

from gsp_unroll.evaluation.harness import Report
from gsp_unroll.files import write_atomically

_PACKAGES = ("torch", "torch-geometric", "numpy", "scikit-image", "colour-demosaicing", "pillow")


def write_report(
    report: Report, folder: str | os.PathLike[str], stem: str | None = None, command: str = ""
) -> list[Path]:
    """Write ``STEM_images.csv``, ``STEM_summary.csv`` and ``STEM.json``, each atomically.

    Args:
        report: Result of ``evaluate``.
        folder: Created if missing.
        stem: Start of the file names; made from task, data and noise if ``None``, so that
            different evaluations can share a folder.
        command: Command line to note in the JSON.

    Returns:
        The paths written.
    """
    folder = Path(folder)
    stem = stem or default_stem(report)
    return [
        write_atomically(folder / f"{stem}_images.csv", _csv(*_image_lines(report))),
        write_atomically(folder / f"{stem}_summary.csv", _csv(*_summary_lines(report))),
        write_atomically(folder / f"{stem}.json", _json(report, command)),
    ]


def default_stem(report: Report) -> str:
    """Return e.g. ``demosaic_RGGB_kodak`` or ``interpolate_x2_builtin-test_noise0.098``."""
    detail = {
        "demosaic": str(report.task.cfa).replace("/", "-"),
        "interpolate": f"x{report.task.factor}",
        "inpaint": f"{report.task.ratio:g}",
    }[report.task.name]
    parts = [report.task.name, detail, report.data]
    if report.noise_sigma:
        parts.append(f"noise{report.noise_sigma:.3g}")
    safe = "_".join(part for part in parts if part)
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in safe)


def _image_lines(report: Report) -> tuple[list[str], list[list[object]]]:
    header = ["task", "image", "height", "width", "method", "protocol"]
    header += ["mse", "psnr_db", "ssim", "seconds", "peak_bytes"]
    lines = [
        [
            report.task.name,
            row.image,
            row.height,
            row.width,
            row.method,
            name,
            f"{score.mse:.9g}",
            f"{score.psnr:.6f}",
            f"{score.ssim:.6f}",
            f"{row.seconds:.6f}",
            row.peak_bytes,
        ]
        for row in report.rows
        for name, score in row.scores.items()
    ]
    return header, lines


def _summary_lines(report: Report) -> tuple[list[str], list[list[object]]]:
    header = ["task", "method", "parameters", "protocol", "psnr_db", "ssim", "images"]
    header += ["seconds_per_megapixel", "megabytes_per_megapixel"]
    lines = [
        [
            report.task.name,
            s.method,
            s.parameters,
            s.protocol,
            f"{s.psnr:.6f}",
            f"{s.ssim:.6f}",
            s.images,
            f"{s.seconds_per_megapixel:.6f}",
            f"{s.megabytes_per_megapixel:.3f}",
        ]
        for s in report.summaries()
    ]
    return header, lines


def _csv(header: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue().encode()


def _json(report: Report, command: str) -> bytes:
    content = {
        "task": {
            "name": report.task.name,
            "text": str(report.task),
            "noise_sigma": report.noise_sigma,
            "seed": report.seed,
        },
        "data": {
            "name": report.data,
            "images": report.images,
            "megapixels": report.megapixels,
            "skipped": [{"image": s.image, "reason": s.reason} for s in report.skipped],
        },
        "protocols": {p.name: p.fields() for p in report.protocols},
        "summary": [vars(s) for s in report.summaries()],
        "rows": [
            {
                "image": row.image,
                "method": row.method,
                "seconds": row.seconds,
                "peak_bytes": row.peak_bytes,
                "scores": {name: vars(score) for name, score in row.scores.items()},
            }
            for row in report.rows
        ],
        "machine": _machine(report.device),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command,
    }
    return (json.dumps(_plain(content), indent=2, allow_nan=False) + "\n").encode()


def _machine(device: str) -> dict[str, object]:
    machine: dict[str, object] = {
        "platform": platform.platform(),
        "processor": processor(),
        "python": platform.python_version(),
        "device": device,
        "threads": torch.get_num_threads(),
        "packages": {name: package_version(name) for name in ("gsp-unroll", *_PACKAGES)},
    }
    if device.startswith("cuda"):
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def processor() -> str:
    """Name of the CPU and the widest instructions that it has, e.g. ``"AMD EPYC (AVX512)"``."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def package_version(package: str) -> str | None:
    """Version of an installed package; ``None`` if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(value: object) -> object:
    """Replace what JSON lacks: infinity and NaN become the strings "inf", "-inf", "nan"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
