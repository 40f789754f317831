r"""Approximate inverses that make conjugate gradients need fewer steps.

All systems of this package are graph Laplacians with something on the diagonal, on the free nodes:
:math:`A=P(L(w)+\mathrm{diag}(s))P`. :class:`GraphMatrix` holds the parts,
:func:`make_preconditioner` turns them into :math:`r\mapsto M^{-1}r`.

* ``"jacobi"``: :math:`M=\mathrm{diag}(A)`. Costs one product with a vector; pays where degrees
  differ much.
* ``"amg"``: one V-cycle of smoothed-aggregation algebraic multigrid for each system (package
  ``pyamg``, CPU). Costs a setup and several products a step, and keeps the number of steps nearly
  constant where samples are few and far between.
* ``"none"``: :math:`M=I`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.ops import planar
from gsp_unroll.topology import Topology

Operator = Callable[[Tensor], Tensor]

PRECONDITIONERS = ("none", "jacobi", "amg")

# Damping from the row sums: pyamg estimates an eigenvalue from a random start otherwise, which is
# slower and gives other rounding errors on every run.
_SMOOTHING = ("jacobi", {"omega": 4 / 3, "weighting": "local"})


@dataclass(frozen=True)
class GraphMatrix:
    r""":math:`P(L(w)+\mathrm{diag}(s))P` of each system, ``P`` the projection on the free nodes.

    Attributes:
        topology: Structure.
        weight: ``[*, M]``.
        shift: ``s``, broadcastable to ``[*, C, N]`` (default: zero).
        free: Boolean ``[*, C, N]`` (default: all nodes).
    """

    topology: Topology
    weight: Tensor
    shift: Tensor | float = 0.0
    free: Tensor | None = None

    def diagonal(self) -> Tensor:
        """Diagonal, broadcastable to ``[*, C, N]``; 1 where it is zero or the node is not free."""
        diagonal = planar.degree(self.topology, self.weight).unsqueeze(-2) + self.shift
        usable = diagonal > 0 if self.free is None else self.free & (diagonal > 0)
        return torch.where(usable, diagonal, 1)


def make_preconditioner(name: str, matrix: GraphMatrix, like: Tensor) -> Operator | None:
    """``r -> M^-1 r`` for ``r [*, C, N]``, ``None`` for ``"none"``.

    Args:
        name: One of :data:`PRECONDITIONERS`.
        matrix: What to precondition.
        like: A tensor of the shape and dtype of ``r``.

    Raises:
        ValueError: If ``name`` is unknown.
        ImportError: If ``name="amg"`` and ``pyamg`` is not installed.
    """
    checks.one_of("preconditioner", name, PRECONDITIONERS)
    if name == "none":
        return None
    if name == "jacobi":
        inverse = matrix.diagonal().reciprocal_().to(like.dtype)
        return lambda r: inverse * r
    return _Multigrid(matrix, like)


class _Multigrid:
    """One V-cycle for each leading index, channel and graph, none of which knows of the others."""

    def __init__(self, matrix: GraphMatrix, like: Tensor) -> None:
        pyamg = import_pyamg()
        lead, n = like.shape[:-1], like.shape[-1]
        topology = matrix.topology
        weight = (
            matrix.weight.detach().unsqueeze(-2).expand(*lead, -1).reshape(-1, topology.num_edges)
        )
        shift = torch.as_tensor(matrix.shift).detach().to(like).expand(like.shape).reshape(-1, n)
        free = like.new_ones(like.shape, dtype=torch.bool) if matrix.free is None else matrix.free
        free = free.expand(like.shape).reshape(-1, n)
        count = topology.graph_sum(like.new_ones(n, dtype=torch.int64)).cpu().numpy()
        bounds = np.concatenate([[0], np.cumsum(count)])
        self._cycles: list[tuple[int, np.ndarray, Operator]] = []
        for k in range(len(weight)):
            inside = free[k].cpu().numpy()
            whole = _laplacian(topology, weight[k]) + diags_array(_double(shift[k]))
            for low, high in zip(bounds[:-1], bounds[1:], strict=True):
                nodes = low + np.flatnonzero(inside[low:high])
                part = whole[nodes][:, nodes].tocsr()
                # A node that nothing holds: the residual is zero there.
                part = part + diags_array((part.diagonal() == 0).astype(np.float64))
                if len(nodes):
                    solver = pyamg.smoothed_aggregation_solver(
                        _with_small_indices(part), smooth=_SMOOTHING
                    )
                    self._cycles.append((k, nodes, solver.aspreconditioner(cycle="V").matvec))

    def __call__(self, r: Tensor) -> Tensor:
        rows = _double(r).reshape(-1, r.shape[-1])
        out = np.zeros_like(rows)
        for k, nodes, cycle in self._cycles:
            out[k, nodes] = cycle(rows[k, nodes])
        return torch.from_numpy(out).to(r).reshape(r.shape)


def import_pyamg() -> ModuleType:
    """The optional package ``pyamg``.

    Raises:
        ImportError: Saying how to install it.
    """
    try:
        return importlib.import_module("pyamg")
    except ImportError as error:
        raise ImportError(
            "preconditioner='amg' needs the package pyamg: pip install pyamg; "
            "preconditioner='jacobi' needs nothing"
        ) from error


def _laplacian(topology: Topology, weight: Tensor) -> csr_array:
    used = topology.used_slots
    value = _double(weight if used is None else weight[used])
    u, v = (end.cpu().numpy() for end in topology.ends)
    size = (topology.num_nodes, topology.num_nodes)
    adjacency = csr_array((value, (u, v)), shape=size)
    adjacency = adjacency + adjacency.T
    return diags_array(np.asarray(adjacency.sum(axis=1)).ravel()).tocsr() - adjacency


def _with_small_indices(matrix: csr_array) -> csr_array:
    """``pyamg`` takes int32 indices only."""
    matrix = csr_array(matrix)
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return matrix


def _double(value: Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()
