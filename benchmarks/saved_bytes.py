"""Bytes that autograd keeps for backward: per CG step, per layer and per block, counted exactly.

``python benchmarks/saved_bytes.py`` counts the storages that the published networks save on one
64x64 patch, by differences between networks that have one step, layer or block more. Seconds, and
the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from measure import named, parser, print_table, write_json
from networks import MESSAGES, TrainingStep

HEADS, CHANNELS = 4, 3
CASES = (
    (MESSAGES, "plain"),
    ("native", "plain"),
    ("native", "checkpointed"),
    ("native", "directions kept"),
    ("gather_scatter", "plain"),
    ("gather_scatter", "checkpointed"),
)


def saved(step: TrainingStep) -> int:
    """Bytes of all distinct storages that the forward pass keeps for the backward pass."""
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage)
        return tensor

    with step.context(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # What autograd has saved lives as long as the loss does, so no address is used twice.
        loss = step.forward()
    del loss
    return sum(storage.nbytes() for storage in kept.values())


def increments(network: str, operators: str, mode: str, side: int) -> dict[str, int]:
    """What one more CG step, layer (of 10 steps) and block (of 5 layers) keep."""

    def total(blocks: int, layers: int, cg_steps: int) -> int:
        size = {"blocks": blocks, "layers": layers, "cg_steps": cg_steps}
        return saved(TrainingStep(network, operators, 1, side, mode=mode, size=size))

    return {
        "step": (total(1, 2, 4) - total(1, 2, 3)) // 2,
        "layer": total(1, 3, 10) - total(1, 2, 10),
        "block": total(2, 5, 10) - total(1, 5, 10),
    }


def features(side: int) -> int:
    """What the convolutions of a block keep: their inputs, which are the outputs of the ReLUs."""
    return (CHANNELS + 3 * 48) * side * side * 4


def main(argv: Sequence[str] | None = None) -> None:
    args = parser(__doc__, "saved_bytes").parse_args(argv)
    side = 16 if args.quick else 64
    signal = HEADS * CHANNELS * side * side * 4
    cases: list[dict[str, Any]] = []
    rows = []
    for network in ["ugtv"] if args.quick else ["uglr", "ugtv"]:
        for operators, mode in CASES[:2] if args.quick else CASES:
            counted = increments(network, operators, mode, side)
            case = {"network": network, "operators": operators, "mode": mode}
            cases.append({**case, **counted})
            name = f"{network} {named(operators, mode)}"
            rows.append(
                [name, *(f"{counted[k] / 1e6:.3f}" for k in counted)]
                + [f"{counted[k] / signal:.1f}" for k in counted]
            )
    headers = ["MB kept for", "a step", "a layer", "a block", "in signals:", "layer", "block"]
    print_table(headers, rows)
    write_json(
        args.out,
        {"side": side, "signal": signal, "features": features(side), "cases": cases},
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
