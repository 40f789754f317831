r"""Graph operators for PyG users: ``x [nodes, heads, channels]``, ``weight [edges, heads]``.

``weight`` is in the order of ``topology.edge_index`` (both directions of every edge). The same
operators in the planar layout, which the networks use, are in :mod:`gsp_unroll.ops.planar`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.ops import planar
from gsp_unroll.ops import softmax as _softmax
from gsp_unroll.topology import Topology


def laplacian(topology: Topology, weight: Tensor, x: Tensor) -> Tensor:
    r"""Graph Laplacian times signal, :math:`(Lx)_i=\sum_j W_{ij}(x_i-x_j)`.

    ``W[i, j]`` is the weight of the edge with source ``j`` and target ``i``, PyG's direction of
    messages. For symmetric weights this is the combinatorial :math:`L=\mathrm{diag}(W1)-W`;
    weights that differ in the two directions give the directed Laplacian with the row sums on its
    diagonal. Backward saves ``(weight, x)`` only.

    Args:
        topology: :class:`~gsp_unroll.topology.Grid` or :class:`~gsp_unroll.topology.Graph`.
        weight: ``[edges, heads]`` in the order of ``topology.edge_index``.
        x: ``[nodes, heads, channels]``.

    Returns:
        ``[nodes, heads, channels]``.

    Raises:
        TypeError: If an argument is not a floating-point tensor.
        ValueError: If a shape or a device does not fit.

    Examples:
        >>> from gsp_unroll import Graph
        >>> path = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
        >>> x = torch.tensor([0.0, 1.0, 4.0]).view(3, 1, 1)
        >>> laplacian(path, torch.ones(4, 1), x).flatten()
        tensor([-1., -2.,  3.])
    """
    heads = _check_weight(topology, weight)
    _check_nodes(topology, "x", x, heads)
    checks.same_device(topology=topology, weight=weight, x=x)
    packed = topology.pack_edges(weight)
    return _from_planar(planar.directed_laplacian(topology, packed, _to_planar(x)))


def difference(topology: Topology, weight: Tensor, x: Tensor) -> Tensor:
    r"""Weighted incidence times signal, :math:`(Cx)_e=w_e(x_u-x_v)`, each undirected edge once.

    :math:`\|Cx\|_1` is the graph total variation, and :math:`C^\top C` the Laplacian with weights
    :math:`w_e^2`. Weights that differ in the two directions are averaged.

    Args:
        topology: Structure; its edges ``(u, v)`` are ``topology.ends``.
        weight: ``[edges, heads]`` in the order of ``topology.edge_index``.
        x: ``[nodes, heads, channels]``.

    Returns:
        ``[undirected edges, heads, channels]`` in the order of ``topology.ends``.

    Raises:
        TypeError: If an argument is not a floating-point tensor.
        ValueError: If a shape or a device does not fit.
    """
    heads = _check_weight(topology, weight)
    _check_nodes(topology, "x", x, heads)
    checks.same_device(topology=topology, weight=weight, x=x)
    e = planar.difference(topology, symmetric_planar(topology, weight), _to_planar(x))
    used = topology.used_slots
    return _from_planar(e if used is None else e.index_select(-1, used))


def difference_adjoint(topology: Topology, weight: Tensor, e: Tensor) -> Tensor:
    r"""Adjoint of :func:`difference`, :math:`C^\top e`.

    Args:
        topology: Structure.
        weight: ``[edges, heads]`` in the order of ``topology.edge_index``.
        e: ``[undirected edges, heads, channels]`` in the order of ``topology.ends``.

    Returns:
        ``[nodes, heads, channels]``.

    Raises:
        TypeError: If an argument is not a floating-point tensor.
        ValueError: If a shape or a device does not fit.
    """
    heads = _check_weight(topology, weight)
    checks.floating("e", e)
    used = topology.used_slots
    count = topology.num_edges if used is None else used.numel()
    checks.shape("e", e, [count, heads, "channels"])
    checks.same_device(topology=topology, weight=weight, e=e)
    value = _to_planar(e)
    if used is not None:
        full = value.new_zeros(*value.shape[:-1], topology.num_edges)
        value = full.index_copy(-1, used, value)
    return _from_planar(planar.divergence(topology, symmetric_planar(topology, weight), value))


def degree(topology: Topology, weight: Tensor) -> Tensor:
    r"""Degree :math:`\sum_j W_{ij}` of each node: ``[edges, heads] -> [nodes, heads]``.

    Raises:
        TypeError: If ``weight`` is not a floating-point tensor.
        ValueError: If a shape or a device does not fit.
    """
    _check_weight(topology, weight)
    checks.same_device(topology=topology, weight=weight)
    into_u, into_v = topology.pack_edges(weight).unbind(-2)
    return planar.sum_ends(topology, into_u, into_v).movedim(-1, 0)


def edge_softmax(topology: Topology, score: Tensor, norm: str = "softmax") -> Tensor:
    """Normalised weights from edge scores; the formulas are in :mod:`gsp_unroll.ops.softmax`.

    Args:
        topology: Structure.
        score: ``[edges, heads]`` in the order of ``topology.edge_index``; scores that differ in
            the two directions are averaged.
        norm: ``"softmax"``, ``"symmetric"`` or ``"directed"`` (default: ``"softmax"``).

    Returns:
        ``[edges, heads]``.

    Raises:
        TypeError: If ``score`` is not a floating-point tensor.
        ValueError: If ``norm`` is unknown, or a shape or a device does not fit.
    """
    _check_weight(topology, score, "score")
    checks.same_device(topology=topology, score=score)
    w = _softmax.edge_softmax(topology, symmetric_planar(topology, score), norm)
    return topology.unpack_edges(w if norm == "directed" else both_directions(w))


def symmetric_planar(topology: Topology, weight: Tensor) -> Tensor:
    """Weights ``[E, *]`` in the order of ``edge_index`` -> symmetric planar ``[*, M]`` (mean)."""
    return topology.pack_edges(weight).mean(-2)


def both_directions(w: Tensor) -> Tensor:
    """Symmetric planar ``[*, M]`` -> directed planar ``[*, 2, M]``."""
    return torch.stack([w, w], dim=-2)


def _to_planar(x: Tensor) -> Tensor:
    return x.permute(1, 2, 0)


def _from_planar(x: Tensor) -> Tensor:
    return x.permute(2, 0, 1)


def _check_weight(topology: Topology, weight: Tensor, name: str = "weight") -> int:
    checks.floating(name, weight)
    checks.shape(name, weight, [topology.edge_index.shape[1], "heads"])
    return weight.shape[1]


def _check_nodes(topology: Topology, name: str, x: Tensor, heads: int) -> None:
    checks.floating(name, x)
    checks.shape(name, x, [topology.num_nodes, heads, "channels"])
