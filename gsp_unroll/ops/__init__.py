"""Graph operators with lean autograd in PyG's layout; :mod:`.planar` is the networks' own."""

from gsp_unroll.ops.backends import available_backends
from gsp_unroll.ops.public import (
    degree,
    difference,
    difference_adjoint,
    edge_softmax,
    laplacian,
)

__all__ = [
    "available_backends",
    "degree",
    "difference",
    "difference_adjoint",
    "edge_softmax",
    "laplacian",
]
