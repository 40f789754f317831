"""What a backend has to compute. A new one implements these eight products and nothing else."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Kernels(Protocol):
    """Products on one topology in the planar layout; no autograd, no checks.

    Shapes: ``w [*, M]``, ``x, g [*, C, N]``, ``e [*, C, M]``, ``s [*, N]``. Leading dimensions of
    all arguments agree. Unused slots are never read and come out as zero.
    """

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        """``y_i = sum_{e = (i, j)} w_e (x_i - x_j)`` -> ``[*, C, N]``."""

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        """``sum_c (x_u - x_v)(g_u - g_v)`` -> ``[*, M]``."""

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        """``sum_c e_c (x_u - x_v)`` -> ``[*, M]``."""

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        """``w_e (x_u - x_v)`` -> ``[*, C, M]``."""

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        """Adjoint of :meth:`difference` in ``x`` -> ``[*, C, N]``."""

    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """``(s_u, s_v)`` for each edge, each ``[*, M]``."""

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        """Adjoint of :meth:`at_ends`: each value added up at its own end -> ``[*, N]``."""

    def max_ends(self, w: Tensor) -> Tensor:
        """Largest value on the edges of each node -> ``[*, N]``; ``-inf`` at isolated nodes."""
