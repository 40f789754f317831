r"""Differentiable graph operators in the planar layout: ``x [*, C, N]``, ``w [*, M]``, ``e [*, C, M]``.

Each operator saves its arguments only and recomputes the rest in backward. The set is closed: the
backward of one is made of the others, so second derivatives work as well.

=============  =========================================  ======================================
operator       value                                      gradients for an incoming ``g``
=============  =========================================  ======================================
laplacian      :math:`L(w)x`                              :math:`\partial w=` inner(x, g), :math:`\partial x=L(w)g`
inner          :math:`\sum_c(x_u-x_v)(y_u-y_v)`           :math:`\partial x=L(g)y`, :math:`\partial y=L(g)x`
difference     :math:`C(w)x=w_e(x_u-x_v)`                 :math:`\partial w=` dot(x, g), :math:`\partial x=C(w)^\top g`
divergence     :math:`C(w)^\top e`                        :math:`\partial w=` dot(g, e), :math:`\partial e=C(w)g`
dot            :math:`\sum_c e_c(x_u-x_v)`                :math:`\partial x=C(g)^\top e`, :math:`\partial e=C(g)x`
=============  =========================================  ======================================

All of them compute in float32 at least, also under autocast.
"""  # noqa: E501

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gsp_unroll.topology import Topology

Gradient = Tensor | None


def laplacian(topology: Topology, w: Tensor, x: Tensor) -> Tensor:
    r"""Combinatorial graph Laplacian times signal, :math:`(Lx)_i=\sum_j w_{ij}(x_i-x_j)`.

    Args:
        topology: Structure.
        w: Symmetric weights ``[*, M]``.
        x: Signal ``[*, C, N]`` with the same leading dimensions.

    Returns:
        ``[*, C, N]``.
    """
    return _Laplacian.apply(topology, full_precision(w), full_precision(x))


def difference(topology: Topology, w: Tensor, x: Tensor) -> Tensor:
    r"""Weighted incidence times signal, :math:`(Cx)_e=w_e(x_u-x_v)` -> ``[*, C, M]``."""
    return _Difference.apply(topology, full_precision(w), full_precision(x))


def divergence(topology: Topology, w: Tensor, e: Tensor) -> Tensor:
    r"""Adjoint of :func:`difference`, :math:`C^\top e` -> ``[*, C, N]``."""
    return _Divergence.apply(topology, full_precision(w), full_precision(e))


def distance(topology: Topology, f: Tensor) -> Tensor:
    r"""Squared distance of the end features of each edge, :math:`\|f_u-f_v\|^2` -> ``[*, M]``.

    Args:
        topology: Structure.
        f: Features ``[*, F, N]``.
    """
    return _Distance.apply(topology, full_precision(f), 1, None)


def score(topology: Topology, f: Tensor, offset_score: Tensor | None = None) -> Tensor:
    r"""Minus :func:`distance`, plus a score of the edge's offset: ``[*, M]``.

    Args:
        topology: Structure; a grid if there are scores of offsets.
        f: Features ``[*, heads, F, N]``.
        offset_score: ``[heads, offsets, 1]`` (default: ``None``, zero).
    """
    f = full_precision(f)
    if offset_score is not None:
        offset_score = offset_score.to(f.dtype)
    return _Distance.apply(topology, f, -1, offset_score)


def degree(topology: Topology, w: Tensor) -> Tensor:
    r"""Degree :math:`\sum_j w_{ij}` of each node: ``[*, M] -> [*, N]``."""
    w = full_precision(w)
    return sum_ends(topology, w, w)


def sum_ends(topology: Topology, at_u: Tensor, at_v: Tensor) -> Tensor:
    """What edges bring to their ends, summed at each node: twice ``[*, M] -> [*, N]``."""
    return _SumEnds.apply(topology, at_u, at_v)


def directed_laplacian(topology: Topology, w: Tensor, x: Tensor) -> Tensor:
    r"""Laplacian of directed weights, :math:`(Lx)_i=\sum_j W_{ij}(x_i-x_j)`, ``W`` not symmetric.

    Args:
        topology: Structure.
        w: Directed weights ``[*, 2, M]``.
        x: Signal ``[*, C, N]``.
    """
    return _DirectedLaplacian.apply(topology, full_precision(w), full_precision(x))


