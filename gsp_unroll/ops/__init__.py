"""Graph operators with lean autograd in PyG's layout; :mod:`.planar` is the networks' own."""

from gsp_unroll.ops.public import (
    degree,
    difference,
    difference_adjoint,
    edge_softmax,
    laplacian,
)

__all__ = ["degree", "difference", "difference_adjoint", "edge_softmax", "laplacian"]
