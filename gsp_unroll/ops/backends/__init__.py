"""Kernels without autograd, chosen by name; every backend gives the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsp_unroll.ops.backends.base import Kernels
from gsp_unroll.ops.backends.csr import CSRKernels
from gsp_unroll.ops.backends.gather_scatter import GatherScatterKernels
from gsp_unroll.ops.backends.stencil import StencilKernels

if TYPE_CHECKING:
    from gsp_unroll.topology import Graph, Grid

__all__ = ["Kernels", "graph_kernels", "grid_kernels"]


def grid_kernels(grid: Grid) -> Kernels:
    """The kernels named by ``grid.backend``."""
    return {"native": StencilKernels, "gather_scatter": GatherScatterKernels}[grid.backend](grid)


def graph_kernels(graph: Graph) -> Kernels:
    """The kernels named by ``graph.backend``."""
    return {"native": CSRKernels, "gather_scatter": GatherScatterKernels}[graph.backend](graph)