def full_precision(value: Tensor) -> Tensor:
    """``value`` in float32 if it is half or bfloat16, else as it is."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


class _Laplacian(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, w: Tensor, x: Tensor) -> Tensor:
        ctx.topology = topology
        ctx.save_for_backward(w, x)
        with _no_autocast(x):
            return topology.kernels.laplacian(w, x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        w, x = ctx.saved_tensors
        need_w, need_x = ctx.needs_input_grad[1:]
        return (
            None,
            _Inner.apply(ctx.topology, x, g) if need_w else None,
            _Laplacian.apply(ctx.topology, w, g) if need_x else None,
        )


class _Inner(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, x: Tensor, y: Tensor) -> Tensor:
        ctx.topology = topology
        ctx.save_for_backward(x, y)
        return topology.kernels.edge_inner(x, y)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad[1:]
        return (
            None,
            _Laplacian.apply(ctx.topology, g, y) if need_x else None,
            _Laplacian.apply(ctx.topology, g, x) if need_y else None,
        )


class _Difference(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, w: Tensor, x: Tensor) -> Tensor:
        ctx.topology = topology
        ctx.save_for_backward(w, x)
        return topology.kernels.difference(w, x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        w, x = ctx.saved_tensors
        need_w, need_x = ctx.needs_input_grad[1:]
        return (
            None,
            _Dot.apply(ctx.topology, x, g) if need_w else None,
            _Divergence.apply(ctx.topology, w, g) if need_x else None,
        )


class _Divergence(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, w: Tensor, e: Tensor) -> Tensor:
        ctx.topology = topology
        ctx.save_for_backward(w, e)
        return topology.kernels.divergence(w, e)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        w, e = ctx.saved_tensors
        need_w, need_e = ctx.needs_input_grad[1:]
        return (
            None,
            _Dot.apply(ctx.topology, g, e) if need_w else None,
            _Difference.apply(ctx.topology, w, g) if need_e else None,
        )


class _Dot(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, x: Tensor, e: Tensor) -> Tensor:
        ctx.topology = topology
        ctx.save_for_backward(x, e)
        return topology.kernels.edge_dot(x, e)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        x, e = ctx.saved_tensors
        need_x, need_e = ctx.needs_input_grad[1:]
        return (
            None,
            _Divergence.apply(ctx.topology, g, e) if need_x else None,
            _Difference.apply(ctx.topology, g, x) if need_e else None,
        )


class _Distance(Function):
    """Times ``sign``, 1 or -1, plus scores of offsets."""

    @staticmethod
    def forward(
        ctx: Any, topology: Topology, f: Tensor, sign: int, offset_score: Tensor | None
    ) -> Tensor:
        ctx.topology, ctx.sign = topology, sign
        ctx.save_for_backward(f)
        out = topology.kernels.edge_inner(f, f)
        if sign < 0:
            out.neg_()
        if offset_score is not None:
            ctx.offsets = offset_score.shape[1]
            out.unflatten(-1, (ctx.offsets, -1)).add_(offset_score)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        (f,) = ctx.saved_tensors
        need_f, _, need_offset_score = ctx.needs_input_grad[1:]
        back = by_offset = None
        if need_f:
            half = _Laplacian.apply(ctx.topology, g, f)
            # In place where nobody differentiates again: the first touch of as much memory once
            # more would take half as long as the Laplacian.
            back = (half.mul if torch.is_grad_enabled() else half.mul_)(2 * ctx.sign)
        if need_offset_score:
            by_offset = g.unflatten(-1, (ctx.offsets, -1)).sum(-1, keepdim=True)
            by_offset = by_offset.flatten(0, -4).sum(0) if by_offset.dim() > 3 else by_offset
        return None, back, None, by_offset


class _SumEnds(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, at_u: Tensor, at_v: Tensor) -> Tensor:
        ctx.topology = topology
        return topology.kernels.sum_ends(at_u, at_v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        return (None, *ctx.topology.kernels.at_ends(g))


class _DirectedLaplacian(Function):
    @staticmethod
    def forward(ctx: Any, topology: Topology, w: Tensor, x: Tensor) -> Tensor:
        ctx.topology = topology
        ctx.save_for_backward(w, x)
        kernels = topology.kernels
        into_u, into_v = w.unbind(-2)
        rows = []
        for channel in x.unbind(-2):
            at_u, at_v = kernels.at_ends(channel)
            flow = at_u - at_v
            rows.append(kernels.sum_ends(into_u * flow, -into_v * flow))
        return torch.stack(rows, dim=-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Gradient, ...]:
        w, x = ctx.saved_tensors
        kernels = ctx.topology.kernels
        into_u, into_v = w.unbind(-2)
        grad_w, grad_x = torch.zeros_like(w), []
        for signal, incoming in zip(x.unbind(-2), g.unbind(-2), strict=True):
            g_u, g_v = kernels.at_ends(incoming)
            x_u, x_v = kernels.at_ends(signal)
            grad_w += torch.stack([g_u * (x_u - x_v), g_v * (x_v - x_u)], dim=-2)
            flow = into_u * g_u - into_v * g_v
            grad_x.append(kernels.sum_ends(flow, -flow))
        return None, grad_w, torch.stack(grad_x, dim=-2)


def _no_autocast(like: Tensor) -> torch.autocast:
    """A region where sparse products stay in the precision of their arguments."""
    return torch.autocast(like.device.type, enabled=False)
