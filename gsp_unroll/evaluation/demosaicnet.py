"""The trained demosaicking network that one can install from PyPI, as a method to compare with."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsp_unroll import checks
from gsp_unroll.evaluation.classical import MethodError
from gsp_unroll.observe import Task

# The phase that it was trained on, and the rows and columns to put in front of other ones.
_SHIFTS = {"GRBG": (0, 0), "RGGB": (0, 1), "BGGR": (1, 0), "GBRG": (1, 1)}


class DemosaicNet(nn.Module):
    """Deep joint demosaicking (Gharbi et al., 2016), weights of the package ``demosaicnet``.

    It was trained on GRBG; a mosaic of another phase is continued by mirrored rows and columns in
    front until it begins with GRBG.

    Args:
        task: Demosaicking of a Bayer mosaic.

    Shapes:
        - **y, mask:** ``[3, H, W]``
        - **output:** ``[3, H, W]``

    Raises:
        MethodError: If the task is another one, or the package is not installed.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        phase = task.cfa.bayer_phase if task.name == "demosaic" else None
        if phase is None:
            raise MethodError(f"method 'demosaicnet' knows Bayer mosaics only, not {task}")
        self.shift = _SHIFTS[phase]
        # Without padding it returns an image that is 40 pixels smaller.
        self.network = _package().BayerDemosaick(pad=True)

    def forward(self, y: Tensor, mask: Tensor) -> Tensor:
        """Restore one image."""
        checks.shape("y", y, [3, "H", "W"])
        if min(y.shape[1:]) < 3:
            raise ValueError(f"image must be at least 3 x 3, got {y.shape[1]} x {y.shape[2]}")
        rows, columns = self.shift
        mosaic = torch.where(mask, y, 0).float()[None]
        # The network pools pairs of pixels: both sides must be even.
        bottom, right = (y.shape[1] + rows) % 2, (y.shape[2] + columns) % 2
        padded = functional.pad(mosaic, (columns, right, rows, bottom), mode="reflect")
        restored = self.network(padded)[0]
        return restored[:, rows : rows + y.shape[1], columns : columns + y.shape[2]]


def _package() -> types.ModuleType:
    # It imports two packages that its network does not need, and that may be absent: one is gone
    # from setuptools. They are stood in for while it is imported, and only then.
    added = [name for name in ("pkg_resources", "wget") if importlib.util.find_spec(name) is None]
    for name in added:
        sys.modules[name] = types.ModuleType(name)
    if "pkg_resources" in added:
        sys.modules["pkg_resources"].resource_filename = _resource  # type: ignore[attr-defined]
    try:
        return importlib.import_module("demosaicnet")
    except ImportError as error:
        raise MethodError(
            f"method 'demosaicnet' needs its package ({error}): "
            "pip install --no-deps demosaicnet==0.0.14"
        ) from error
    finally:
        for name in added:
            del sys.modules[name]


def _resource(package: str, path: str) -> str:
    return str(Path(sys.modules[package].__file__).parent / path)
