"""Structure of graphs: :class:`Grid` (offsets only) and :class:`Graph` (any ``edge_index``)."""

from gsp_unroll.topology.base import BACKENDS, Topology
from gsp_unroll.topology.graph import Graph
from gsp_unroll.topology.grid import Grid

__all__ = ["BACKENDS", "Graph", "Grid", "Topology"]
