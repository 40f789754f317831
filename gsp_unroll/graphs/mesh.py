"""Triangle meshes as graphs, with weights from the lengths or angles of the triangles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from gsp_unroll import checks

WEIGHTS = ("uniform", "cotangent")

# Triangles whose height is below this many rounding errors of their size have no angles.
_ROUNDINGS = 64


def mesh_to_data(pos: Tensor, face: Tensor, weights: str = "cotangent") -> Data:
    r"""The graph of a triangle mesh: its vertices and edges.

    ``weights="cotangent"`` takes the surface into account, however it is cut into triangles:

    .. math:: w_{ij}=\max\big(0,\tfrac12(\cot\alpha_{ij}+\cot\beta_{ij})\big)

    with the angles :math:`\alpha_{ij}` and :math:`\beta_{ij}` opposite to the edge, one at a
    border. The graph Laplacian is then that of linear finite elements: on a flat mesh it is zero
    for linear functions at every vertex inside. Priors need weights that are not negative; a sum of
    cotangents is, where two opposite angles exceed 180° together, and is set to zero. In a Delaunay
    mesh of the surface there are none, at borders apart; else that vertex is off by a little.
    ``weights="uniform"`` is 1 for each edge.

    Args:
        pos: Vertices ``[V, 2]`` or ``[V, 3]``.
        face: Triangles ``[3, F]`` int64, in any orientation. Each vertex is in one at least, each
            edge in one (at a border) or two.
        weights: ``"cotangent"`` or ``"uniform"`` (default: ``"cotangent"``).

    Returns:
        ``Data`` with ``pos``, ``face``, ``edge_index [2, E]`` (both directions, sorted by source,
        then target) and ``edge_weight [E]`` in the dtype of ``pos``.

    Raises:
        TypeError: If ``pos`` is not floating point or ``face`` not int64.
        ValueError: If a shape does not fit, a position is not finite, a vertex is out of range or
            in no triangle, an edge is in more than two, or a triangle has a vertex twice, is there
            twice, or (for ``"cotangent"``) has no area.

    Source: Pinkall and Polthier, "Computing Discrete Minimal Surfaces and Their Conjugates",
    Experimental Mathematics, 1993.

    Examples:
        >>> corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> mesh_to_data(corner, torch.tensor([[0], [1], [2]])).edge_weight
        tensor([0.5000, 0.5000, 0.5000, 0.0000, 0.5000, 0.0000])
    """
    checks.one_of("weights", weights, WEIGHTS)
    _check(pos, face)
    count = len(pos)
    # Opposite to corner k is the edge of the two others.
    ends = torch.stack([face.roll(-1, 0), face.roll(-2, 0)]).flatten(1)
    edge_index, triangles = to_undirected(ends, torch.ones_like(ends[0]), count, reduce="sum")
    _check_manifold(edge_index, triangles)
    if weights == "uniform":
        weight = pos.new_ones(edge_index.shape[1])
    else:
        half = _cotangents(pos, face).flatten() / 2
        _, weight = to_undirected(ends, half, count, reduce="sum")
        weight = weight.clamp(min=0)
    return Data(pos=pos, face=face, edge_index=edge_index, edge_weight=weight)


def _check(pos: Tensor, face: Tensor) -> None:
    checks.floating("pos", pos)
    if pos.dim() != 2 or pos.shape[1] not in (2, 3):
        raise ValueError(f"pos must have shape [V, 2] or [V, 3], got {list(pos.shape)}")
    checks.finite("pos", pos)
    if checks.tensor("face", face).dtype != torch.int64:
        raise TypeError(f"face must be int64, got {face.dtype}; use face.long()")
    checks.shape("face", face, [3, "F"])
    checks.same_device(pos=pos, face=face)
    if face.numel() == 0:
        raise ValueError("face must hold at least one triangle, got none")
    if int(face.min()) < 0 or int(face.max()) >= len(pos):
        wrong = face[(face < 0) | (face >= len(pos))][0]
        raise ValueError(f"face must be between 0 and {len(pos) - 1}, got {int(wrong)}")
    corners = face.sort(0).values
    twice = (corners[1:] == corners[:-1]).any(0)
    if bool(twice.any()):
        k = int(twice.nonzero()[0])
        raise ValueError(
            f"face must have three different vertices in each triangle, got {face[:, k].tolist()} "
            f"in triangle {k} ({int(twice.sum())} such triangles)"
        )
    kinds, number = torch.unique(corners, dim=1, return_counts=True)
    if bool((number > 1).any()):
        same = kinds[:, int(number.argmax())].tolist()
        raise ValueError(f"face must hold each triangle once, got that of vertices {same} twice")
    alone = torch.bincount(face.flatten(), minlength=len(pos)) == 0
    if bool(alone.any()):
        raise ValueError(
            f"face must use every vertex, got none at vertex {int(alone.nonzero()[0])} "
            f"({int(alone.sum())} such vertices); remove them from pos and renumber face"
        )


def _check_manifold(edge_index: Tensor, triangles: Tensor) -> None:
    if bool((triangles > 2).any()):
        k = int(triangles.argmax())
        raise ValueError(
            f"face must have each edge in at most two triangles, got edge "
            f"{edge_index[:, k].tolist()} in {int(triangles[k])}; the mesh is not manifold there"
        )


def _cotangents(pos: Tensor, face: Tensor) -> Tensor:
    """Cotangent at each corner ``[3, F]``."""
    corner = torch.nn.functional.pad(pos.double(), (0, 3 - pos.shape[1]))[face]
    a, b = corner.roll(-1, 0) - corner, corner.roll(-2, 0) - corner
    # A cotangent has no unit: triangles of size one neither overflow nor vanish.
    unit = torch.stack([a, b]).abs().amax((0, 1, 3)).clamp(min=torch.finfo(a.dtype).tiny)
    a, b = a / unit[:, None], b / unit[:, None]
    area = torch.linalg.cross(a, b).norm(dim=-1)
    size = a.square().sum(-1).amax(0)
    flat = area.amin(0) <= _ROUNDINGS * torch.finfo(pos.dtype).eps * size
    if bool(flat.any()):
        k = int(flat.nonzero()[0])
        raise ValueError(
            f"face must have triangles with an area for weights='cotangent', got none in triangle "
            f"{k} of vertices {face[:, k].tolist()} ({int(flat.sum())} such triangles); "
            "use weights='uniform'"
        )
    return ((a * b).sum(-1) / area).to(pos.dtype)
