"""What several commands take."""

from __future__ import annotations

import argparse
from fractions import Fraction

DEVICE_HELP = "cpu, cuda, cuda:1, ... (default auto: cuda if present)"


def number(text: str) -> float:
    """A number or a fraction such as ``25/255``, as a type of argparse."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"must be a number or a fraction such as 25/255, got {text!r}"
        ) from None


def device_from(name: str) -> str:
    """``name``, or for ``auto`` the best that is there; ``ValueError`` if it is not there."""
    import torch

    from gsp_unroll import checks

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    checks.device("device", name)
    return name
