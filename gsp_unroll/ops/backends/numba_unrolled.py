"""Unrolled solvers on a grid, compiled: one call runs a whole block, and so does its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gsp_unroll.ops.backends import numba_joint_loops as joint_loops
from gsp_unroll.ops.backends import numba_unrolled_loops as loops
from gsp_unroll.ops.backends.memory import compiled_for, empty, empty_to_keep
from gsp_unroll.ops.backends.threads import even_ranges, run_chunks

if TYPE_CHECKING:
    from gsp_unroll.topology import Grid


Shape = tuple[int, ...]
Tensors = tuple[Tensor, ...]

# Layers and steps that get memory of their own if nothing is kept: all layers change one signal,
# and two directions are used in turns.
_IN_TURNS = 0, 2


class NumbaGridSolvers:
    """:class:`~gsp_unroll.ops.backends.base.UnrolledSolvers` of a grid on the CPU.

    Threads work on different systems (a head of an image), each with its own scratch memory of
    about ``K + 4 C`` numbers a pixel for GLR and ``K + 8 C`` for GTV, with ``3 C K`` more for the
    edge variables if there are six layers or more; going back, a system keeps all its directions
    (``layers * steps * C``) at once, and for GTV of three layers or more ``3 C K`` for what comes
    back to the edge variables, and as many for each time that they are kept (every fourth layer).
    A joint system is a whole image: ``P K + 4 C + heads``, ``P = C (C + 1) / 2``; going back
    ``P K`` more and all directions. What is kept by forward is what going back would make again:
    directions, signals and kept edge variables, of all systems.
    """

    def __init__(self, grid: Grid) -> None:
        self.offsets = np.array(grid.offsets, dtype=np.int64)
        shifts = [dr * grid.width + dc for dr, dc in grid.offsets]
        self.shape = self.offsets, np.array(shifts, dtype=np.int64), grid.height, grid.width
        self.num_nodes = grid.num_nodes
        self.border = loops.border.py_func(self.shape[1])

    def takes(self, *values: Tensor) -> bool:
        """Whether these tensors (on the CPU, of one dtype, not empty) can be computed with."""
        return compiled_for(*values)

    def glr_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, kappa: Tensor, *,
        keep: bool = False,
    ) -> tuple[Tensor, Tensors]:  # fmt: skip
        groups = 1 if keep else _groups(w, x)
        work = self._cg_memory(*(alpha.shape[:2] if keep else _IN_TURNS), x.shape[1] // groups)
        return self._forward(loops.glr_forward, keep, groups, work, w, x, free, alpha, beta, kappa)

    def glr_backward(
        self, g: Tensor, kept: Tensors, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor,
        beta: Tensor, kappa: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        work = self._cg_memory(*alpha.shape[:2], x.shape[1])
        return self._backward(loops.glr_backward, work, [], g, kept, w, x, free, alpha, beta, kappa)

    def gtv_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, threshold: Tensor,
        ratio: Tensor, *, keep: bool = False,
    ) -> tuple[Tensor, Tensors]:  # fmt: skip
        groups = 1 if keep else _groups(w, x)
        layers, steps = alpha.shape[:2]
        channels, states = x.shape[1] // groups, loops.number_kept(layers)
        if keep:
            work = self._cg_memory(layers, steps, channels)
        else:
            # The last signals make the edge variables of layers that do not keep theirs.
            signals, _ = self._cg_memory(min(layers, loops.KEPT), steps, channels)
            _, directions = self._cg_memory(*_IN_TURNS, channels)
            work = [signals, directions]
            states = min(states, 1)
        work.append(self._states(states, channels))
        return self._forward(
            loops.gtv_forward, keep, groups, work, w, x, free, alpha, beta, threshold, ratio
        )

    def gtv_backward(
        self, g: Tensor, kept: Tensors, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor,
        beta: Tensor, threshold: Tensor, ratio: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        layers, channels = len(threshold), x.shape[1]
        work = [
            *self._cg_memory(*alpha.shape[:2], channels),
            self._states(loops.number_kept(layers), channels),
        ]
        gradients = [self._states(1, channels if layers > 2 else 0)[1:]]
        return self._backward(
            loops.gtv_backward, work, gradients, g, kept, w, x, free, alpha, beta, threshold, ratio
        )

    def joint_glr_forward(
        self, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, kappa: Tensor,
        mix: Tensor, *, keep: bool = False,
    ) -> tuple[Tensor, Tensors]:  # fmt: skip
        out = empty(*x.shape, like=x)
        arrays = self._joint(w, x, free, alpha, beta, kappa, mix)
        work = self._cg_memory(*(alpha.shape if keep else _IN_TURNS), x.shape[1])
        edges = [self._edge_rows(_pairs(x))]
        kept = _to_keep(x.shape[0], work, x) if keep else ()
        run_chunks(
            lambda first, last: joint_loops.joint_glr_forward(
                *self.shape, *arrays, out.numpy(), *_scratch(kept, work, edges, x), first, last
            ),
            even_ranges(x.shape[0], 1, for_each_thread=2),
        )  # fmt: skip
        return out, kept

    def joint_glr_backward(
        self, g: Tensor, kept: Tensors, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor,
        beta: Tensor, kappa: Tensor, mix: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        arrays = self._joint(w, x, free, alpha, beta, kappa, mix)
        gw, gx = empty(*w.shape, like=x), empty(*x.shape, like=x)
        work = self._cg_memory(*alpha.shape, x.shape[1])
        edges = [self._edge_rows(_pairs(x)), (len(self.offsets), _pairs(x), self.num_nodes)]
        # Of each image, so that their sum does not depend on who computes which.
        scalars = [torch.zeros(x.shape[0], *v.shape, dtype=x.dtype) for v in (alpha, beta, kappa)]
        gmix = torch.zeros(x.shape[0], *mix.shape, dtype=x.dtype)
        gradients = (
            _array(gw).reshape(arrays[0].shape), *map(_array, (gx, *scalars, gmix)),
        )  # fmt: skip
        run_chunks(
            lambda first, last: joint_loops.joint_glr_backward(
                *self.shape, not kept, *arrays, self._nodes(g), *gradients,
                *_scratch(kept, work, edges, x), first, last,
            ),
            even_ranges(x.shape[0], 1, for_each_thread=2),
        )  # fmt: skip
        return gw, gx, *(v.sum(0) for v in scalars), gmix.sum(0)

    def _joint(
        self, w: Tensor, x: Tensor, free: Tensor, *scalars: Tensor
    ) -> tuple[np.ndarray, ...]:
        edges = self._edges(w)
        return (
            edges.reshape(*w.shape[:2], *edges.shape[1:]), self._nodes(x), self._nodes(free),
            *map(_array, scalars),
        )  # fmt: skip

    def _forward(
        self, loop: Callable[..., None], keep: bool, groups: int, work: Sequence[Shape], w: Tensor,
        x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor, *layerwise: Tensor,
    ) -> tuple[Tensor, Tensors]:  # fmt: skip
        batch, heads = w.shape[:2]
        out = empty(batch, heads, *x.shape[1:], like=x)
        systems, channels = batch * heads, x.shape[1]
        arrays = (
            self._edges(w), self._nodes(x), self._nodes(free), _by_head(alpha), _by_head(beta),
            *(_array(v) for v in layerwise), out.numpy().reshape(systems, channels, -1),
        )  # fmt: skip
        edges = [self._edge_rows(1)]
        kept = _to_keep(systems, work, x) if keep else ()
        run_chunks(
            lambda first, last: loop(
                *self.shape, groups, *arrays, *_scratch(kept, work, edges, x), first, last
            ),
            even_ranges(systems * groups, 1, for_each_thread=2),
        )  # fmt: skip
        return out, kept

    def _backward(
        self, loop: Callable[..., None], work: Sequence[Shape], gradients: Sequence[Shape],
        g: Tensor, kept: Tensors, w: Tensor, x: Tensor, free: Tensor, alpha: Tensor, beta: Tensor,
        *layerwise: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        batch, heads = w.shape[:2]
        systems, (layers, steps) = batch * heads, alpha.shape[:2]
        gw = empty(*w.shape, like=x)
        gx = empty(batch, heads, *x.shape[1:], like=x)
        scalars = np.zeros((2, systems, layers, steps), _array(x).dtype)
        by_layer = np.zeros((len(layerwise), systems, layers), scalars.dtype)
        arrays = (
            self._edges(w), self._nodes(x), self._nodes(free), _by_head(alpha), _by_head(beta),
            *(_array(v) for v in layerwise), self._nodes(g).reshape(systems, x.shape[1], -1),
            self._edges(gw), gx.numpy().reshape(systems, x.shape[1], -1), *scalars, *by_layer,
        )  # fmt: skip
        edges = [self._edge_rows(1), *gradients]
        run_chunks(
            lambda first, last: loop(
                *self.shape, not kept, *arrays, *_scratch(kept, work, edges, x), first, last
            ),
            even_ranges(systems, 1, for_each_thread=2),
        )  # fmt: skip
        galpha, gbeta = torch.from_numpy(scalars).view(2, batch, heads, layers, steps).sum(1)
        return (
            gw, gx.sum(1), galpha.movedim(0, 2), gbeta.movedim(0, 2),
            *torch.from_numpy(by_layer).sum(1),
        )  # fmt: skip

    def _cg_memory(self, layers: int, steps: int, channels: int) -> list[Shape]:
        """Shapes of the signals before and after ``layers`` layers, and of their directions."""
        signal = channels, self.num_nodes + 2 * self.border
        return [(layers + 1, *signal), (max(layers, 1), steps, *signal)]

    def _states(self, count: int, channels: int) -> Shape:
        """Shape of as many times the edge variables, in blocks; of one without channels if 0."""
        blocks = -(-self.num_nodes // loops.EDGES)
        return max(count, 1), channels * (count > 0), len(self.offsets), blocks, loops.BLOCK

    def _edge_rows(self, rows: int) -> Shape:
        """Shape of as many numbers an edge, with their border."""
        return rows, len(self.offsets), self.border + self.num_nodes

    def _edges(self, w: Tensor) -> np.ndarray:
        return _array(w).reshape(w.shape[0] * w.shape[1], len(self.offsets), self.num_nodes)

    def _nodes(self, x: Tensor) -> np.ndarray:
        # The loops check no bounds: a signal on another grid must not reach them.
        return _array(x).reshape(*x.shape[:-1], self.num_nodes)


def _pairs(x: Tensor) -> int:
    """Entries of a symmetric matrix that mixes the channels."""
    return x.shape[1] * (x.shape[1] + 1) // 2


def _groups(w: Tensor, x: Tensor) -> int:
    """Parts of the channels of a system, independent given its weights: more work to share out."""
    return x.shape[1] if w.shape[0] * w.shape[1] < torch.get_num_threads() else 1


def _to_keep(systems: int, shapes: Sequence[Shape], like: Tensor) -> Tensors:
    """Memory of these shapes for each system."""
    return tuple(empty_to_keep(systems, *shape, like=like) for shape in shapes)


def _scratch(
    kept: Tensors, work: Sequence[Shape], further: Sequence[Shape], like: Tensor
) -> list[np.ndarray]:
    """What was or will be kept, or memory for the ``work`` of one system, and ``further`` memory.

    Not made by the loops, which would take new memory each time.
    """
    shapes = [*(() if kept else ((1, *shape) for shape in work)), *further]
    return [value.numpy() for value in (*kept, *(empty(*shape, like=like) for shape in shapes))]


def _array(value: Tensor) -> np.ndarray:
    return value.detach().contiguous().numpy()


def _by_head(value: Tensor) -> np.ndarray:
    """``[layers, steps, heads]`` as ``[heads, layers, steps]``."""
    return _array(value.movedim(2, 0))
