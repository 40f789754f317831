"""Unrolled graph-signal-prior networks on PyTorch Geometric.

A signal enters as a PyG ``Data``, a learner puts weights on its edges, a prior turns the weights
into an operator, an unrolled solver fills in what was not observed, and the signal leaves.
"""

from gsp_unroll._version import __version__
from gsp_unroll.classification import classify
from gsp_unroll.graph_signal_model import GraphSignalModel
from gsp_unroll.interpolation import NotConvergedWarning, interpolate
from gsp_unroll.topology import Graph, Grid, Topology

__all__ = [
    "Graph",
    "GraphSignalModel",
    "Grid",
    "NotConvergedWarning",
    "Topology",
    "__version__",
    "classify",
    "interpolate",
]
