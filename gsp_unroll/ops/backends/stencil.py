"""Grid kernels: shifted views of the image, one pass per offset of the half window, no indices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gsp_unroll.ops.backends.base import Kernels

if TYPE_CHECKING:
    from gsp_unroll.topology import Grid


class StencilKernels(Kernels):
    """:class:`~gsp_unroll.ops.backends.base.Kernels` of a :class:`~gsp_unroll.topology.Grid`."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.grid = grid
        self.slices = grid.slices()

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        w, image = self._edges(w), self._image(x)
        y = torch.zeros_like(image, memory_format=torch.contiguous_format)
        for k, (u, v) in enumerate(self.slices):
            flow = image[(..., *u)] - image[(..., *v)]
            flow *= w[..., None, k, :, :][(..., *u)]
            y[(..., *u)] += flow
            y[(..., *v)] -= flow
        return y.flatten(-2)

    def edge_inner(self, x: Tensor, g: Tensor) -> Tensor:
        x, g = self._image(x), self._image(g)
        out = self._new_edges(x, x.shape[:-3])
        for k, (u, v) in enumerate(self.slices):
            product = x[(..., *u)] - x[(..., *v)]
            product *= g[(..., *u)] - g[(..., *v)]
            out[..., k, :, :][(..., *u)] = product.sum(-3)
        return out.flatten(-3)

    def edge_dot(self, x: Tensor, e: Tensor) -> Tensor:
        x, e = self._image(x), self._edges(e)
        out = self._new_edges(x, x.shape[:-3])
        for k, (u, v) in enumerate(self.slices):
            product = x[(..., *u)] - x[(..., *v)]
            product *= e[..., k, :, :][(..., *u)]
            out[..., k, :, :][(..., *u)] = product.sum(-3)
        return out.flatten(-3)

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        w, x = self._edges(w), self._image(x)
        out = self._new_edges(x, x.shape[:-2])
        for k, (u, v) in enumerate(self.slices):
            place = out[..., k, :, :][(..., *u)]
            torch.sub(x[(..., *u)], x[(..., *v)], out=place)
            place *= w[..., None, k, :, :][(..., *u)]
        return out.flatten(-3)

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        w, e = self._edges(w), self._edges(e)
        y = e.new_zeros(*e.shape[:-3], self.grid.height, self.grid.width)
        for k, (u, v) in enumerate(self.slices):
            flow = e[..., k, :, :][(..., *u)] * w[..., None, k, :, :][(..., *u)]
            y[(..., *u)] += flow
            y[(..., *v)] -= flow
        return y.flatten(-2)

    def at_ends(self, s: Tensor) -> tuple[Tensor, Tensor]:
        image = self._image(s)
        at_u, at_v = (self._new_edges(image, image.shape[:-2]) for _ in range(2))
        for k, (u, v) in enumerate(self.slices):
            at_u[..., k, :, :][(..., *u)] = image[(..., *u)]
            at_v[..., k, :, :][(..., *u)] = image[(..., *v)]
        return at_u.flatten(-3), at_v.flatten(-3)

    def sum_ends(self, at_u: Tensor, at_v: Tensor) -> Tensor:
        at_u, at_v = self._edges(at_u), self._edges(at_v)
        y = at_u.new_zeros(*at_u.shape[:-3], self.grid.height, self.grid.width)
        for k, (u, v) in enumerate(self.slices):
            y[(..., *u)] += at_u[..., k, :, :][(..., *u)]
            y[(..., *v)] += at_v[..., k, :, :][(..., *u)]
        return y.flatten(-2)

    def max_ends(self, w: Tensor) -> Tensor:
        w = self._edges(w)
        y = w.new_full((*w.shape[:-3], self.grid.height, self.grid.width), -torch.inf)
        for k, (u, v) in enumerate(self.slices):
            value = w[..., k, :, :][(..., *u)]
            for end in (u, v):
                y[(..., *end)] = torch.maximum(y[(..., *end)], value)
        return y.flatten(-2)

    def _image(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.grid.height, self.grid.width))

    def _edges(self, w: Tensor) -> Tensor:
        return w.unflatten(-1, (len(self.slices), self.grid.height, self.grid.width))

    def _new_edges(self, like: Tensor, lead: torch.Size) -> Tensor:
        return like.new_zeros(*lead, len(self.slices), self.grid.height, self.grid.width)
