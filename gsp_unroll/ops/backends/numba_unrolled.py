"""Unrolled solvers on a grid, compiled: one call runs a whole block, and so does its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gsp_unroll.ops.backends import numba_joint_loops as joint_loops
from gsp_unroll.ops.backends import numba_unrolled_loops as loops
from gsp_unroll.ops.backends.memory import compiled_for, empty
from gsp_unroll.ops.backends.threads import even_ranges, run_chunks

if TYPE_CHECKING:
    from gsp_unroll.topology import Grid


Shape = tuple[int, ...]


class NumbaGridSolvers:
    """:class:`~gsp_unroll.ops.backends.base.UnrolledSolvers` of a grid on the CPU.

    Threads work on different systems (a head of an image), each with its own scratch memory of
    about ``K + 4 C`` numbers a pixel for GLR and ``K + 8 C`` for GTV, with ``3 C K`` more for the
    edge variables if there are six layers or more; going back, a system keeps all its directions
    (``layers * steps * C``) at once, and for GTV of three layers or more ``3 C K`` for what comes
    back to the edge variables, and as many for each time that they are kept (every fourth layer).
    A joint system is a whole image: ``P K + 4 C + heads``, ``P = C (C + 1) / 2``; going back
    ``P K`` more and all directions.
    """

    def __init__(self, grid: Grid) -> None:
        self.offsets = np.array(grid.offsets, dtype=np.int64)
        shifts = [dr * grid.width + dc for dr, dc in grid.offsets]
        self.shape = self.offsets, np.array(shifts, dtype=np.int64), grid.height, grid.width
        self.num_nodes = grid.num_nodes

    def takes(self, *values: Tensor) -> bool:
        """Whether these tensors (on the CPU, of one dtype, not empty) can be computed with."""
        return compiled_for(*values)

    def glr_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, kappa: Tensor
    ) -> Tensor:
        scratch = [self._edge_rows(1, x)]
        return self._forward(loops.glr_forward, scratch, w, x, free, alpha, beta, kappa)

    def glr_backward(
        self, g: Tensor, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor,
        kappa: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        scratch = [self._edge_rows(1, x)]
        return self._backward(loops.glr_backward, scratch, g, w, x, free, alpha, beta, kappa)

    def gtv_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, threshold: Tensor,
        ratio: Tensor,
    ) -> Tensor:  # fmt: skip
        kept = x.shape[1] // _groups(w, x) if loops.number_kept(len(threshold)) > 0 else 0
        scratch = [self._edge_rows(1, x), self._edge_states(kept, x)]
        return self._forward(loops.gtv_forward, scratch, w, x, free, alpha, beta, threshold, ratio)

    def gtv_backward(
        self, g: Tensor, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor,
        threshold: Tensor, ratio: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        kept = loops.number_kept(len(threshold))
        scratch = [
            self._edge_rows(1, x),
            (kept, *self._edge_states(x.shape[1], x)),
            self._edge_states(x.shape[1] if len(threshold) > 2 else 0, x),
        ]
        return self._backward(
            loops.gtv_backward, scratch, g, w, x, free, alpha, beta, threshold, ratio
        )

    def joint_glr_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, kappa: Tensor,
        mix: Tensor,
    ) -> Tensor:  # fmt: skip
        out = empty(*x.shape, like=x)
        arrays = self._joint(w, x, free, alpha, beta, kappa, mix)
        scratch = [self._edge_rows(_pairs(x), x)]
        run_chunks(
            lambda first, last: joint_loops.joint_glr_forward(
                *self.shape, *arrays, out.numpy(), *_memory(scratch, x), first, last
            ),
            even_ranges(x.shape[0], 1, for_each_thread=2),
        )
        return out

    def joint_glr_backward(
        self, g: Tensor, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor,
        kappa: Tensor, mix: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        arrays = self._joint(w, x, free, alpha, beta, kappa, mix)
        gw, gx = empty(*w.shape, like=x), empty(*x.shape, like=x)
        scratch = [self._edge_rows(_pairs(x), x), (len(self.offsets), _pairs(x), x.shape[2])]
        # Of each image, so that their sum does not depend on who computes which.
        scalars = [torch.zeros(x.shape[0], *v.shape, dtype=x.dtype) for v in (alpha, beta, kappa)]
        gmix = torch.zeros(x.shape[0], *mix.shape, dtype=x.dtype)
        gradients = (
            _array(gw).reshape(arrays[0].shape), *map(_array, (gx, *scalars, gmix)),
        )  # fmt: skip
        run_chunks(
            lambda first, last: joint_loops.joint_glr_backward(
                *self.shape, *arrays, _array(g), *gradients, *_memory(scratch, x), first, last
            ),
            even_ranges(x.shape[0], 1, for_each_thread=2),
        )
        return gw, gx, *(v.sum(0) for v in scalars), gmix.sum(0)

    def _joint(self, w: Tensor, *values: Tensor) -> tuple[np.ndarray, ...]:
        edges = self._edges(w)
        return edges.reshape(*w.shape[:2], *edges.shape[1:]), *map(_array, values)

    def _forward(
        self, loop: Callable[..., None], scratch: Sequence[Shape], w: Tensor, x: Tensor,
        free: Tensor, alpha: Tensor, beta: Tensor, *layerwise: Tensor,
    ) -> Tensor:  # fmt: skip
        batch, heads = w.shape[:2]
        out = empty(batch, heads, *x.shape[1:], like=x)
        systems, channels = batch * heads, x.shape[1]
        groups = _groups(w, x)
        arrays = (
            self._edges(w), _array(x), _array(free), _by_head(alpha), _by_head(beta),
            *(_array(v) for v in layerwise), out.numpy().reshape(systems, channels, -1),
        )  # fmt: skip
        run_chunks(
            lambda first, last: loop(
                *self.shape, groups, *arrays, *_memory(scratch, x), first, last
            ),
            even_ranges(systems * groups, 1, for_each_thread=2),
        )
        return out

    def _backward(
        self, loop: Callable[..., None], scratch: Sequence[Shape], g: Tensor, w: Tensor, x: Tensor,
        free: Tensor, alpha: Tensor, beta: Tensor, *layerwise: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        batch, heads = w.shape[:2]
        systems, (layers, steps) = batch * heads, alpha.shape[:2]
        gw = empty(*w.shape, like=x)
        gx = empty(batch, heads, *x.shape[1:], like=x)
        scalars = np.zeros((2, systems, layers, steps), _array(x).dtype)
        by_layer = np.zeros((len(layerwise), systems, layers), scalars.dtype)
        arrays = (
            self._edges(w), _array(x), _array(free), _by_head(alpha), _by_head(beta),
            *(_array(v) for v in layerwise), _array(g).reshape(systems, x.shape[1], -1),
            self._edges(gw), gx.numpy().reshape(systems, x.shape[1], -1), *scalars, *by_layer,
        )  # fmt: skip
        run_chunks(
            lambda first, last: loop(*self.shape, *arrays, *_memory(scratch, x), first, last),
            even_ranges(systems, 1, for_each_thread=2),
        )
        galpha, gbeta = torch.from_numpy(scalars).view(2, batch, heads, layers, steps).sum(1)
        return (
            gw, gx.sum(1), galpha.movedim(0, 2), gbeta.movedim(0, 2),
            *torch.from_numpy(by_layer).sum(1),
        )  # fmt: skip

    def _edge_rows(self, rows: int, x: Tensor) -> Shape:
        """Shape of as many numbers an edge, with their border."""
        return rows, len(self.offsets), loops.border.py_func(self.shape[1]) + x.shape[2]

    def _edge_states(self, count: int, x: Tensor) -> Shape:
        """Shape of as many times the edge variables of a channel, in blocks."""
        return count, len(self.offsets), -(-x.shape[2] // loops.EDGES), loops.BLOCK

    def _edges(self, w: Tensor) -> np.ndarray:
        # The loops check no bounds: a shape that does not belong to this grid must not reach them.
        return _array(w).reshape(w.shape[0] * w.shape[1], len(self.offsets), self.num_nodes)


def _pairs(x: Tensor) -> int:
    """Entries of a symmetric matrix that mixes the channels."""
    return x.shape[1] * (x.shape[1] + 1) // 2


def _groups(w: Tensor, x: Tensor) -> int:
    """Parts of the channels of a system, independent given its weights: more work to share out."""
    return x.shape[1] if w.shape[0] * w.shape[1] < torch.get_num_threads() else 1


def _memory(shapes: Sequence[Shape], like: Tensor) -> list[np.ndarray]:
    """Scratch memory of a thread; not made by the loops, which would take new memory each time."""
    return [empty(*shape, like=like).numpy() for shape in shapes]


def _array(value: Tensor) -> np.ndarray:
    return value.detach().contiguous().numpy()


def _by_head(value: Tensor) -> np.ndarray:
    """``[layers, steps, heads]`` as ``[heads, layers, steps]``."""
    return _array(value.movedim(2, 0))
