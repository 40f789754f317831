"""Argument checks of the public functions: name the argument, what came, what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Protocol

import torch
from torch import Tensor


def one_of(argument: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ``ValueError`` unless ``value`` is among ``allowed``; suggests the nearest name."""
    names = list(allowed)
    if value in names:
        return
    raise ValueError(
        f"{argument} must be one of {', '.join(map(repr, names))}, got {value!r}"
        f"{did_you_mean(value, names)}"
    )


def did_you_mean(value: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a message that suggests the nearest of ``known``; empty if none is near."""
    near = difflib.get_close_matches(str(value), list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def tensor(argument: str, value: object) -> Tensor:
    """Return ``value`` if it is a tensor, else raise ``TypeError``."""
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        hint = "; give what its method mask(height, width) returns" if kind == "CFA" else ""
        raise TypeError(f"{argument} must be a torch.Tensor, got {kind}{hint}")
    return value


def boolean_tensor(argument: str, value: object, meaning: str = "observed") -> Tensor:
    """Return ``value`` if it is a bool tensor, else raise ``TypeError``; ``True`` = ``meaning``."""
    if tensor(argument, value).dtype != torch.bool:
        raise TypeError(f"{argument} must be a bool tensor (True = {meaning}), got {value.dtype}")
    return value


def mask_of(name: str, value: Tensor, mask: object) -> Tensor:
    """Return ``mask`` expanded to ``value``, which messages call ``name``.

    Raises:
        TypeError: If ``mask`` is not a bool tensor.
        ValueError: If it is on another device or does not broadcast to ``value``.
    """
    mask = boolean_tensor("mask", mask)
    same_device(**{name: value, "mask": mask})
    try:
        return mask.expand_as(value)
    except RuntimeError:
        raise ValueError(
            f"mask must have a shape that broadcasts to {name} {list(value.shape)}, "
            f"got {list(mask.shape)}"
        ) from None


def floating(argument: str, value: Tensor) -> None:
    """Raise ``TypeError`` unless ``value`` is a real floating-point tensor."""
    if not tensor(argument, value).is_floating_point():
        raise TypeError(
            f"{argument} must be a floating-point tensor, got {value.dtype}; convert it first, "
            f"e.g. {argument}.float()"
        )


def finite(argument: str, value: Tensor) -> None:
    """Raise ``ValueError`` if ``value`` holds NaN or infinity, naming the first place."""
    bad = ~torch.isfinite(value)
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{argument} must be finite, got {value[where].item()} at index {where} "
            f"({int(bad.sum())} such entries)"
        )


def shape(argument: str, value: Tensor, expected: Sequence[int | str | None]) -> None:
    """Raise ``ValueError`` unless ``value.shape`` matches ``expected``.

    Args:
        argument: Name used in the message.
        value: Tensor to check.
        expected: One entry per dimension: an ``int`` must match, a ``str`` names a free dimension.
    """
    ok = value.dim() == len(expected) and all(
        not isinstance(e, int) or e == s for e, s in zip(expected, value.shape, strict=True)
    )
    if not ok:
        wanted = ", ".join(str(e) for e in expected)
        raise ValueError(f"{argument} must have shape [{wanted}], got {list(value.shape)}")


class HasDevice(Protocol):
    """A tensor, or a topology."""

    @property
    def device(self) -> torch.device:
        """Where it lives."""


def edges(argument: str, value: object, num_nodes: int) -> None:
    """Raise unless ``value`` is an int64 tensor ``[2, E]`` of nodes in ``[0, num_nodes)``."""
    if tensor(argument, value).dtype != torch.int64:
        raise TypeError(f"{argument} must be an int64 tensor, got {value.dtype}")
    shape(argument, value, [2, "E"])
    if value.numel():
        low, high = (int(end) for end in value.aminmax())
        if low < 0 or high >= num_nodes:
            outside = ((value < 0) | (value >= num_nodes)).any(0)
            raise ValueError(
                f"{argument} must lie in [0, num_nodes) = [0, {num_nodes}), "
                f"got {first_edge(value, outside)}"
            )


def first_edge(edge_index: Tensor, which: Tensor) -> str:
    """The first of ``edge_index [2, E]`` that ``which [E]`` marks, for a message."""
    place = int(which.nonzero()[0])
    return f"column {place}: ({int(edge_index[0, place])}, {int(edge_index[1, place])})"


def same_device(**things: HasDevice) -> None:
    """Raise ``ValueError`` unless all keyword arguments live on one device."""
    devices = {name: thing.device for name, thing in things.items()}
    if len(set(devices.values())) > 1:
        listed = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(
            f"all arguments must be on one device, got {listed}; move them with .to(device)"
        )


def device(argument: str, value: torch.device | str) -> torch.device:
    """Return a device that is there and computes, else raise ``ValueError``."""
    try:
        found = torch.device(value)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type == "meta":
        raise ValueError(
            f"{argument} must be cpu, cuda, cuda:N or another device of torch, got {value!r}"
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"{argument} {str(value)!r} is not there: this machine offers "
            f"{torch.cuda.device_count()} CUDA devices to torch"
        )
    return found


def positive_int(argument: str, value: object, minimum: int = 1) -> int:
    """Return ``value`` if it is an ``int`` of at least ``minimum``, else raise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an int, got {type(value).__name__} {value!r}")
    if value < minimum:
        raise ValueError(f"{argument} must be at least {minimum}, got {value}")
    return value


def boolean(argument: str, value: object) -> None:
    """Raise ``TypeError`` unless ``value`` is ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, got {type(value).__name__} {value!r}")


def share_range(argument: str, value: object, open_low: bool = False) -> tuple[float, float]:
    """Return two shares ``(low, high)`` in [0, 1), or in (0, 1) with ``open_low``."""
    try:
        low, high = (float(share) for share in value)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} must be two numbers (low, high), got {value!r}") from None
    if not 0 <= low <= high < 1 or (open_low and low == 0):
        sign = "<" if open_low else "<="
        raise ValueError(
            f"{argument} must be (low, high), 0 {sign} low <= high < 1, got {(low, high)}"
        )
    return low, high


def in_range(
    argument: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return ``value`` as ``float`` if it is a finite number in ``[low, high]``, else raise.

    With ``open_low`` it must be more than ``low``, with ``open_high`` less than ``high``.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} must be a number, got {type(value).__name__} {value!r}")
    number = float(value)
    too_low = low is not None and (number <= low if open_low else number < low)
    too_high = high is not None and (number >= high if open_high else number > high)
    if not math.isfinite(number) or too_low or too_high:
        left = f"{'>' if open_low else '>='} {low}" if low is not None else ""
        right = f"{'<' if open_high else '<='} {high}" if high is not None else ""
        rule = " and ".join(part for part in (left, right) if part)
        raise ValueError(f"{argument} must be finite{rule and f' and {rule}'}, got {value!r}")
    return number
