"""PyG ``Data`` -> :class:`Topology`, and node tensors between PyG's layout and the planar one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.topology.base import Topology
from gsp_unroll.topology.graph import Graph
from gsp_unroll.topology.grid import Grid

GRID_ATTRIBUTES = ("height", "width", "window")


def topology_from_data(data: Data, backend: str = "native") -> Topology:
    """See :meth:`Topology.from_data`."""
    if not isinstance(data, Data):
        raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
    if data.edge_index is None:
        raise ValueError(
            "data.edge_index is missing; build one, e.g. gsp_unroll.graphs.knn_edge_index(pos, k)"
        )
    grid = _grid(data, backend)
    if grid is not None:
        return grid
    if data.num_nodes is None:
        raise ValueError("data.num_nodes is unknown; set data.num_nodes or data.x")
    return Graph(
        data.edge_index, int(data.num_nodes), getattr(data, "batch", None), backend=backend
    )


def to_planar(topology: Topology, value: Tensor) -> Tensor:
    """Node tensor ``[R * N, C]`` of ``R`` equal graphs -> ``[R, C, N]``.

    Raises:
        ValueError: If the first dimension is not a multiple of ``topology.num_nodes``.
    """
    checks.shape("x", value, ["nodes", "channels"])
    if value.shape[0] % topology.num_nodes:
        raise ValueError(
            f"x must have a multiple of {topology.num_nodes} rows (one per node), "
            f"got {value.shape[0]}"
        )
    return value.unflatten(0, (-1, topology.num_nodes)).transpose(1, 2)


def from_planar(value: Tensor) -> Tensor:
    """Inverse of :func:`to_planar`: ``[R, C, N] -> [R * N, C]``."""
    return value.transpose(1, 2).reshape(-1, value.shape[1])


def _grid(data: Data, backend: str) -> Grid | None:
    """The grid of an image or of a batch of equally sized ones, ``None`` for any other graph."""
    if not all(name in data for name in GRID_ATTRIBUTES):
        return None
    size = []
    for name in GRID_ATTRIBUTES:
        values = torch.as_tensor(data[name]).flatten().unique()
        if values.numel() != 1:  # images of different sizes
            return None
        size.append(int(values))
    grid = Grid(*size, backend=backend, device=data.edge_index.device)
    replicas, rest = divmod(int(data.num_nodes), grid.num_nodes)
    edges = grid.edge_index
    if rest or data.edge_index.shape[1] != replicas * edges.shape[1]:
        return None
    offset = torch.arange(replicas, device=grid.device).mul(grid.num_nodes).view(1, -1, 1)
    expected = (edges.unsqueeze(1) + offset).flatten(1)
    # Someone may have dropped or reordered edges since: then it is a general graph.
    return grid if torch.equal(data.edge_index, expected) else None
