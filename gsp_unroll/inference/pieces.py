"""Restore a signal on a graph of any size, piece by piece, as if it had been done at once."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from gsp_unroll import checks
from gsp_unroll.graphs.cut import GraphCut
from gsp_unroll.graphs.partition import partition
from gsp_unroll.graphs.validate import check_observation, check_observed
from gsp_unroll.models.unrolled import UnrolledNetwork
from gsp_unroll.observe.propagate import propagate_fill
from gsp_unroll.topology import Graph, Topology


@torch.no_grad()
def restore_in_pieces(
    network: UnrolledNetwork,
    y: Tensor,
    mask: Tensor,
    topology: Topology,
    attributes: Tensor | None = None,
    *,
    pieces: int,
    halo: int | None = None,
    progress: bool = False,
) -> Tensor:
    """Restore signals on a large graph with a network, one part of the graph after another.

    The network runs block by block: between two blocks only the signal is kept, and the maps that
    blocks hand on (``carry``). Each block runs on pieces that see ``block.hops`` edges beyond what
    they keep, all that the block can see, so the result is that of the whole graph, to rounding.
    Features, weights and the solver need memory for one piece at a time.

    A halo of that many edges is thin only on graphs with many nodes far from each other, such as
    neighbours in a plane; where everything is a few edges away, pieces are as large as the whole.

    Args:
        network: With features for general graphs, ``"gnn"`` or ``"mlp"``.
        y: Samples ``[B, C, N]``, in the dtype of the network; read where observed only.
        mask: Boolean, broadcastable to ``y``, ``True`` = observed.
        topology: Structure of the whole graph.
        attributes: Further node attributes ``[B, node_channels, N]``.
        pieces: Number of parts, see :func:`gsp_unroll.graphs.partition`.
        halo: Edges over which a piece sees beyond its part (default: ``block.hops``); fewer are
            faster and not exact.
        progress: Show a progress bar (default: ``False``).

    Returns:
        ``[B, C, N]``; observed samples come back bit for bit.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If a shape or device does not fit, a number is out of range, a sample is NaN,
            or a connected component has nothing observed.
    """
    n = topology.num_nodes
    if checks.positive_int("pieces", pieces) > n:
        raise ValueError(f"pieces must be at most the number of nodes ({n}), got {pieces}")
    checks.shape("y", checks.tensor("y", y), ["B", network.config.in_channels, n])
    network.check_dtype("y", y)
    network.check_attributes(attributes, y)
    checks.same_device(y=y, topology=topology, network=network.blocks[-1].skip)
    observed = check_observation(y, mask)
    check_observed(topology, observed)
    if halo is not None:
        checks.positive_int("halo", halo, minimum=0)
    cut = GraphCut(topology.edge_index, partition(topology.edge_index, n, pieces))
    x = propagate_fill(topology, torch.where(observed, y, 0), observed)
    maps = None
    total = len(network.blocks) * pieces
    with tqdm(total=total, desc="restore", unit="piece", disable=not progress, leave=False) as bar:
        for block in network.blocks:
            after, maps_after = torch.empty_like(x), None
            for number in range(pieces):
                piece = cut.piece(number, block.hops if halo is None else halo)
                at = piece.nodes.to(x.device)
                result = block(
                    Graph(piece.edge_index.to(x.device), len(at), backend=topology.backend),
                    x[..., at],
                    observed[..., at],
                    None if attributes is None else attributes[..., at],
                    None if maps is None else maps[:, at],
                )
                inner = piece.inner.to(x.device)
                after[..., at[inner]] = result.estimate[..., inner]
                if result.maps is not None:
                    if maps_after is None:
                        shape = (len(x), n, result.maps.shape[-1])
                        maps_after = result.maps.new_empty(shape)
                    maps_after[:, at[inner]] = result.maps[:, inner]
                bar.update()
            x, maps = after, maps_after
    return x
