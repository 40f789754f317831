"""Grid kernels in Triton: a program gathers into a tile of pixels, without atomics or indices.

The rows of a thread, its channels and the window are unrolled, and the compiler merges the loads of
one address: a weight is read once for all channels, a pixel once for all rows of its thread. What
neighbouring threads and tiles read again comes out of the caches.
"""

import math
from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from gsp_unroll.ops.backends.base import Kernels
from gsp_unroll.ops.backends.triton_launch import (
    by_role,
    channels_at_once,
    launch,
    new,
    softmax_results,
)
from gsp_unroll.ops.backends.triton_softmax import finite_or_zero, inverse_or_one, pointers
from gsp_unroll.topology import Grid


class TritonGridKernels(Kernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of a :class:`~gsp_unroll.topology.Grid`.

    Attributes:
        threads: Threads of a program (default: 128).
        columns: Columns of a tile, at most (default: 64).
        rows: Rows of each thread, at most; a tile has ``rows * threads / columns`` (default: 2).
    """

    threads = 128
    columns = 64
    rows = 2

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.grid = grid

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        y = new(x.shape, w, x)
        self._run(_laplacian, x.shape[:-2], w, x, y, x.shape[-2], CHANNELS=channels_at_once(x))
        return y

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        out = new((*x.shape[:-2], self.grid.num_edges), x, g)
        self._run(_edge_inner, x.shape[:-2], x, g, out, x.shape[-2], ON_EDGES=False)
        return out

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        out = new((*x.shape[:-2], self.grid.num_edges), x, e)
        self._run(_edge_inner, x.shape[:-2], x, e, out, x.shape[-2], ON_EDGES=True)
        return out

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        out = new((*x.shape[:-1], self.grid.num_edges), w, x)
        self._run(_difference, x.shape[:-2], w, x, out, x.shape[-2], CHANNELS=channels_at_once(x))
        return out

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        y = new((*e.shape[:-1], self.grid.num_nodes), w, e)
        self._run(_divergence, e.shape[:-2], w, e, y, e.shape[-2], CHANNELS=channels_at_once(e))
        return y

    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*s.shape[:-1], self.grid.num_edges)
        at_u, at_v = new(shape, s), new(shape, s)
        self._run(_at_ends, s.shape[:-1], s, at_u, at_v)
        return at_u, at_v

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        y = new((*at_u.shape[:-1], self.grid.num_nodes), at_u, at_v)
        self._run(_sum_ends, at_u.shape[:-1], at_u, at_v, y)
        return y

    def max_ends(self, w: Tensor) -> Tensor:
        y = new((*w.shape[:-1], self.grid.num_nodes), w)
        self._run(_max_ends, w.shape[:-1], w, y)
        return y

    def edge_softmax(self, score: Tensor, norm: str, keep: bool = True) -> tuple[Tensor, ...]:
        lead = score.shape[:-1]
        top, share = (new((*lead, self.grid.num_nodes), score) for _ in range(2))
        self._run(_softmax_sums, lead, score, top, share)
        results = softmax_results(score, norm)
        self._run(_softmax_shares, lead, score, top, share, *by_role(*results), NORM=norm)
        return results

    def edge_softmax_backward(self, g: Tensor, norm: str, w: Tensor, *shares: Tensor) -> Tensor:
        lead = g.shape[: -2 if norm == "directed" else -1]
        back, out = new((*lead, self.grid.num_nodes), g, w), new((*lead, g.shape[-1]), g, w)
        saved = by_role(w, *shares)
        self._run(_softmax_back, lead, g, *saved, back, NORM=norm)
        self._run(_softmax_gradient, lead, g, *saved, back, out, NORM=norm)
        return out

    def _run(
        self,
        kernel: triton.JITFunction,
        lead: Sequence[int],
        *arguments: Tensor | int,
        **constants: int | str,
    ) -> None:
        height, width = self.grid.height, self.grid.width
        rows = min(self.rows, 1 << (height.bit_length() - 1))
        columns = min(self.columns, triton.next_power_of_2(width))
        strips = self.threads // columns
        tiles = triton.cdiv(triton.cdiv(height, rows), strips) * triton.cdiv(width, columns)
        launch(
            kernel, math.prod(lead) * tiles, *arguments, height, width, WINDOW=self.grid.window,
            ROWS=rows, STRIPS=strips, COLUMNS=columns, num_warps=self.threads // 32, **constants,
        )  # fmt: skip


# --- where a program and its threads are ----------------------------------------------------------

_sizes = ["height", "width", "channels"]


@triton.jit
def _place(height, width, ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr):
    """Leading index, and ``at``: where each thread is, the uppermost of its pixels.

    Threads beyond the image repeat what those at its border do, and write the same values: all
    rows of a thread are inside, and nothing that it stores needs a mask.
    """
    across = tl.cdiv(width, COLUMNS)
    down = tl.cdiv(tl.cdiv(height, ROWS), STRIPS)
    program = tl.program_id(0)
    lead = (program // (across * down)).to(tl.int64)
    tile = program % (across * down)
    thread = tl.arange(0, STRIPS * COLUMNS)
    row = ((tile // across) * STRIPS + thread // COLUMNS) * ROWS
    col = (tile % across) * COLUMNS + thread % COLUMNS
    row = tl.minimum(row, height - ROWS)
    col = tl.minimum(col, width - 1)
    return lead, (row * width + col, row, col, height, width)


@triton.jit
def _inside(at, dr: tl.constexpr, dc: tl.constexpr, ROWS: tl.constexpr):
    """Whether the pixel ``dr`` rows below and ``dc`` columns right of ``at`` is in the image."""
    _, row, col, height, width = at
    inside = tl.full(row.shape, True, tl.int1)
    if dr < 0:
        inside &= row >= -dr
    if dr >= ROWS:
        inside &= row < height - dr
    if dc < 0:
        inside &= col >= -dc
    if dc > 0:
        inside &= col < width - dc
    return inside


@triton.jit
def _pixel(image, at, dr: tl.constexpr, dc: tl.constexpr):
    """Pointer to the pixel ``dr`` rows below and ``dc`` columns right of ``at``."""
    pixel, _, _, _, width = at
    # Scalars first: the offset of the row is then added once for all threads.
    return image + dr * width + pixel + dc


@triton.jit
def _node(image, at, dr: tl.constexpr, dc: tl.constexpr, ROWS: tl.constexpr):
    """Value of that pixel, zero outside the image."""
    return tl.load(_pixel(image, at, dr, dc), mask=_inside(at, dr, dc, ROWS), other=0.0)


@triton.jit
def _nodes(at):
    """Number of pixels, in 64 bits: planes of edges can be too many for 32."""
    _, _, _, height, width = at
    return height.to(tl.int64) * width


@triton.jit
def _slot(edges, at, i: tl.constexpr, dr: tl.constexpr, dc: tl.constexpr, WINDOW: tl.constexpr):
    """Pointer to the edge between pixel ``i`` of the thread and its neighbour at ``(dr, dc)``.

    Offset number ``k`` of the half window is ``(dr, dc)`` with ``dr * WINDOW + dc = k + 1``. Edges
    to the neighbours before a pixel are theirs.
    """
    k: tl.constexpr = dr * WINDOW + dc
    if k > 0:
        pointer = _pixel(edges + (k - 1) * _nodes(at), at, i, 0)
    else:
        pointer = _pixel(edges + (-k - 1) * _nodes(at), at, i + dr, dc)
    return pointer


@triton.jit
def _edge(
    edges, at, i: tl.constexpr, dr: tl.constexpr, dc: tl.constexpr, other: tl.constexpr,
    WINDOW: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Value on that edge, ``other`` where there is none."""
    used = _inside(at, i + dr, dc, ROWS)
    return tl.load(_slot(edges, at, i, dr, dc, WINDOW), mask=used, other=other)


# --- sums into pixels -----------------------------------------------------------------------------


@triton.jit(do_not_specialize=_sizes)
def _laplacian(
    w, x, y, channels, height, width, WINDOW: tl.constexpr, CHANNELS: tl.constexpr,
    ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    nodes = _nodes(at)
    w += lead * (WINDOW * WINDOW // 2) * nodes
    for chunk in range(0, channels, CHANNELS):
        # The last chunk may overlap the one before: it computes the same values again.
        first = (lead * channels + tl.minimum(chunk, channels - CHANNELS)) * nodes
        totals = ()
        for i in tl.static_range(ROWS):
            here, sums = (), ()
            for c in tl.static_range(CHANNELS):
                value = _node(x + first + c * nodes, at, i, 0, ROWS)
                here += (value,)
                sums += (tl.zeros_like(value).to(y.dtype.element_ty),)
            for dr in tl.static_range(-REACH, REACH + 1):
                for dc in tl.static_range(-REACH, REACH + 1):
                    if dr != 0 or dc != 0:
                        weight = _edge(w, at, i, dr, dc, 0.0, WINDOW, ROWS)
                        more = ()
                        for c in tl.static_range(CHANNELS):
                            there = _node(x + first + c * nodes, at, i + dr, dc, ROWS)
                            more += (sums[c] + weight * (here[c] - there),)
                        sums = more
            totals += sums
        # Stored at the end: a store between them would keep loads from being merged.
        for i in tl.static_range(ROWS):
            for c in tl.static_range(CHANNELS):
                tl.store(_pixel(y + first + c * nodes, at, i, 0), totals[i * CHANNELS + c])


@triton.jit(do_not_specialize=_sizes)
def _divergence(
    w, e, y, channels, height, width, WINDOW: tl.constexpr, CHANNELS: tl.constexpr,
    ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    nodes = _nodes(at)
    edges = (WINDOW * WINDOW // 2) * nodes
    w += lead * edges
    for chunk in range(0, channels, CHANNELS):
        first = lead * channels + tl.minimum(chunk, channels - CHANNELS)
        for i in tl.static_range(ROWS):
            sums = ()
            for _ in tl.static_range(CHANNELS):
                sums += (tl.zeros([STRIPS * COLUMNS], y.dtype.element_ty),)
            for dr in tl.static_range(-REACH, REACH + 1):
                for dc in tl.static_range(-REACH, REACH + 1):
                    if dr != 0 or dc != 0:
                        weight = _edge(w, at, i, dr, dc, 0.0, WINDOW, ROWS)
                        if dr * WINDOW + dc < 0:  # the pixel is the second end
                            weight = -weight
                        more = ()
                        for c in tl.static_range(CHANNELS):
                            value = e + (first + c) * edges
                            more += (
                                sums[c] + weight * _edge(value, at, i, dr, dc, 0.0, WINDOW, ROWS),
                            )
                        sums = more
            for c in tl.static_range(CHANNELS):
                tl.store(_pixel(y + (first + c) * nodes, at, i, 0), sums[c])


@triton.jit(do_not_specialize=_sizes)
def _sum_ends(
    at_u, at_v, y, height, width, WINDOW: tl.constexpr, ROWS: tl.constexpr,
    STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    at_u += lead * (WINDOW * WINDOW // 2) * _nodes(at)
    at_v += lead * (WINDOW * WINDOW // 2) * _nodes(at)
    for i in tl.static_range(ROWS):
        total = tl.zeros([STRIPS * COLUMNS], y.dtype.element_ty)
        for dr in tl.static_range(-REACH, REACH + 1):
            for dc in tl.static_range(-REACH, REACH + 1):
                if dr * WINDOW + dc > 0:
                    total += _edge(at_u, at, i, dr, dc, 0.0, WINDOW, ROWS)
                elif dr * WINDOW + dc < 0:
                    total += _edge(at_v, at, i, dr, dc, 0.0, WINDOW, ROWS)
        tl.store(_pixel(y + lead * _nodes(at), at, i, 0), total)


@triton.jit
def _largest(w, at, i: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr, DTYPE: tl.constexpr):
    """Largest value on the edges of pixel ``i`` of the thread."""
    REACH: tl.constexpr = WINDOW // 2
    pixel, _, _, _, _ = at
    top = tl.full(pixel.shape, -float("inf"), DTYPE)
    for dr in tl.static_range(-REACH, REACH + 1):
        for dc in tl.static_range(-REACH, REACH + 1):
            if dr != 0 or dc != 0:
                top = tl.maximum(top, _edge(w, at, i, dr, dc, -float("inf"), WINDOW, ROWS))
    return top


@triton.jit(do_not_specialize=_sizes)
def _max_ends(
    w, y, height, width, WINDOW: tl.constexpr, ROWS: tl.constexpr, STRIPS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    w += lead * (WINDOW * WINDOW // 2) * _nodes(at)
    for i in tl.static_range(ROWS):
        top = _largest(w, at, i, WINDOW, ROWS, y.dtype.element_ty)
        tl.store(_pixel(y + lead * _nodes(at), at, i, 0), top)


# --- values on edges ------------------------------------------------------------------------------


@triton.jit(do_not_specialize=_sizes)
def _edge_inner(
    x, g, out, channels, height, width, WINDOW: tl.constexpr, ON_EDGES: tl.constexpr,
    ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``sum_c (x_u - x_v) (g_u - g_v)``, or ``sum_c (x_u - x_v) g_c`` if ``g`` is ``ON_EDGES``."""
    REACH: tl.constexpr = WINDOW // 2
    HALF: tl.constexpr = WINDOW * WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    nodes = _nodes(at)
    sums = ()
    for _ in tl.static_range(ROWS * HALF):
        sums += (tl.zeros([STRIPS * COLUMNS], out.dtype.element_ty),)
    for c in range(channels):
        plane = lead * channels + c
        image = x + plane * nodes
        more = ()
        for i in tl.static_range(ROWS):
            for dr in tl.static_range(REACH + 1):
                for dc in tl.static_range(-REACH, REACH + 1):
                    if dr * WINDOW + dc > 0:
                        step = _node(image, at, i, 0, ROWS) - _node(image, at, i + dr, dc, ROWS)
                        if ON_EDGES:
                            step *= _edge(
                                g + plane * HALF * nodes, at, i, dr, dc, 0.0, WINDOW, ROWS
                            )
                        else:
                            other = g + plane * nodes
                            step *= _node(other, at, i, 0, ROWS) - _node(
                                other, at, i + dr, dc, ROWS
                            )
                        more += (sums[i * HALF + dr * WINDOW + dc - 1] + step,)
        sums = more
    out += lead * HALF * nodes
    for i in tl.static_range(ROWS):
        for dr in tl.static_range(REACH + 1):
            for dc in tl.static_range(-REACH, REACH + 1):
                if dr * WINDOW + dc > 0:
                    value = sums[i * HALF + dr * WINDOW + dc - 1]
                    value = tl.where(_inside(at, i + dr, dc, ROWS), value, 0.0)
                    tl.store(_slot(out, at, i, dr, dc, WINDOW), value)


@triton.jit(do_not_specialize=_sizes)
def _difference(
    w, x, out, channels, height, width, WINDOW: tl.constexpr, CHANNELS: tl.constexpr,
    ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    nodes = _nodes(at)
    edges = (WINDOW * WINDOW // 2) * nodes
    w += lead * edges
    for chunk in range(0, channels, CHANNELS):
        first = lead * channels + tl.minimum(chunk, channels - CHANNELS)
        for i in tl.static_range(ROWS):
            steps = ()
            for dr in tl.static_range(REACH + 1):
                for dc in tl.static_range(-REACH, REACH + 1):
                    if dr * WINDOW + dc > 0:
                        weight = _edge(w, at, i, dr, dc, 0.0, WINDOW, ROWS)
                        for c in tl.static_range(CHANNELS):
                            image = x + (first + c) * nodes
                            here = _node(image, at, i, 0, ROWS)
                            steps += (weight * (here - _node(image, at, i + dr, dc, ROWS)),)
            for dr in tl.static_range(REACH + 1):
                for dc in tl.static_range(-REACH, REACH + 1):
                    if dr * WINDOW + dc > 0:
                        for c in tl.static_range(CHANNELS):
                            target = _slot(out + (first + c) * edges, at, i, dr, dc, WINDOW)
                            tl.store(target, steps[(dr * WINDOW + dc - 1) * CHANNELS + c])


@triton.jit(do_not_specialize=_sizes)
def _at_ends(
    s, at_u, at_v, height, width, WINDOW: tl.constexpr, ROWS: tl.constexpr,
    STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    s += lead * _nodes(at)
    at_u += lead * (WINDOW * WINDOW // 2) * _nodes(at)
    at_v += lead * (WINDOW * WINDOW // 2) * _nodes(at)
    for i in tl.static_range(ROWS):
        here = _node(s, at, i, 0, ROWS)
        for dr in tl.static_range(REACH + 1):
            for dc in tl.static_range(-REACH, REACH + 1):
                if dr * WINDOW + dc > 0:
                    used = _inside(at, i + dr, dc, ROWS)
                    there = _node(s, at, i + dr, dc, ROWS)
                    tl.store(_slot(at_u, at, i, dr, dc, WINDOW), tl.where(used, here, 0.0))
                    tl.store(_slot(at_v, at, i, dr, dc, WINDOW), there)


# --- edge softmax ---------------------------------------------------------------------------------


@triton.jit(do_not_specialize=_sizes)
def _softmax_sums(
    score, top, share, height, width, WINDOW: tl.constexpr, ROWS: tl.constexpr,
    STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    score += lead * (WINDOW * WINDOW // 2) * _nodes(at)
    first = lead * _nodes(at)
    for i in tl.static_range(ROWS):
        most = finite_or_zero(_largest(score, at, i, WINDOW, ROWS, top.dtype.element_ty))
        total = tl.zeros_like(most)
        for dr in tl.static_range(-REACH, REACH + 1):
            for dc in tl.static_range(-REACH, REACH + 1):
                if dr != 0 or dc != 0:
                    value = _edge(score, at, i, dr, dc, -float("inf"), WINDOW, ROWS)
                    total += tl.exp(value - most)
        tl.store(_pixel(top + first, at, i, 0), most)
        tl.store(_pixel(share + first, at, i, 0), inverse_or_one(total))


@triton.jit(do_not_specialize=_sizes)
def _softmax_shares(
    score, top, share, w, p_u, p_v, height, width, NORM: tl.constexpr, WINDOW: tl.constexpr,
    ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    edges = (WINDOW * WINDOW // 2) * _nodes(at)
    score += lead * edges
    top += lead * _nodes(at)
    share += lead * _nodes(at)
    w, p_u, p_v = pointers(w, p_u, p_v, lead, edges, NORM)
    for i in tl.static_range(ROWS):
        for dr in tl.static_range(REACH + 1):
            for dc in tl.static_range(-REACH, REACH + 1):
                if dr * WINDOW + dc > 0:
                    value = _edge(score, at, i, dr, dc, -float("inf"), WINDOW, ROWS)
                    at_u = tl.exp(value - _node(top, at, i, 0, ROWS))
                    at_u *= _node(share, at, i, 0, ROWS)
                    at_v = tl.exp(value - _node(top, at, i + dr, dc, ROWS))
                    at_v *= _node(share, at, i + dr, dc, ROWS)
                    tl.store(_slot(p_u, at, i, dr, dc, WINDOW), at_u)
                    if NORM != "softmax":
                        tl.store(_slot(p_v, at, i, dr, dc, WINDOW), at_v)
                    if NORM == "softmax":
                        tl.store(_slot(w, at, i, dr, dc, WINDOW), (at_u + at_v) / 2)
                    if NORM == "symmetric":
                        tl.store(_slot(w, at, i, dr, dc, WINDOW), tl.sqrt(at_u) * tl.sqrt(at_v))


@triton.jit
def _parts(
    g, w, p_u, p_v, at, i: tl.constexpr, dr: tl.constexpr, dc: tl.constexpr, edges,
    NORM: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """``(p_u, p_v, part_u, part_v)`` of an edge.

    The parts are the derivatives of the loss along minus the log-sum of either end.
    """
    at_u = _edge(p_u, at, i, dr, dc, 0.0, WINDOW, ROWS)
    grad = _edge(g, at, i, dr, dc, 0.0, WINDOW, ROWS)
    if NORM == "softmax":
        at_v = 2 * _edge(w, at, i, dr, dc, 0.0, WINDOW, ROWS) - at_u
        part_u = grad * at_u / 2
        part_v = grad * at_v / 2
    elif NORM == "symmetric":
        at_v = _edge(p_v, at, i, dr, dc, 0.0, WINDOW, ROWS)
        part_u = grad * _edge(w, at, i, dr, dc, 0.0, WINDOW, ROWS) / 2
        part_v = part_u
    else:
        at_v = _edge(p_v, at, i, dr, dc, 0.0, WINDOW, ROWS)
        part_u = grad * at_u
        part_v = _edge(g + edges, at, i, dr, dc, 0.0, WINDOW, ROWS) * at_v
    return at_u, at_v, part_u, part_v


@triton.jit(do_not_specialize=_sizes)
def _softmax_back(
    g, w, p_u, p_v, back, height, width, NORM: tl.constexpr, WINDOW: tl.constexpr,
    ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Sum of the parts of all edges of each pixel."""
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    edges = (WINDOW * WINDOW // 2) * _nodes(at)
    g += lead * edges * (2 if NORM == "directed" else 1)
    w, p_u, p_v = pointers(w, p_u, p_v, lead, edges, NORM)
    for i in tl.static_range(ROWS):
        total = tl.zeros([STRIPS * COLUMNS], back.dtype.element_ty)
        for dr in tl.static_range(-REACH, REACH + 1):
            for dc in tl.static_range(-REACH, REACH + 1):
                if dr != 0 or dc != 0:
                    _, _, part_u, part_v = _parts(
                        g, w, p_u, p_v, at, i, dr, dc, edges, NORM, WINDOW, ROWS
                    )
                    total += part_u if dr * WINDOW + dc > 0 else part_v
        tl.store(_pixel(back + lead * _nodes(at), at, i, 0), total)


@triton.jit(do_not_specialize=_sizes)
def _softmax_gradient(
    g, w, p_u, p_v, back, out, height, width, NORM: tl.constexpr, WINDOW: tl.constexpr,
    ROWS: tl.constexpr, STRIPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = WINDOW // 2
    lead, at = _place(height, width, ROWS, STRIPS, COLUMNS)
    edges = (WINDOW * WINDOW // 2) * _nodes(at)
    g += lead * edges * (2 if NORM == "directed" else 1)
    w, p_u, p_v = pointers(w, p_u, p_v, lead, edges, NORM)
    out += lead * edges
    back += lead * _nodes(at)
    for i in tl.static_range(ROWS):
        for dr in tl.static_range(REACH + 1):
            for dc in tl.static_range(-REACH, REACH + 1):
                if dr * WINDOW + dc > 0:
                    at_u, at_v, part_u, part_v = _parts(
                        g, w, p_u, p_v, at, i, dr, dc, edges, NORM, WINDOW, ROWS
                    )
                    total = part_u + part_v - at_u * _node(back, at, i, 0, ROWS)
                    total -= at_v * _node(back, at, i + dr, dc, ROWS)
                    tl.store(_slot(out, at, i, dr, dc, WINDOW), total)
