"""Let each node choose between several graphs."""

from __future__ import annotations

from torch import Tensor

from gsp_unroll.ops import planar
from gsp_unroll.topology import Topology

# Below this the total degree of a node counts as this: nodes without an edge.
_SMALLEST_DEGREE = 1e-12


def gated_weights(topology: Topology, weight: Tensor, gate: Tensor) -> Tensor:
    r"""Weights of several graphs, gated at both ends and normalised together.

    .. math::
        \tilde w^h_{ij}=\frac{g^h_ig^h_jw^h_{ij}}{\sqrt{D_iD_j}},\qquad
        D_i=\sum_h\sum_jg^h_ig^h_jw^h_{ij}

    A node whose gate is large in one graph and small in the others follows that graph. The sum
    over the graphs is normalised symmetrically, so its Laplacian has eigenvalues of about 2 at
    most, as that of each graph alone.

    Args:
        topology: Structure.
        weight: Symmetric weights ``[B, heads, M]``, at least 0.
        gate: Positive ``[B, heads, N]``.

    Returns:
        ``[B, heads, M]``, symmetric.
    """
    total = (gate * planar.neighbour_sum(topology, weight, gate)).sum(1, keepdim=True)
    return planar.scale_ends(topology, weight, gate * total.clamp(min=_SMALLEST_DEGREE).rsqrt())
