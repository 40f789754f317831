"""Cut pieces out of a large graph: the nodes of a part, those around it, and their edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from torch import Tensor

from gsp_unroll import checks


@dataclass(frozen=True)
class Piece:
    """A part of a graph with what lies around it.

    Attributes:
        nodes: Their numbers in the whole graph ``[n]``, ascending.
        inner: Boolean ``[n]``, ``True`` = of the part, ``False`` = halo.
        edge_index: All edges between them ``[2, e]``, ends numbered by their place in ``nodes``.
        edges: Column of each edge in the ``edge_index`` of the whole graph ``[e]``.
    """

    nodes: Tensor
    inner: Tensor
    edge_index: Tensor
    edges: Tensor


class GraphCut:
    """A graph that was cut into parts; gives each part as a :class:`Piece`.

    Each piece takes a time in proportion to its own size.

    Args:
        edge_index: ``[2, E]`` int64, both directions of every edge.
        part: Part of each node ``[N]`` int64, numbered from 0, as
            :func:`~gsp_unroll.graphs.partition` gives it.

    Raises:
        TypeError: If ``part`` is not an int64 tensor.
        ValueError: If a shape does not fit, an edge is there twice or out of range, or a part is
            empty.
    """

    def __init__(self, edge_index: Tensor, part: Tensor) -> None:
        if checks.tensor("part", part).dtype != torch.int64:
            raise TypeError(f"part must be an int64 tensor, got {part.dtype}")
        checks.shape("part", part, ["N"])
        checks.edges("edge_index", edge_index, len(part))
        if part.numel() == 0 or int(part.min()) < 0:
            raise ValueError("part must hold numbers from 0, and at least one")
        sizes = torch.bincount(part)
        if not bool(sizes.all()):
            raise ValueError(
                f"part must have a node in each of its {len(sizes)} parts, "
                f"got none in part {int((sizes == 0).nonzero()[0])}"
            )
        self.num_parts = len(sizes)
        self._members = part.argsort(stable=True).cpu().numpy()
        self._start = np.concatenate([[0], sizes.cumsum(0).cpu().numpy()])
        # int32 halves the memory; column numbers of edges are the entries.
        row, column = (end.to(torch.int32).cpu().numpy() for end in edge_index)
        number = np.arange(len(row), dtype=np.int32 if len(row) < 2**31 else np.int64)
        shape = (len(part), len(part))
        self._rows = coo_array((number, (row, column)), shape=shape).tocsr()
        if self._rows.nnz < len(row):
            raise ValueError(
                f"edge_index must hold each edge once, got {len(row) - self._rows.nnz} of its "
                f"{len(row)} columns again"
            )

    def piece(self, number: int, halo: int = 0) -> Piece:
        """Part ``number`` with all nodes at most ``halo`` edges away from it.

        Raises:
            TypeError: If ``halo`` is not an ``int``.
            ValueError: If ``halo`` is negative, or there is no such part.
        """
        checks.positive_int("halo", halo, minimum=0)
        checks.positive_int("number", number, minimum=0)
        if number >= self.num_parts:
            raise ValueError(f"number must be below {self.num_parts}, got {number}")
        inner = self._members[self._start[number] : self._start[number + 1]]
        rings = [inner[:0], inner]
        for _ in range(halo):
            # What is next to a ring is in it, in the ring before or in the next one.
            near = np.unique(self._rows[rings[-1]].indices)
            rings.append(np.setdiff1d(near, np.concatenate(rings[-2:]), assume_unique=True))
        nodes = np.sort(np.concatenate(rings))
        rows = self._rows[nodes]
        place = np.searchsorted(nodes, rows.indices).clip(max=len(nodes) - 1)
        here = nodes[place] == rows.indices
        source = np.repeat(np.arange(len(nodes)), np.diff(rows.indptr))[here]
        return Piece(
            torch.from_numpy(nodes),
            torch.from_numpy(np.isin(nodes, inner, assume_unique=True)),
            torch.from_numpy(np.stack([source, place[here]])),
            torch.from_numpy(rows.data[here].astype(np.int64)),
        )
