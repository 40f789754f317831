"""Graph Laplacian regulariser."""

from __future__ import annotations

from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.ops import planar
from gsp_unroll.topology import Topology

LAPLACIANS = ("combinatorial", "normalized")


class GLR:
    r"""Graph Laplacian regulariser :math:`x^\top Lx=\sum_{(i,j)}w_{ij}(x_i-x_j)^2`.

    ``combinatorial``: :math:`L=\mathrm{diag}(W1)-W`; constants cost nothing, and interpolation
    keeps within the range of the samples. ``normalized``: :math:`L=I-W` for weights whose degrees
    are already normalised to about one; constants are preserved only where the degree is one.

    Args:
        topology: Structure.
        weight: Planar weights ``[*, M]``, or ``[*, 2, M]`` if ``directed``.
        laplacian: One of :data:`LAPLACIANS` (default: ``"combinatorial"``). Directed weights have
            rows that sum to one, so that both are the same for them.
        directed: Whether ``weight`` differs in the two directions (default: ``False``).

    Raises:
        ValueError: If ``laplacian`` is unknown.
    """

    def __init__(
        self,
        topology: Topology,
        weight: Tensor,
        laplacian: str = "combinatorial",
        *,
        directed: bool = False,
    ) -> None:
        checks.one_of("laplacian", laplacian, LAPLACIANS)
        self.topology = topology
        self.weight = weight
        self.laplacian = laplacian
        self.directed = directed
        self._deficit = None
        if laplacian == "normalized" and not directed:
            # I - W = (D - W) + (I - D)
            self._deficit = 1 - planar.degree(topology, weight).unsqueeze(-2)

    def operator(self, x: Tensor) -> Tensor:
        """``L x``: ``[*, C, N] -> [*, C, N]``."""
        if self.directed:
            return planar.directed_laplacian(self.topology, self.weight, x)
        y = planar.laplacian(self.topology, self.weight, x)
        return y if self._deficit is None else y + self._deficit * x

    @property
    def shift(self) -> Tensor | float:
        """What ``L`` has on its diagonal besides the degree: ``[*, 1, N]``, or 0."""
        return 0.0 if self._deficit is None else self._deficit

    def energy(self, x: Tensor) -> Tensor:
        r""":math:`x^\top Lx` of each system: ``[*, C, N] -> [*, C, G]``."""
        return self.topology.graph_sum(x * self.operator(x))
