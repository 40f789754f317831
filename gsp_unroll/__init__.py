"""Unrolled graph-signal-prior networks on PyTorch Geometric.

A signal enters as a PyG ``Data``, a learner puts weights on its edges, a prior turns the weights
into an operator, an unrolled solver fills in what was not observed, and the signal leaves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gsp_unroll._version import __version__

if TYPE_CHECKING:
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

_MODULE_OF = {
    "Graph": "topology",
    "GraphSignalModel": "graph_signal_model",
    "Grid": "topology",
    "NotConvergedWarning": "interpolation",
    "Topology": "topology",
    "classify": "classification",
    "interpolate": "interpolation",
}


def __getattr__(name: str) -> Any:
    """Import at first use (PEP 562): PyTorch and PyG take seconds, which ``--help`` needs not."""
    module = f"{__name__}.{_MODULE_OF.get(name, name)}"
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(found, name) if name in _MODULE_OF else found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
