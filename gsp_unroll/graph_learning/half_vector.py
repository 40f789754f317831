"""Weights of all possible edges among ``m`` nodes, as a vector: half of the adjacency matrix.

Half vectors are ``[*, m (m - 1) / 2]``, in the order of the rows of the upper triangle
(``torch.triu_indices``, ``scipy.spatial.distance.squareform``).
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt

import torch
from torch import Tensor

from gsp_unroll import checks


def num_edges(num_nodes: int) -> int:
    """Length of the half vector of a graph with ``num_nodes`` nodes."""
    return num_nodes * (num_nodes - 1) // 2


def num_nodes(half: Tensor) -> int:
    """Number of nodes ``m`` of a half vector ``[*, m (m - 1) / 2]``.

    Raises:
        ValueError: If no graph with at least two nodes has a half vector of that length.
    """
    length = half.shape[-1] if half.dim() else 0
    nodes = (1 + isqrt(1 + 8 * length)) // 2
    if nodes < 2 or num_edges(nodes) != length:
        raise ValueError(
            "a half vector must have m (m - 1) / 2 entries for some m of at least 2, "
            f"got shape {list(half.shape)}; from_matrix makes one of a symmetric matrix"
        )
    return nodes


def degrees(half: Tensor) -> Tensor:
    r"""Sum of the weights at each node, :math:`d=Dw`, without forming :math:`D`.

    Args:
        half: Weights ``[*, m (m - 1) / 2]``.

    Returns:
        ``[*, m]``.

    Raises:
        ValueError: If the length is not that of a half vector.
    """
    num_nodes(half)
    return _Degrees.apply(half)


def degrees_adjoint(nodes: Tensor) -> Tensor:
    r"""Sum of the values at the two ends of each edge, :math:`D^\top v`, the adjoint of `degrees`.

    Args:
        nodes: Values ``[*, m]``.

    Returns:
        ``[*, m (m - 1) / 2]``.
    """
    return _Adjoint.apply(nodes)


def to_matrix(half: Tensor) -> Tensor:
    """Half vectors ``[*, m (m - 1) / 2]`` -> symmetric matrices ``[*, m, m]``, zero diagonal.

    Raises:
        ValueError: If the length is not that of a half vector.
    """
    m = num_nodes(half)
    u, v = _ends(m, half.device)
    matrix = half.new_zeros(*half.shape[:-1], m, m)
    matrix[..., u, v] = half
    return matrix + matrix.mT


def from_matrix(matrix: Tensor) -> Tensor:
    """Upper triangles of square matrices ``[*, m, m]`` -> half vectors.

    Raises:
        ValueError: If the matrices are not square.
    """
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"matrix must have shape [*, m, m], got {list(matrix.shape)}")
    u, v = _ends(matrix.shape[-1], matrix.device)
    return matrix[..., u, v]


def to_edge_index(half: Tensor, threshold: float = 0.0) -> tuple[Tensor, Tensor]:
    """The edges of one graph as PyG holds them.

    Args:
        half: Weights ``[m (m - 1) / 2]``.
        threshold: Edges whose weight is not above it are left out (default: 0).

    Returns:
        ``edge_index [2, E]`` (both directions of every edge) and ``edge_weight [E]``.

    Raises:
        ValueError: If ``half`` is not the half vector of one graph.
    """
    checks.shape("half", half, ["m (m - 1) / 2"])
    u, v = _ends(num_nodes(half), half.device)
    kept = half > threshold
    ends = torch.stack([u[kept], v[kept]])
    return torch.cat([ends, ends.flip(0)], dim=1), half[kept].repeat(2)


@lru_cache(maxsize=16)
def _ends(nodes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    # What is kept must serve autograd, too, whoever asks first.
    with torch.inference_mode(False):
        u, v = torch.triu_indices(nodes, nodes, 1, device=device)
    return u, v


@lru_cache(maxsize=16)
def _edges_at(nodes: int, device: torch.device) -> Tensor:
    """The first edge of every node, then the second of every node, ...: ``[(m - 1) m]``."""
    u, v = _ends(nodes, device)
    with torch.inference_mode(False):
        number = torch.empty(nodes, nodes, dtype=torch.int64, device=device)
        number[u, v] = number[v, u] = torch.arange(len(u), device=device)
        others = ~torch.eye(nodes, dtype=torch.bool, device=device)
        return number[others].view(nodes, -1).T.flatten()


# Each is the backward of the other, so that both directions are gathers.
class _Degrees(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, half: Tensor) -> Tensor:
        m = num_nodes(half)
        at = half.index_select(-1, _edges_at(m, half.device))
        return at.unflatten(-1, (m - 1, m)).sum(-2)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return _Adjoint.apply(grad)


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, nodes: Tensor) -> Tensor:
        u, v = _ends(nodes.shape[-1], nodes.device)
        return nodes.index_select(-1, u).add_(nodes.index_select(-1, v))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return _Degrees.apply(grad)
