"""A training step of the published networks, 64x64 patches, batch 8, and where its time goes.

``python benchmarks/training_step.py`` times forward + backward + Adam on the native operators and
on gather-scatter ones, the same network otherwise, in turns. Plain gather-scatter under autograd
does not fit with 8 patches: it is timed with one, beside native operators with one; the native step
also with directions kept for backward. The profile of both native steps follows every operation,
and its backward, to the part of the network that called it.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from measure import measure_all, named, parser, print_table, write_json
from networks import MESSAGES, TrainingStep
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

# Modes of the native step.
KEPT = ("plain", "directions kept")
PARTS = ("convolutions", "graph learning", "solver", "rest")


def profile_step(step: TrainingStep) -> dict[str, dict[str, float]]:
    """Share of each of :data:`PARTS` in one step, and the ten largest operations in them."""
    step()
    with _labelled(step.model), profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    events = profiler.events()
    # An operation of the backward carries the number that its forward had.
    part_of_number = {
        event.sequence_nr: part
        for event in events
        if event.sequence_nr >= 0 and (part := _scope(event)) is not None
    }
    parts: dict[str, float] = defaultdict(float)
    operations: dict[str, float] = defaultdict(float)
    for event in events:
        part = _scope(event) or _numbered(event, part_of_number) or "rest"
        parts[part] += event.self_cpu_time_total
        if not event.name.startswith("part: "):
            operations[f"{part}: {event.name}"] += event.self_cpu_time_total
    total = sum(parts.values())
    largest = sorted(operations, key=operations.__getitem__, reverse=True)[:10]
    return {
        "parts": {part: parts[part] / total for part in PARTS},
        "largest": {name: operations[name] / total for name in largest},
    }


@contextlib.contextmanager
def _labelled(model: nn.Module) -> Iterator[None]:
    """Mark the parts of every block in the profile."""
    with contextlib.ExitStack() as stack:
        for block in model.blocks:
            for owner, method, part in (
                (block.features, "forward", "convolutions"),
                (block.graph, "weights", "graph learning"),
                (block, "restore", "solver"),
            ):
                stack.enter_context(_label(owner, method, part))
        yield


@contextlib.contextmanager
def _label(owner: nn.Module, method: str, part: str) -> Iterator[None]:
    original = getattr(owner, method)

    def labelled(*args: Any, **kwargs: Any) -> Any:
        with record_function(f"part: {part}"):
            return original(*args, **kwargs)

    setattr(owner, method, labelled)
    try:
        yield
    finally:
        delattr(owner, method)


def _ancestors(event: Any) -> Iterator[Any]:
    while event is not None:
        yield event
        event = event.cpu_parent


def _scope(event: Any) -> str | None:
    """The part that an event was called from."""
    for ancestor in _ancestors(event):
        if ancestor.name.startswith("part: "):
            return ancestor.name.removeprefix("part: ")
    return None


def _numbered(event: Any, part_of_number: dict[int, str]) -> str | None:
    """The part whose backward an event belongs to."""
    for ancestor in _ancestors(event):
        if ancestor.name.startswith("autograd::engine::evaluate_function"):
            return part_of_number.get(ancestor.sequence_nr)
    return None


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "training_step")
    options.add_argument("--batch", type=int, default=8, help="default: %(default)s")
    options.add_argument(
        "--native", action="store_true", help="time native operators only, batch by batch"
    )
    args = options.parse_args(argv)
    torch.set_num_threads(args.threads)
    side = 16 if args.quick else 64
    repeats = {"repeats": 1 if args.quick else 7, "warmup": 0, "min_seconds": 0.0}
    repeats["max_seconds"] = 30.0
    results, rows, shares = {}, [], []
    for network in ["ugtv"] if args.quick else ["ugtv", "uglr"]:
        timings = {}
        for batch, baseline in ((args.batch, "gather_scatter"), (1, MESSAGES)):
            steps = {
                named(name, mode): TrainingStep(network, name, batch, side, mode, args.quick)
                for name, mode in (*(("native", mode) for mode in KEPT), (baseline, "plain"))
                if name == "native" or not args.native
            }
            _check_equal(steps)
            timings[str(batch)] = measure_all(steps, **repeats)
            slowest = max(timing.median for timing in timings[str(batch)].values())
            for name, timing in timings[str(batch)].items():
                faster = slowest / timing.median
                rows.append([f"{network} {name}", batch, str(timing), f"{faster:.2f}"])
            del steps
        profiles = {}
        for mode in KEPT:
            step = TrainingStep(network, "native", args.batch, side, mode, args.quick)
            profiles[mode] = profile_step(step)
            parts = [f"{100 * profiles[mode]['parts'][part]:.0f} %" for part in PARTS]
            shares.append([named(network, mode), *parts])
        results[network] = {"steps": timings, "profile": profiles}
    print_table(["training step", "patches", "time", "faster"], rows)
    print()
    print_table(["share of the native step", *PARTS], shares)
    for network, result in results.items():
        print(f"\nlargest operations of {network}")
        for name, share in result["profile"]["plain"]["largest"].items():
            print(f"  {100 * share:5.1f} %  {name}")
    write_json(args.out, {"batch": args.batch, "side": side, "networks": results})
    print(f"wrote {args.out}")


def _check_equal(steps: dict[str, TrainingStep]) -> None:
    """The same loss, or the times are of different things; the same gradient whatever is kept."""
    plain, kept = (steps[named("native", mode)].gradient() for mode in ("plain", "directions kept"))
    if not torch.equal(plain, kept):
        raise ValueError("gradients differ with directions kept")
    losses = {}
    for name, step in steps.items():
        with torch.no_grad(), step.context():
            losses[name] = float(step.forward())
    low, high = min(losses.values()), max(losses.values())
    if not high - low <= 1e-4 * high:
        raise ValueError(f"losses differ: {losses}")


if __name__ == "__main__":
    main()
