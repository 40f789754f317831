"""Pixels of an image, each joined to the others in a square window: offsets only, no indices."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.topology.base import Topology, check_backend


class Grid(Topology):
    r"""Window graph of an image: pixel ``(r, c)`` and ``(r + dr, c + dc)`` are neighbours if
    ``max(|dr|, |dc|) <= (window - 1) / 2`` (Do et al., NeurIPS 2024: a 5x5 window, 24 neighbours).

    Edge slot ``k * N + r * width + c`` is the edge from pixel ``(r, c)`` to
    ``(r, c) + offsets[k]``; offsets are the half window below and to the right, so every edge is
    held once. Slots whose second end falls outside the image are unused.

    Args:
        height: Rows, at least 1.
        width: Columns, at least 1.
        window: Odd side of the window, at least 3 (default: 5).
        backend: Kernels to compute with (default: ``"native"``).
        device: Device of the tensors that it is used with: ``"native"`` chooses its kernels by it,
            and index tensors are made there when something asks for them (default: CPU).
        origin: Row and column of a pixel where features that work on cells of pixels start one
            (default: the first pixel).

    Raises:
        TypeError: If a size is not an ``int``.
        ValueError: If a size is too small, ``window`` is even, or ``backend`` is unknown.
    """  # noqa: D205

    num_graphs = 1

    def __init__(
        self,
        height: int,
        width: int,
        window: int = 5,
        *,
        backend: str = "native",
        device: torch.device | str = "cpu",
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        self.height = checks.positive_int("height", height)
        self.width = checks.positive_int("width", width)
        self.window = check_window(window)
        self.backend = check_backend(backend)
        self.origin = _check_origin(origin)
        self.offsets = half_offsets(window)
        self.num_nodes = height * width
        self.num_edges = len(self.offsets) * self.num_nodes
        # As tensors report it: "cuda" becomes "cuda:0".
        self._device = torch.empty(0, device=device).device
        self._cache: dict[str, Tensor] = {}

    def __repr__(self) -> str:
        return f"Grid({self.height}, {self.width}, window={self.window}, backend={self.backend!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[int, int, int, str, torch.device, tuple[int, int]]:
        return self.height, self.width, self.window, self.backend, self._device, self.origin

    @property
    def edge_index(self) -> Tensor:
        if "edge_index" not in self._cache:
            self._index_edges()
        return self._cache["edge_index"]

    @property
    def edge_slot(self) -> Tensor:
        if "edge_slot" not in self._cache:
            self._index_edges()
        return self._cache["edge_slot"]

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        used = self.used_slots
        offset = torch.tensor(
            [dr * self.width + dc for dr, dc in self.offsets], device=self._device
        )
        first = used % self.num_nodes
        return first, first + offset[used // self.num_nodes]

    @property
    def used_slots(self) -> Tensor:
        if "used_slots" not in self._cache:
            row, col = self._pixels()
            inside = torch.stack([self._inside(row + dr, col + dc) for dr, dc in self.offsets])
            self._cache["used_slots"] = inside.flatten().nonzero().squeeze(1)
        return self._cache["used_slots"]

    @property
    def device(self) -> torch.device:
        return self._device

    def to(self, device: torch.device | str) -> Grid:
        if torch.device(device) == self._device:
            return self
        return self._changed(device=device)

    def with_backend(self, backend: str) -> Grid:
        return self._changed(backend=backend)

    def with_origin(self, origin: tuple[int, int]) -> Grid:
        """The same grid with cells from another pixel on."""
        return self if origin == self.origin else self._changed(origin=origin)

    def _changed(self, **changes: Any) -> Grid:
        same = {"backend": self.backend, "device": self._device, "origin": self.origin}
        return Grid(self.height, self.width, self.window, **{**same, **changes})

    @cached_property
    def kernels(self):  # noqa: ANN201 (typed by the base class; the import would be circular)
        from gsp_unroll.ops.backends import grid_kernels

        return grid_kernels(self)

    def graph_sum(self, value: Tensor) -> Tensor:
        return value.sum(-1, keepdim=True)

    def graph_sum_edges(self, value: Tensor) -> Tensor:
        used = value.view(*value.shape[:-1], -1, self.height, self.width)
        total = value.new_zeros(value.shape[:-1])
        for k, (first, _) in enumerate(self.slices()):
            total = total + used[..., k, :, :][(..., *first)].sum((-2, -1))
        return total.unsqueeze(-1)

    def graph_spread(self, value: Tensor) -> Tensor:
        return value

    def graph_spread_edges(self, value: Tensor) -> Tensor:
        return value

    def components(self) -> Tensor:
        # Any window of 3 or more joins all pixels into one component.
        return torch.zeros(self.num_nodes, dtype=torch.int64, device=self.device)

    def slices(self) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """For each offset the image region of the edges' first ends and of their second ends."""
        out = []
        for dr, dc in self.offsets:
            rows, cols = max(self.height - dr, 0), max(self.width - abs(dc), 0)
            left, right = max(-dc, 0), max(dc, 0)
            first = (slice(0, rows), slice(left, left + cols))
            second = (slice(min(dr, self.height), self.height), slice(right, right + cols))
            out.append((first, second))
        return out

    def _pixels(self) -> tuple[Tensor, Tensor]:
        rows = torch.arange(self.height, device=self._device)
        cols = torch.arange(self.width, device=self._device)
        row, col = torch.meshgrid(rows, cols, indexing="ij")
        return row.flatten(), col.flatten()

    def _inside(self, row: Tensor, col: Tensor) -> Tensor:
        return (row >= 0) & (row < self.height) & (col >= 0) & (col < self.width)

    def _index_edges(self) -> None:
        """Directed edges sorted by source, then target, and their slots."""
        row, col = self._pixels()
        node = row * self.width + col
        reach = self.window // 2
        place = {offset: k for k, offset in enumerate(self.offsets)}
        inside, target, slot = [], [], []
        for dr in range(-reach, reach + 1):
            for dc in range(-reach, reach + 1):
                if dr == dc == 0:
                    continue
                other = node + dr * self.width + dc
                inside.append(self._inside(row + dr, col + dc))
                target.append(other)
                if (dr, dc) in place:  # source is u, target is v: the entry W[v, u]
                    slot.append(self.num_edges + place[dr, dc] * self.num_nodes + node)
                else:  # source is v, target is u: the entry W[u, v]
                    slot.append(place[-dr, -dc] * self.num_nodes + other)
        keep = torch.stack(inside, dim=1)
        source = node.unsqueeze(1).expand_as(keep)
        self._cache["edge_index"] = torch.stack([source[keep], torch.stack(target, dim=1)[keep]])
        self._cache["edge_slot"] = torch.stack(slot, dim=1)[keep]


def check_window(window: int) -> int:
    """Return ``window`` if it is an odd ``int`` of at least 3, else raise."""
    checks.positive_int("window", window, minimum=3)
    if window % 2 == 0:
        raise ValueError(f"window must be odd, got {window}; use {window - 1} or {window + 1}")
    return window


def _check_origin(origin: tuple[int, int]) -> tuple[int, int]:
    row, column = origin
    for value in (row, column):
        checks.positive_int("origin", value, minimum=0)
    return row, column


def half_offsets(window: int) -> tuple[tuple[int, int], ...]:
    """Offsets ``(dr, dc)`` of half the window: each undirected edge once."""
    reach = window // 2
    return tuple(
        (dr, dc) for dr in range(reach + 1) for dc in range(-reach, reach + 1) if dr > 0 or dc > 0
    )
