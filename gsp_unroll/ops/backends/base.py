"""What a backend has to compute. A new one implements eight products and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gsp_unroll.topology import Topology

# Weights of a GTV problem are raised to this: the derivative of a square root has no bound.
SMALLEST_WEIGHT = 1e-12


class Kernels(ABC):
    """Products on one topology in the planar layout; no autograd, no checks.

    Shapes: ``w [*, M]``, ``x, g [*, C, N]``, ``e [*, C, M]``, ``s [*, N]``. Leading dimensions of
    all arguments agree. What is in unused slots never matters, and they
    come out as zero.

    Attributes:
        unrolled: Whole unrolled solvers in one call, or ``None`` if the backend has none.
    """

    unrolled: UnrolledSolvers | None = None

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    @abstractmethod
    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        """``y_i = sum_{e = (i, j)} w_e (x_i - x_j)`` -> ``[*, C, N]``."""

    @abstractmethod
    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        """``sum_c (x_u - x_v)(g_u - g_v)`` -> ``[*, M]``."""

    @abstractmethod
    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        """``sum_c e_c (x_u - x_v)`` -> ``[*, M]``."""

    @abstractmethod
    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        """``w_e (x_u - x_v)`` -> ``[*, C, M]``."""

    @abstractmethod
    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        """Adjoint of :meth:`difference` in ``x`` -> ``[*, C, N]``."""

    @abstractmethod
    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """``(s_u, s_v)`` for each edge, each ``[*, M]``."""

    @abstractmethod
    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        """Adjoint of :meth:`at_ends`: each value added up at its own end -> ``[*, N]``."""

    @abstractmethod
    def max_ends(self, w: Tensor) -> Tensor:
        """Largest value on the edges of each node -> ``[*, N]``; ``-inf`` at isolated nodes."""

    def scale_ends(self, w: Tensor, s: Tensor) -> Tensor:
        """``w_uv s_u s_v`` for each edge ``[*, M]``, zero in unused slots."""
        at_u, at_v = self.at_ends(s)
        return self._fill_unused((at_u * at_v).mul_(w), 0)

    def scaled_gradient(self, g: Tensor, s: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """``s_u s_v (g_uv r_u r_v + t_u + t_v)`` for each edge ``[*, M]``, zero in unused slots."""
        (s_u, s_v), (r_u, r_v), (t_u, t_v) = (self.at_ends(v) for v in (s, r, t))
        out = (r_u * r_v).mul_(g).add_(t_u).add_(t_v).mul_(s_u).mul_(s_v)
        return self._fill_unused(out, 0)

    def neighbour_sum(self, w: Tensor, s: Tensor) -> Tensor:
        """``y_i = sum_{e = (i, j)} w_e s_j`` -> ``[*, N]``."""
        at_u, at_v = self.at_ends(s)
        return self.sum_ends(at_v.mul(w), at_u.mul(w))

    def neighbour_sum_of_products(self, w: Tensor, g: Tensor, s: Tensor) -> Tensor:
        """As :meth:`neighbour_sum` with the weights ``w_e g_e``."""
        return self.neighbour_sum(w * g, s)

    def edge_softmax(self, score: Tensor, norm: str, keep: bool = True) -> tuple[Tensor, ...]:
        """Normalised weights, and what their derivative needs; see `gsp_unroll.ops.softmax`.

        Args:
            score: ``[*, M]``.
            norm: One of :data:`gsp_unroll.ops.softmax.NORMS`.
            keep: Whether the derivative will be wanted. If not, only the weights have to be
                returned (default: ``True``).

        Returns:
            Weights ``[*, M]`` (``[*, 2, M]`` if directed). Then, for ``"softmax"`` and
            ``"symmetric"``, the share ``[*, M]`` of each edge at its end ``u``, and for
            ``"symmetric"`` the one at ``v``.
        """
        p_u, p_v, share = self._softmax_sums(score)
        # Zero in unused slots, and so is what is multiplied by it.
        share_u, share_v = self.at_ends(share)
        p_u, p_v = p_u.mul_(share_u), p_v.mul_(share_v)
        if norm == "directed":
            return (torch.stack([p_u, p_v], dim=-2),)
        if norm == "symmetric":
            return p_u.sqrt().mul_(p_v.sqrt()), p_u, p_v
        return p_v.add_(p_u).div_(2), p_u

    def edge_softmax_backward(self, g: Tensor, norm: str, w: Tensor, *shares: Tensor) -> Tensor:
        """Gradient with respect to the scores for the gradient ``g`` of the weights.

        Args:
            g: Shape of ``w``.
            norm: As in :meth:`edge_softmax`.
            w: The first result of :meth:`edge_softmax`.
            shares: Its other results.
        """
        g = self._fill_unused(g, 0)
        # part_u, part_v: derivative of the loss along minus the log-sum of either end.
        if norm == "softmax":
            p_u, p_v = shares[0], 2 * w - shares[0]
            part_u, part_v = g * p_u / 2, g * p_v / 2
        elif norm == "symmetric":
            p_u, p_v = shares
            part_u = part_v = g * w / 2
        else:
            p_u, p_v = w.unbind(-2)
            part_u, part_v = g[..., 0, :] * p_u, g[..., 1, :] * p_v
        back_u, back_v = self.at_ends(self.sum_ends(part_u, part_v))
        return part_u + part_v - p_u * back_u - p_v * back_v

    def _softmax_sums(self, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The parts of each edge at its ends, and for each node one over the sum of its parts."""
        top = self.max_ends(score)
        top = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
        p_u, p_v = self._softmax_parts(score, top)
        total = self.sum_ends(p_u, p_v)
        return p_u, p_v, 1 / torch.where(total == 0, torch.ones_like(total), total)

    def _softmax_parts(self, score: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
        """``exp(score - top)`` with the ``top`` of either end, zero in unused slots."""
        score = self._fill_unused(score, -torch.inf)
        top_u, top_v = self.at_ends(top)
        return torch.exp(score - top_u), torch.exp(score - top_v)

    def _fill_unused(self, w: Tensor, value: float) -> Tensor:
        """``w [*, M]`` with ``value`` in the slots that hold no edge."""
        used = self.topology.used_slots
        if used is None:
            return w
        unused = torch.ones(w.shape[-1], dtype=torch.bool, device=w.device)
        unused[used] = False
        return w.masked_fill(unused, value)


class UnrolledSolvers(Protocol):
    """Optional part of a backend: all layers of a block, see :mod:`gsp_unroll.ops.unrolled`.

    ``*_forward`` returns the result and, if asked to ``keep``, what ``*_backward`` would compute
    again without it. ``*_backward`` takes the gradient of the result and what was kept in front of
    the arguments of ``*_forward`` and returns the gradients of ``w``, ``x``, ``alpha``, ``beta``
    and what follows.
    """

    def takes(self, *values: Tensor) -> bool:
        """Whether these tensors can be computed with."""

    def glr_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, kappa: Tensor, *,
        keep: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """As :func:`gsp_unroll.ops.unrolled.unrolled_glr`; ``free`` is 0 or 1."""

    def glr_backward(
        self, g: Tensor, kept: tuple[Tensor, ...], *arguments: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients of :meth:`glr_forward`."""

    def gtv_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, threshold: Tensor,
        ratio: Tensor, *, keep: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """As :func:`gsp_unroll.ops.unrolled.unrolled_gtv`; ``free`` is 0 or 1."""

    def gtv_backward(
        self, g: Tensor, kept: tuple[Tensor, ...], *arguments: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients of :meth:`gtv_forward`."""

    def joint_glr_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, kappa: Tensor,
        mix: Tensor, *, keep: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """As :func:`gsp_unroll.ops.unrolled.unrolled_joint_glr`; ``free`` is 0 or 1."""

    def joint_glr_backward(
        self, g: Tensor, kept: tuple[Tensor, ...], *arguments: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients of :meth:`joint_glr_forward`."""
