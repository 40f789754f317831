"""Which kernels a backend's name stands for, and which package it needs.

================  ==========================================================  ==================
name              kernels                                                     package
================  ==========================================================  ==================
`native`          the fastest of `torch`, `triton` and Numba's for the device
`torch`           shifted images on a grid, sparse products on a graph
`gather_scatter`  the plain way, to compare with
`torch_scatter`   sums over the sorted edges of each node                     torch-scatter
`torch_sparse`    products with sparse matrices                               torch-sparse
`triton`          gathers on CUDA                                             triton
================  ==========================================================  ==================
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

import torch

from gsp_unroll.ops.backends.base import Kernels
from gsp_unroll.topology import BACKENDS

if TYPE_CHECKING:
    from gsp_unroll.topology import Graph, Grid, Topology

# Modules and classes for grids and for graphs, imported when first asked for.
_KERNELS = {
    "torch": ("stencil.StencilKernels", "csr.CSRKernels"),
    "gather_scatter": ("gather_scatter.GatherScatterKernels",) * 2,
    "torch_scatter": ("torch_scatter_kernels.TorchScatterKernels",) * 2,
    "torch_sparse": ("torch_sparse_kernels.TorchSparseKernels",) * 2,
    "triton": ("triton_grid.TritonGridKernels", "triton_graph.TritonGraphKernels"),
    "numba": ("numba_grid.NumbaGridKernels", "numba_graph.NumbaGraphKernels"),
}
_INSTALL = {
    "torch_scatter": "pip install --no-build-isolation torch-scatter",
    "torch_sparse": "pip install --no-build-isolation torch-scatter torch-sparse",
    "triton": "pip install 'triton>=3.3'; CUDA builds of PyTorch bring it",
    "numba": "pip install numba",
}
_FASTEST = {"cpu": "numba", "cuda": "triton"}


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """The backends that can compute on ``device`` here, in the order of ``topology.BACKENDS``.

    Args:
        device: Device of the tensors (default: CPU).

    Examples:
        >>> "native" in available_backends("cpu")
        True
    """
    kind = torch.device(device).type
    return tuple(name for name in BACKENDS if _computes_on(name, kind))


def grid_kernels(grid: Grid) -> Kernels:
    """The kernels of ``grid.backend``.

    Raises:
        ImportError: If they need a package that cannot be imported.
    """
    return _kernels(grid, 0)


def graph_kernels(graph: Graph) -> Kernels:
    """The kernels of ``graph.backend``.

    Raises:
        ImportError: If they need a package that cannot be imported.
    """
    return _kernels(graph, 1)


def _kernels(topology: Topology, which: int) -> Kernels:
    name = topology.backend
    if name == "native":
        name = _fastest(topology.device.type)
    if (problem := _problem(name)) is not None:
        raise ImportError(
            f"backend {name!r} needs the package {name}, which cannot be used here: {problem}; "
            f"install it with: {_INSTALL[name]}"
        )
    module, kind = _KERNELS[name][which].split(".")
    return getattr(import_module(f"gsp_unroll.ops.backends.{module}"), kind)(topology)


def _fastest(kind: str) -> str:
    name = _FASTEST.get(kind, "torch")
    return name if _problem(name) is None else "torch"


def _computes_on(name: str, kind: str) -> bool:
    if name not in _INSTALL:
        return True
    if _problem(name) is not None:
        return False
    if name == "triton":
        # On the CPU kernels can only be interpreted, to debug them.
        return kind == "cuda" or (kind == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")
    return kind == "cpu" or (kind == "cuda" and getattr(torch.ops, name).cuda_version() != -1)


@lru_cache
def _problem(name: str) -> str | None:
    """Why the package of a backend cannot be used, ``None`` if it can or none is needed."""
    if name not in _INSTALL:
        return None
    try:
        package = import_module(name)
    except (ImportError, OSError) as error:  # OSError: built for another version of PyTorch
        return str(error)
    if name == "triton" and tuple(map(int, package.__version__.split(".")[:2])) < (3, 3):
        return f"version {package.__version__} is too old"
    return None
