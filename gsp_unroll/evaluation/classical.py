"""Methods without learning: the rows every table needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.evaluation import resize
from gsp_unroll.observe import BAYER_PHASES, Task, fill_in

Restore = Callable[[Tensor, Tensor], Tensor]

CLASSICAL = ("fill_in", "bilinear", "malvar", "menon", "bicubic", "bicubic_shifted")


class MethodError(ValueError):
    """A method that does not exist, cannot do the task, or misses its package."""


def classical_names(task: Task) -> list[str]:
    """What a table of ``task`` should have: the classical methods that can do it."""
    if task.name == "interpolate":
        return ["bilinear", "bicubic", "bicubic_shifted"]
    # Malvar and Menon are defined on Bayer mosaics.
    bayer = task.name == "demosaic" and task.cfa.bayer_phase is not None
    return ["bilinear", "malvar", "menon"] if bayer else ["bilinear"]


def classical_method(name: str, task: Task) -> Restore:
    """Return a classical method as a function of the observation and its mask.

    Args:
        name: ``"fill_in"`` (any task; ``observe.fill_in``, where every network starts),
            ``"bilinear"`` (any task; on a Bayer mosaic that of colour-demosaicing, which equals
            ``fill_in`` inside the image but mistakes the phase in the outermost rows and columns;
            on a decimation aligned interpolation, else ``fill_in``), ``"malvar"`` (Malvar et al.,
            2004) and ``"menon"`` (Menon et al., 2007) for Bayer mosaics, ``"bicubic"`` (aligned)
            and ``"bicubic_shifted"`` (as in published tables) for interpolation.
        task: What is restored.

    Returns:
        ``restore(y, mask)``, ``[C, H, W]`` each, computed in float64.

    Raises:
        MethodError: If the method cannot do the task, or colour-demosaicing is not installed.
    """
    checks.one_of("method", name, CLASSICAL)
    if name in ("malvar", "menon"):
        return _bayer_method(name, task)
    if name in ("bicubic", "bicubic_shifted"):
        if task.name != "interpolate":
            raise MethodError(f"method {name!r} does the task 'interpolate' only, not {task}")
        return _on_grid(resize.cubic if name == "bicubic" else resize.cubic_shifted, task.factor)
    if name == "bilinear" and task.name == "demosaic" and task.cfa.bayer_phase:
        return _bayer_method(name, task)
    if name == "bilinear" and task.name == "interpolate":
        return _on_grid(resize.linear, task.factor)
    return lambda y, mask: fill_in(y.double(), mask)


def _bayer_method(name: str, task: Task) -> Restore:
    if task.name != "demosaic":
        raise MethodError(f"method {name!r} does the task 'demosaic' only, not {task}")
    phase = task.cfa.bayer_phase
    if phase is None:
        raise MethodError(
            f"method {name!r} knows Bayer mosaics only ({', '.join(BAYER_PHASES)}), not the colour "
            f"filter array {task.cfa}; use 'bilinear' or a network for it"
        )
    package = _colour_demosaicing(name)
    function = {
        "bilinear": package.demosaicing_CFA_Bayer_bilinear,
        "malvar": package.demosaicing_CFA_Bayer_Malvar2004,
        "menon": package.demosaicing_CFA_Bayer_Menon2007,
    }[name]

    def restore(y: Tensor, mask: Tensor) -> Tensor:
        checks.shape("y", y, [3, "H", "W"])
        # One sample per pixel, so the sum over channels is the mosaic.
        mosaic = torch.where(mask, y, torch.zeros_like(y)).sum(0).cpu().double().numpy()
        if min(mosaic.shape) < 2:
            raise ValueError(
                f"image must be at least 2 x 2 for method {name!r}, "
                f"got {mosaic.shape[0]} x {mosaic.shape[1]}"
            )
        result = np.asarray(function(mosaic, phase), dtype=np.float64)
        return torch.from_numpy(np.ascontiguousarray(result.transpose(2, 0, 1))).to(y.device)

    return restore


def _colour_demosaicing(name: str) -> ModuleType:
    # The package warns at import about optional packages and old scipy names: not the user's news.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import colour_demosaicing
        except ImportError as error:
            raise MethodError(
                f"method {name!r} needs the package colour-demosaicing ({error}): "
                "pip install colour-demosaicing"
            ) from None
    return colour_demosaicing


def _on_grid(interpolation: Callable[[Tensor, int, int, int], Tensor], factor: int) -> Restore:
    def restore(y: Tensor, mask: Tensor) -> Tensor:
        samples = y[..., ::factor, ::factor].double()
        return interpolation(samples, y.shape[-2], y.shape[-1], factor)

    return restore
