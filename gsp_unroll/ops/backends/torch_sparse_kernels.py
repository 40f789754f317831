"""Kernels by the package torch-sparse: sparse matrices times dense ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_sparse import SparseTensor, matmul

from gsp_unroll.ops.backends.gather_scatter import GatherScatterKernels
from gsp_unroll.ops.backends.rows import rows_of
from gsp_unroll.topology import Topology


class TorchSparseKernels(GatherScatterKernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of any topology, by ``torch_sparse.matmul``.

    The Laplacian is one product with the adjacency per leading index; sums into nodes are products
    with the incidence. Products on edges are plain gathers.
    """

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.rows = rows_of(topology)

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return torch.zeros_like(x)
        # The column of ones gives the degree in the same pass over the weights.
        both = torch.cat([x, x.new_ones(*x.shape[:-2], 1, x.shape[-1])], dim=-2)
        columns = both.reshape(-1, *both.shape[-2:]).mT.contiguous()
        weights = self._read(w).index_select(-1, self.rows.edge)
        weights = weights.reshape(len(columns), self.rows.edge.numel())
        products = [
            matmul(self._matrix(self.rows.neighbour, weight, self.num_nodes), column)
            for weight, column in zip(weights, columns, strict=True)
        ]
        out = torch.stack(products).mT.reshape(both.shape)
        return out[..., -1:, :] * x - out[..., :-1, :]

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        flow = self._read(e) * self._read(w).unsqueeze(-2)
        sign = 1 - 2 * self.rows.is_second.to(flow.dtype)
        return self._sum(self.rows.edge, sign, flow)

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        both = torch.cat([self._read(at_u), self._read(at_v)], dim=-1)
        place = self.rows.edge + self.rows.is_second * len(self.u)
        return self._sum(place, None, both)

    def max_ends(self, w: Tensor) -> Tensor:
        top = self._sum(self.rows.edge, None, self._read(w), "max")
        # The package gives 0 for an empty row.
        return torch.where(self.rows.indptr.diff() > 0, top, -torch.inf)

    def _sum(self, column: Tensor, value: Tensor | None, e: Tensor, reduce: str = "sum") -> Tensor:
        """Edge values summed into each node: ``[*, K] -> [*, N]``."""
        if e.numel() == 0:  # a division by zero in the package
            return e.new_zeros(*e.shape[:-1], self.num_nodes)
        dense = e.reshape(e.shape[:-1].numel(), e.shape[-1]).T.contiguous()
        out = matmul(self._matrix(column, value, e.shape[-1]), dense, reduce=reduce)
        return out.T.reshape(*e.shape[:-1], self.num_nodes)

    def _matrix(self, column: Tensor, value: Tensor | None, width: int) -> SparseTensor:
        return SparseTensor(
            rowptr=self.rows.indptr, col=column, value=value,
            sparse_sizes=(self.num_nodes, width), is_sorted=True, trust_data=True,
        )  # fmt: skip
