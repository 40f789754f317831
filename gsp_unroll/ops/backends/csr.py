"""Graph kernels: sparse products over CSR with int32 indices, gathers over each edge once."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gsp_unroll.ops.backends.gather_scatter import GatherScatterKernels

if TYPE_CHECKING:
    from gsp_unroll.topology import Graph


class CSRKernels(GatherScatterKernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of a :class:`~gsp_unroll.topology.Graph`.

    ``L x = diag(W 1) x - W x`` and the degree are one sparse product per leading index; edge
    quantities are gathered channel by channel, so that no ``[C, M]`` temporary is made.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.graph = graph

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        if self.graph.num_edges == 0:
            return torch.zeros_like(x)
        ones = x.new_ones(*x.shape[:-2], 1, self.graph.num_nodes)
        # The column of ones gives the degree in the same pass over the weights.
        both = self._adjacency(w, torch.cat([x, ones], dim=-2))
        return both[..., -1:, :] * x - both[..., :-1, :]

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        total = torch.zeros(())
        for c in range(x.shape[-2]):
            xc, gc = x[..., c, :], g[..., c, :]
            term = xc.index_select(-1, self.u).sub_(xc.index_select(-1, self.v))
            term *= gc.index_select(-1, self.u).sub_(gc.index_select(-1, self.v))
            total = term if c == 0 else total.add_(term)
        return total

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        total = torch.zeros(())
        for c in range(x.shape[-2]):
            xc = x[..., c, :]
            term = xc.index_select(-1, self.u).sub_(xc.index_select(-1, self.v))
            term *= e[..., c, :]
            total = term if c == 0 else total.add_(term)
        return total

    def _adjacency(self, w: Tensor, x: Tensor) -> Tensor:
        """``W x`` with the symmetric ``W`` of the edge weights: ``[*, C, N] -> [*, C, N]``."""
        indptr, indices, slot = self.graph.csr()
        n = self.graph.num_nodes
        columns = x.reshape(-1, *x.shape[-2:]).transpose(1, 2).contiguous()
        weights = w.reshape(-1, w.shape[-1])
        out = torch.empty_like(columns)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            for row, (weight, column) in enumerate(zip(weights, columns, strict=True)):
                matrix = torch.sparse_csr_tensor(
                    indptr, indices, weight[slot], (n, n), check_invariants=False
                )
                torch.mm(matrix, column, out=out[row])
        return out.transpose(1, 2).reshape(x.shape)
