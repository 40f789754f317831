"""The plain way, to compare with: gather both ends of every edge, compute, scatter back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gsp_unroll.ops.backends.base import Kernels

if TYPE_CHECKING:
    from gsp_unroll.topology import Topology


class GatherScatterKernels(Kernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of any topology, by index tensors."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.num_nodes = topology.num_nodes
        self.num_edges = topology.num_edges
        self.u, self.v = topology.ends
        self.used = topology.used_slots

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        return self._scatter(self._difference(x) * self._read(w).unsqueeze(-2))

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        return self._write((self._difference(x) * self._difference(g)).sum(-2))

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        return self._write((self._difference(x) * self._read(e)).sum(-2))

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        return self._write(self._difference(x) * self._read(w).unsqueeze(-2))

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        return self._scatter(self._read(e) * self._read(w).unsqueeze(-2))

    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return (
            self._write(s.index_select(-1, self.u)),
            self._write(s.index_select(-1, self.v)),
        )

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        out = at_u.new_zeros(*at_u.shape[:-1], self.num_nodes)
        out.index_add_(-1, self.u, self._read(at_u))
        return out.index_add_(-1, self.v, self._read(at_v))

    def max_ends(self, w: Tensor) -> Tensor:
        value = self._read(w)
        out = w.new_full((*w.shape[:-1], self.num_nodes), -torch.inf)
        for end in (self.u, self.v):
            out.scatter_reduce_(-1, end.expand_as(value), value, "amax")
        return out

    def _difference(self, x: Tensor) -> Tensor:
        return x.index_select(-1, self.u) - x.index_select(-1, self.v)

    def _scatter(self, e: Tensor) -> Tensor:
        out = e.new_zeros(*e.shape[:-1], self.num_nodes)
        out.index_add_(-1, self.u, e)
        return out.index_add_(-1, self.v, e, alpha=-1)

    def _read(self, e: Tensor) -> Tensor:
        return e if self.used is None else e.index_select(-1, self.used)

    def _write(self, e: Tensor) -> Tensor:
        if self.used is None:
            return e
        return e.new_zeros(*e.shape[:-1], self.num_edges).index_copy_(-1, self.used, e)
