"""Both directions of every edge, sorted by the node that they are summed into."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsp_unroll.topology import Topology


@dataclass(frozen=True)
class Rows:
    """Compressed rows of the adjacency, and the edge of each entry.

    Attributes:
        indptr: First entry of each row and the end of the last ``[N + 1]``.
        node: Node of each row ``[N]``.
        row_node: Node of the row of each entry ``[2 M_used]``.
        neighbour: The other end of each entry ``[2 M_used]``.
        edge: Number of the edge of each entry among the used ones ``[2 M_used]``.
        is_second: Whether the node is the second end ``v`` of the edge ``[2 M_used]``.
    """

    indptr: Tensor
    node: Tensor
    row_node: Tensor
    neighbour: Tensor
    edge: Tensor
    is_second: Tensor


def rows_of(topology: Topology, order: Tensor | None = None) -> Rows:
    """The rows of ``topology``.

    Args:
        topology: Structure.
        order: Node of each row ``[N]`` (default: row ``i`` is node ``i``).
    """
    u, v = topology.ends
    node = torch.arange(topology.num_nodes, device=u.device) if order is None else order.long()
    place = torch.empty_like(node)
    place[node] = torch.arange(topology.num_nodes, device=u.device)
    row_node, neighbour = torch.cat([u, v]), torch.cat([v, u])
    row = place[row_node]
    sort = torch.argsort(row * topology.num_nodes + place[neighbour])
    indptr = torch.zeros(topology.num_nodes + 1, dtype=torch.int64, device=u.device)
    indptr[1:] = torch.bincount(row, minlength=topology.num_nodes).cumsum(0)
    edge = torch.arange(len(u), device=u.device).repeat(2)
    return Rows(indptr, node, row_node[sort], neighbour[sort], edge[sort], sort >= len(u))
