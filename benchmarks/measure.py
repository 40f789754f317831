"""How everything in this folder is measured: one contract for time, memory and what is written.

* Time is the median and the interquartile range of repeated calls after a warm-up. Candidates of
  one comparison take turns in one process, so that a drift of the machine meets all of them.
* Memory is the peak resident set of a process of its own, minus that of an idle process that made
  the same imports: what ``/usr/bin/time -v`` reports.
* Results are one JSON file each, with the machine, the versions and the command line beside them.

No benchmark asserts a time; what must not get worse is counted in bytes and calls by the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import random
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gsp_unroll.evaluation.export import package_version, processor
from gsp_unroll.files import write_atomically

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "gsp-unroll", "torch", "torch-geometric", "numpy", "scipy", "numba", "triton", "torch-scatter",
    "torch-sparse", "pyamg", "colour-demosaicing", "demosaicnet",
)  # fmt: skip


# --- time ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Time of one call in seconds.

    Attributes:
        median: Median over the repeats.
        iqr: Interquartile range over the repeats.
        repeats: Number of repeats.
    """

    median: float
    iqr: float
    repeats: int

    @staticmethod
    def of(seconds: Sequence[float]) -> Timing:
        """Summary of single times."""
        low, middle, high = np.percentile(seconds, [25, 50, 75])
        return Timing(float(middle), float(high - low), len(seconds))

    def __str__(self) -> str:
        return f"{1e3 * self.median:.2f} ± {1e3 * self.iqr:.2f} ms"


def measure(
    call: Callable[[], object],
    *,
    warmup: int = 2,
    repeats: int = 11,
    min_seconds: float = 0.02,
    max_seconds: float = 60.0,
) -> Timing:
    """Time one call; arguments as in :func:`measure_all`."""
    timings = measure_all(
        {"": call},
        warmup=warmup,
        repeats=repeats,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
    )
    return timings[""]


def measure_all(
    calls: Mapping[str, Callable[[], object]],
    *,
    warmup: int = 2,
    repeats: int = 11,
    min_seconds: float = 0.02,
    max_seconds: float = 60.0,
) -> dict[str, Timing]:
    """Time several calls that take turns, in another order each round.

    Args:
        calls: What to time, by name.
        warmup: Calls of each before its first repeat, beside one that finds out how long it takes
            (default: 2).
        repeats: Repeats of each (default: 11).
        min_seconds: A repeat lasts at least this long; short calls are made several times in it
            (default: 0.02).
        max_seconds: A call stops after three repeats or more that took this long, even if
            ``repeats`` is not reached (default: 60).

    Returns:
        The timing of each call, in the order of ``calls``.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = random.Random(0)
    times = {}
    for name, call in calls.items():
        for _ in range(warmup):
            _time(call, 1)
        times[name] = max(1, math.ceil(min_seconds / _time(call, 1)))
    waiting = list(calls)
    while waiting:
        order.shuffle(waiting)
        for name in waiting:
            seconds[name].append(_time(calls[name], times[name]))
        waiting = [
            name
            for name in waiting
            if len(seconds[name]) < repeats
            and (len(seconds[name]) < 3 or times[name] * sum(seconds[name]) < max_seconds)
        ]
    return {name: Timing.of(values) for name, values in seconds.items()}


def _time(call: Callable[[], object], times: int) -> float:
    """Seconds of one of ``times`` calls."""
    _synchronize()
    start = time.perf_counter()
    for _ in range(times):
        call()
    _synchronize()
    return (time.perf_counter() - start) / times


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Bandwidth:
    """Speed of a plain copy between two arrays that no cache holds.

    Every byte copied is read once and written once: the memory moves twice ``copied``.

    Attributes:
        copied: Bytes copied each second.
        array_bytes: Size of the array.
        threads: Threads that copied.
        timing: Time of one copy.
    """

    copied: float
    array_bytes: int
    threads: int
    timing: Timing

    def seconds(self, size: int) -> float:
        """Time to copy ``size`` bytes."""
        return size / self.copied


def copy_bandwidth(threads: int | None = None, device: torch.device | str = "cpu") -> Bandwidth:
    """Measure the copy bandwidth, to be called in the run whose bound it is.

    Args:
        threads: Threads to copy with (default: as many as torch uses now).
        device: Where to copy (default: CPU).
    """
    before = torch.get_num_threads()
    threads = threads or before
    size = max(8 * _last_level_cache(), 256 << 20)
    source = torch.ones(size // 4, device=device)
    target = torch.zeros_like(source)
    torch.set_num_threads(threads)
    try:
        timing = measure(lambda: target.copy_(source), warmup=3, repeats=21)
    finally:
        torch.set_num_threads(before)
    return Bandwidth(size / timing.median, size, threads, timing)


def _last_level_cache() -> int:
    """Bytes of the largest cache, 32 MiB if the system does not say."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(path.read_text().strip().removesuffix("K")) << 10)
    return max(sizes, default=32 << 20)


