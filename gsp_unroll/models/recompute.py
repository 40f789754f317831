"""Recompute parts of a block in backward instead of keeping them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(block: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``; run again in backward if ``block`` is asked to (``checkpointing``).

    Nothing in a block is random: no state of a generator is kept.
    """
    if block.config.checkpointing and block.training:
        return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return function(*arguments)
