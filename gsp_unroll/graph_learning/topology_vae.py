"""A variational autoencoder that brings an estimated graph closer to those it was trained on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gsp_unroll import checks
from gsp_unroll.graph_learning.half_vector import num_edges, num_nodes, to_matrix

# Weights from here on are edges of the binary graph that the encoder sees.
_EDGE = 1e-4


class Refined(NamedTuple):
    """What :class:`TopologyVAE` returns.

    Attributes:
        weight: Refined weights ``[*, m (m - 1) / 2]``.
        divergence: Kullback-Leibler divergence of the latent from the standard normal, mean over
            its entries ``[*]``; ``None`` without a truth.
    """

    weight: Tensor
    divergence: Tensor | None


class GraphEncoder(nn.Module):
    r"""One vector for a binary graph: two graph convolutions on the degrees, summed over nodes.

    .. math::
        h_1=\sigma(A\,(A1)\,\Theta_1+b_1),\quad h_2=\sigma(Ah_1\Theta_2+b_2),\quad
        \mathrm{MLP}(1^\top h_2)

    Args:
        hidden: Channels of the first convolution; the second has twice as many (default: 32).
        features: Length of the vector (default: 16).

    Shapes:
        - **adjacency:** ``[*, m, m]``, entries 0 and 1
        - **output:** ``[*, features]``, the same in whatever order the nodes are numbered
    """

    def __init__(self, hidden: int = 32, features: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Linear(1, hidden)
        self.conv2 = nn.Linear(hidden, 2 * hidden)
        self.readout = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, features)
        )
        gain = nn.init.calculate_gain("relu")
        for conv in (self.conv1, self.conv2):
            nn.init.xavier_uniform_(conv.weight, gain)
            nn.init.ones_(conv.bias)

    def forward(self, adjacency: Tensor) -> Tensor:
        """Encode graphs."""
        h = adjacency.sum(-1, keepdim=True)
        for conv in (self.conv1, self.conv2):
            # Neighbours are summed first: the first convolution then has one channel, not many.
            h = torch.relu(conv(adjacency @ h))
        return self.readout(h.sum(-2))


class TopologyVAE(nn.Module):
    r"""Refine estimated weights, given what distinguishes them from the truth, or noise.

    With :math:`\delta=h(\text{truth})-h(\text{estimate})` of a :class:`GraphEncoder` ``h``,

    .. math::
        \lambda\sim\mathcal N\bigl(\mu(\delta),\operatorname{diag}e^{-|s(\delta)|}\bigr),\qquad
        \hat w=\Theta_2\tanh(\Theta_1[\,w;\lambda\,]+b_1)+b_2,

    with linear μ and s (Pu et al., NeurIPS 2021, TopoDiffVAE). Where there is no truth,
    :math:`\lambda\sim\mathcal N(0,I)`. The decoder belongs to one number of nodes and to one
    numbering of them.

    Args:
        nodes: Number of nodes ``m`` of all graphs, at least 2.
        hidden: Channels of the encoder (default: 32).
        latent: Length of λ (default: 16).
        features: Length of the encoding (default: 16).
        residual: Add the estimate to the result, :math:`\hat w=w+\dots`, and start from
            :math:`\hat w=w`; of our own, with as many parameters (default: ``False``).

    Shapes:
        - **estimate, truth:** ``[*, m (m - 1) / 2]``
        - **output:** :class:`Refined`

    Raises:
        ValueError: If a size is out of range, or graphs have another number of nodes.
    """

    def __init__(
        self,
        nodes: int,
        hidden: int = 32,
        latent: int = 16,
        features: int = 16,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.nodes = checks.positive_int("nodes", nodes, 2)
        checks.positive_int("hidden", hidden)
        self.latent = checks.positive_int("latent", latent)
        checks.positive_int("features", features)
        self.encoder = GraphEncoder(hidden, features)
        self.mean = nn.Linear(features, latent)
        self.log_variance = nn.Linear(features, latent)
        edges = num_edges(nodes)
        width = 2 * nodes * (nodes - 1) // 3
        self.decoder = nn.Sequential(
            nn.Linear(edges + latent, width), nn.Tanh(), nn.Linear(width, edges)
        )
        gain = nn.init.calculate_gain("tanh")
        for linear in (self.mean, self.log_variance, self.decoder[0], self.decoder[2]):
            nn.init.xavier_uniform_(linear.weight, gain)
            nn.init.zeros_(linear.bias)
        if residual:
            nn.init.zeros_(self.decoder[2].weight)

    def forward(
        self,
        estimate: Tensor,
        truth: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Refined:
        """Refine ``estimate``.

        Args:
            estimate: Weights; may lie below zero.
            truth: The true weights, while training (default: there is none).
            generator: Source of the latent noise (default: the global one).
        """
        if num_nodes(estimate) != self.nodes:
            raise ValueError(
                f"estimate must be of graphs with {self.nodes} nodes, got {num_nodes(estimate)}"
            )
        shape = (*estimate.shape[:-1], self.latent)
        latent = torch.randn(shape, generator=generator).to(estimate)
        divergence = None
        if truth is not None:
            apart = self.encoder(_binary(truth)) - self.encoder(_binary(estimate))
            mean, log_variance = self.mean(apart), -self.log_variance(apart).abs()
            latent = mean + (log_variance / 2).exp() * latent
            divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean(-1) / 2
        weight = self.decoder(torch.cat([estimate, latent], dim=-1))
        return Refined(estimate + weight if self.residual else weight, divergence)


def _binary(half: Tensor) -> Tensor:
    return to_matrix((half >= _EDGE).to(half.dtype))
