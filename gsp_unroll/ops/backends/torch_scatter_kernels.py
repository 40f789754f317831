"""Kernels by the package torch-scatter: gathers, and sums over the sorted edges of each node."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_scatter import segment_csr

from gsp_unroll.ops.backends.gather_scatter import GatherScatterKernels
from gsp_unroll.ops.backends.rows import rows_of
from gsp_unroll.topology import Topology


class TorchScatterKernels(GatherScatterKernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of any topology, by ``segment_csr``.

    Products on edges are plain gathers, for which the package has nothing to offer.
    """

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.rows = rows_of(topology)

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        step = x.index_select(-1, self.rows.row_node) - x.index_select(-1, self.rows.neighbour)
        weight = self._read(w).index_select(-1, self.rows.edge)
        return self._segment(weight.unsqueeze(-2) * step)

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        flow = self._read(e) * self._read(w).unsqueeze(-2)
        flow = flow.index_select(-1, self.rows.edge)
        return self._segment(torch.where(self.rows.is_second, -flow, flow))

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        at_u = self._read(at_u).index_select(-1, self.rows.edge)
        at_v = self._read(at_v).index_select(-1, self.rows.edge)
        return self._segment(torch.where(self.rows.is_second, at_v, at_u))

    def max_ends(self, w: Tensor) -> Tensor:
        top = self._segment(self._read(w).index_select(-1, self.rows.edge), "max")
        # The package gives 0 for an empty segment.
        return torch.where(self.rows.indptr.diff() > 0, top, -torch.inf)

    def _segment(self, value: Tensor, reduce: str = "sum") -> Tensor:
        indptr = self.rows.indptr.expand(*value.shape[:-1], -1)
        return segment_csr(value.contiguous(), indptr, reduce=reduce)
