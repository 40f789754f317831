"""Hide some of the known values of graph signals, to learn from restoring them."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll.topology import Topology


def hide(
    topology: Topology, known: Tensor, share: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Choose which known nodes stay observed.

    Nodes are drawn, with all their channels. Every channel keeps a sample in each connected
    component where something is known, so that the rest can be restored.

    Args:
        topology: Structure.
        known: Boolean ``[S, C, N]``.
        share: Share of the nodes that stays, in [0, 1], of each signal ``[S]``.
        generator: Source of randomness (default: the global one).

    Returns:
        Boolean ``[S, C, N]``, a part of ``known``.
    """
    drawn = torch.rand(len(known), 1, known.shape[-1], generator=generator).to(known.device)
    drawn = drawn.expand_as(known).masked_fill(~known, -1)
    kept = drawn > 1 - share.to(drawn).view(-1, 1, 1)
    # The largest draw of each component stays as well.
    label = topology.components()
    largest = drawn.new_full((*known.shape[:2], int(label.max()) + 1), -1)
    largest.scatter_reduce_(-1, label.expand_as(known), drawn, "amax")
    return known & (kept | (drawn == largest[..., label]))
