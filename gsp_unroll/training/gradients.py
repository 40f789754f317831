"""Learn whatever the caller has switched off."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

F = TypeVar("F", bound=Callable[..., object])


def with_gradients(fit: F) -> F:
    """Decorate a function that learns: ``no_grad`` and ``inference_mode`` do not reach into it."""

    @functools.wraps(fit)
    def learning(*args: object, **kwargs: object) -> object:
        with torch.inference_mode(False), torch.enable_grad():
            return fit(*args, **kwargs)

    return learning  # type: ignore[return-value]
