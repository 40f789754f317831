"""Kernels without autograd, chosen by name; every backend gives the same numbers."""

from gsp_unroll.ops.backends.base import Kernels
from gsp_unroll.ops.backends.registry import available_backends, graph_kernels, grid_kernels

__all__ = ["Kernels", "available_backends", "graph_kernels", "grid_kernels"]