# --- memory -------------------------------------------------------------------------------------

# Linux lets a child inherit the peak of the process it was forked from. So a bare interpreter
# stands between, and hands the peak of its own child to the descriptor in its first argument.
_LAUNCHER = """
import os, sys
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(pid, 0)
os.write(int(sys.argv[1]), str(usage.ru_maxrss).encode())
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


@dataclass(frozen=True)
class PeakMemory:
    """Peak resident memory of one process, in bytes.

    Attributes:
        peak: Of the process itself.
        idle: Of the idle process, 0 if none was given.
        output: What the process printed.
    """

    peak: int
    idle: int
    output: str

    @property
    def above_idle(self) -> int:
        """``peak - idle``."""
        return self.peak - self.idle


def peak_memory(command: Sequence[str], idle: Sequence[str] | None = None) -> PeakMemory:
    """Run ``command`` as a process of its own and return its peak resident memory.

    Args:
        command: Program and arguments; its error output is passed on.
        idle: The same program stopped after its imports (default: count from zero).

    Raises:
        subprocess.CalledProcessError: If a process fails, out of memory included.
    """
    base = _peak(idle)[0] if idle is not None else 0
    peak, output = _peak(command)
    return PeakMemory(peak, base, output)


def _peak(command: Sequence[str]) -> tuple[int, str]:
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writer), *command],
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=(writer,),
                check=True,
            )
        finally:
            os.close(writer)
        return _bytes(int(pipe.read())), done.stdout


def own_peak() -> int:
    """Peak resident memory of this process until now, in bytes."""
    return _bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _bytes(ru_maxrss: int) -> int:
    # Linux counts kilobytes, macOS bytes.
    return ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- results ------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What a number depends on: processor, memory, devices, versions, date, command line."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", *_short_arguments()]),
    }


def measured_by(facts: Mapping[str, Any]) -> str:
    """With which command, where and on which day, from what :func:`machine` wrote down."""
    return (
        f"`{facts['command']}`, {facts['processor']}, {facts['threads']} threads, torch "
        f"{facts['packages']['torch']}, {facts['date'][:10]}."
    )


def _short_arguments() -> list[str]:
    script = Path(sys.argv[0])
    return [f"{script.parent.name}/{script.name}", *sys.argv[1:]]


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def write_json(path: str | os.PathLike[str], results: Mapping[str, Any]) -> Path:
    """Write ``{"machine": machine(), **results}`` atomically; :class:`Timing` becomes a mapping.

    Returns:
        The path written.
    """
    text = json.dumps({"machine": machine(), **results}, indent=1, default=asdict)
    return write_atomically(path, (text + "\n").encode())


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """The options that every benchmark has: ``--quick``, ``--threads`` and ``--out``.

    Args:
        description: The docstring of the script; its first line is shown.
        name: Name of the result, ``results/NAME.json`` by default.
    """
    options = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    options.add_argument(
        "--quick", action="store_true", help="small sizes and few repeats: does it run?"
    )
    options.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    options.add_argument(
        "--out", type=Path, default=RESULTS / f"{name}.json", help="default: %(default)s"
    )
    return options


def named(operators: str, mode: str) -> str:
    """Operators and mode as tables and plots name them."""
    return operators if mode == "plain" else f"{operators}, {mode}"


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns, the first to the left and the others to the right."""
    cells = [[str(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(headers))]
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join([first, *rest]), flush=True)
