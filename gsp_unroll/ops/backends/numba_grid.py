"""Grid kernels compiled by Numba: SIMD over the pixels of a row, threads over rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from gsp_unroll.ops.backends import numba_grid_loops as loops
from gsp_unroll.ops.backends import numba_softmax_loops as softmax_loops
from gsp_unroll.ops.backends.memory import compiled_for, empty
from gsp_unroll.ops.backends.numba_unrolled import NumbaGridSolvers
from gsp_unroll.ops.backends.stencil import StencilKernels
from gsp_unroll.ops.backends.threads import even_ranges, run_chunks

if TYPE_CHECKING:
    from gsp_unroll.topology import Grid

# Fewer numbers than this are not worth waking a thread for.
_WORTH_A_THREAD = 20_000


class NumbaGridKernels(StencilKernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of a grid, float32 and float64 on the CPU.

    Other dtypes are left to :class:`StencilKernels`. Results do not depend on the number of
    threads. Nothing is compiled before the first call, and then once: the machine code is kept on
    disk by Numba (``NUMBA_CACHE_DIR``).
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.offsets = np.array(grid.offsets, dtype=np.int64)
        self.unrolled = NumbaGridSolvers(grid)

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        if not compiled_for(w, x):
            return super().laplacian(w, x)
        y = empty(*x.shape, like=x)
        self._run(loops.laplacian, self._edges_of(w), self._nodes_of(x), self._nodes_of(y))
        return y

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        if not compiled_for(x, g):
            return super().edge_inner(x, g)
        out = empty(*x.shape[:-2], self.grid.num_edges, like=x)
        self._run(loops.edge_inner, self._nodes_of(x), self._nodes_of(g), self._edges_of(out))
        return out

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        if not compiled_for(x, e):
            return super().edge_dot(x, e)
        out = empty(*x.shape[:-2], self.grid.num_edges, like=x)
        self._run(loops.edge_dot, self._nodes_of(x), self._flows_of(e), self._edges_of(out))
        return out

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        if not compiled_for(w, x):
            return super().difference(w, x)
        out = empty(*x.shape[:-1], self.grid.num_edges, like=x)
        self._run(loops.difference, self._edges_of(w), self._nodes_of(x), self._flows_of(out))
        return out

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        if not compiled_for(w, e):
            return super().divergence(w, e)
        y = empty(*e.shape[:-1], self.grid.num_nodes, like=e)
        self._run(loops.divergence, self._edges_of(w), self._flows_of(e), self._nodes_of(y))
        return y

    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        if not compiled_for(s):
            return super().at_ends(s)
        at_u, at_v = (empty(*s.shape[:-1], self.grid.num_edges, like=s) for _ in range(2))
        self._run(loops.at_ends, self._plane_of(s), self._edges_of(at_u), self._edges_of(at_v))
        return at_u, at_v

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        if not compiled_for(at_u, at_v):
            return super().sum_ends(at_u, at_v)
        y = empty(*at_u.shape[:-1], self.grid.num_nodes, like=at_u)
        self._run(loops.sum_ends, self._edges_of(at_u), self._edges_of(at_v), self._plane_of(y))
        return y

    def max_ends(self, w: Tensor) -> Tensor:
        if not compiled_for(w):
            return super().max_ends(w)
        y = empty(*w.shape[:-1], self.grid.num_nodes, like=w)
        self._run(loops.max_ends, self._edges_of(w), self._plane_of(y))
        return y

    def scale_ends(self, w: Tensor, s: Tensor) -> Tensor:
        if not compiled_for(w, s):
            return super().scale_ends(w, s)
        out = empty(*w.shape, like=w)
        self._run(loops.scale_ends, self._edges_of(w), self._plane_of(s), self._edges_of(out))
        return out

    def neighbour_sum(self, w: Tensor, s: Tensor) -> Tensor:
        if not compiled_for(w, s):
            return super().neighbour_sum(w, s)
        y = empty(*s.shape, like=s)
        self._run(loops.neighbour_sum, self._edges_of(w), self._plane_of(s), self._plane_of(y))
        return y

    def neighbour_sum_of_products(self, w: Tensor, g: Tensor, s: Tensor) -> Tensor:
        if not compiled_for(w, g, s):
            return super().neighbour_sum_of_products(w, g, s)
        y = empty(*s.shape, like=s)
        edges = self._edges_of(w), self._edges_of(g)
        self._run(loops.neighbour_sum_of_products, *edges, self._plane_of(s), self._plane_of(y))
        return y

    def scaled_gradient(self, g: Tensor, s: Tensor, r: Tensor, t: Tensor) -> Tensor:
        if not compiled_for(g, s, r, t):
            return super().scaled_gradient(g, s, r, t)
        out = empty(*g.shape, like=g)
        planes = (self._plane_of(v) for v in (s, r, t))
        self._run(loops.scaled_gradient, self._edges_of(g), *planes, self._edges_of(out))
        return out

    def edge_softmax(self, score: Tensor, norm: str, keep: bool = True) -> tuple[Tensor, ...]:
        if norm != "softmax" or not compiled_for(score):
            return super().edge_softmax(score, norm, keep)
        w = empty(*score.shape, like=score)
        kept = (empty(*score.shape, like=score),) if keep else ()
        p_u = self._edges_of(kept[0]) if keep else self._edges_of(w)[:0]
        self._run(softmax_loops.softmax, self._edges_of(score), self._edges_of(w), p_u)
        return w, *kept

    def edge_softmax_backward(self, g: Tensor, norm: str, w: Tensor, *shares: Tensor) -> Tensor:
        if norm != "softmax" or not compiled_for(g, w):
            return super().edge_softmax_backward(g, norm, w, *shares)
        out = empty(*w.shape, like=w)
        known = (self._edges_of(t) for t in (g, w, shares[0]))
        self._run(softmax_loops.softmax_backward, *known, self._edges_of(out))
        return out

    def _softmax_parts(self, score: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
        if not compiled_for(score):
            return super()._softmax_parts(score, top)
        p_u, p_v = (empty(*score.shape, like=score) for _ in range(2))
        self._run(
            softmax_loops.softmax_parts, self._edges_of(score), self._plane_of(top),
            self._edges_of(p_u), self._edges_of(p_v),
        )  # fmt: skip
        return p_u, p_v

    def _run(self, loop: Callable[..., None], *arrays: object) -> None:
        """Run ``loop`` over the rows of all systems."""
        systems = len(arrays[0])
        rows = systems * self.grid.height
        smallest = -(-_WORTH_A_THREAD // (len(self.offsets) * self.grid.width))
        run_chunks(
            lambda first, last: loop(self.offsets, *arrays, first, last),
            even_ranges(rows, smallest),
        )

    def _view(self, value: Tensor, *shape: int) -> np.ndarray:
        size = (self.grid.height, self.grid.width)
        return value.detach().contiguous().numpy().reshape(-1, *shape, *size)

    def _plane_of(self, value: Tensor) -> np.ndarray:
        """``[*, N]`` as ``[S, H, W]``."""
        return self._view(value)

    def _nodes_of(self, value: Tensor) -> np.ndarray:
        """``[*, C, N]`` as ``[S, C, H, W]``."""
        return self._view(value, value.shape[-2])

    def _edges_of(self, value: Tensor) -> np.ndarray:
        """``[*, M]`` as ``[S, K, H, W]``."""
        return self._view(value, len(self.offsets))

    def _flows_of(self, value: Tensor) -> np.ndarray:
        """``[*, C, M]`` as ``[S, C, K, H, W]``."""
        return self._view(value, value.shape[-2], len(self.offsets))
