"""What the graph is learned from: one feature vector for each head at each node."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gsp_unroll import checks
from gsp_unroll.ops import planar
from gsp_unroll.topology import Grid, Topology


class ImageFeatures(nn.Module):
    r"""Four 3x3 convolutions with ReLU between them (Do et al., NeurIPS 2024).

    Args:
        in_channels: Channels of the image.
        heads: Number of graphs.
        features: Length of the feature vector of each graph.
        maps: Channels between the convolutions (default: 48).

    Shapes:
        - **x:** ``[B, in_channels, N]`` on a :class:`~gsp_unroll.topology.Grid`
        - **output:** ``[B, heads, features, N]``
    """

    def __init__(self, in_channels: int, heads: int, features: int, maps: int = 48) -> None:
        super().__init__()
        self.heads, self.features = heads, features
        widths = [in_channels, maps, maps, maps, heads * features]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(before, after, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
        self.net = nn.Sequential(*layers[:-1])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all convolutions to keep the variance of their input."""
        for layer in self.net:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def reach(self, window: int) -> int:
        """Pixels over which the image still changes a feature, one for each convolution."""
        del window
        return sum(isinstance(layer, nn.Conv2d) for layer in self.net)

    def forward(self, x: Tensor, topology: Topology) -> Tensor:
        """Features of each pixel.

        Raises:
            TypeError: If ``topology`` is not a grid.
        """
        if not isinstance(topology, Grid):
            raise TypeError(
                f"convolutional features need a Grid, got {type(topology).__name__}: images of one "
                'size as image_to_data makes them; for general graphs features_from="mlp" or "gnn"'
            )
        out = self.net(x.unflatten(-1, (topology.height, topology.width)))
        return out.flatten(-2).unflatten(1, (self.heads, self.features))


class NodeFeatures(nn.Module):
    r"""An MLP at each node, optionally with ``hops`` rounds of neighbourhood means in front of it.

    With :math:`P=D^{-1}A` the mean over neighbours, the MLP sees
    :math:`[x,Px,\dots,P^{hops}x]`; ``hops=0`` is a plain MLP, ``hops>0`` a graph network with the
    fixed aggregation of the structure. Equivariant to a renumbering of the nodes.

    Args:
        in_channels: Channels at each node.
        heads: Number of graphs.
        features: Length of the feature vector of each graph.
        maps: Width of the hidden layers (default: 48).
        hops: Rounds of neighbourhood means (default: 0).

    Shapes:
        - **x:** ``[B, in_channels, N]``
        - **output:** ``[B, heads, features, N]``
    """

    def __init__(
        self, in_channels: int, heads: int, features: int, maps: int = 48, hops: int = 0
    ) -> None:
        super().__init__()
        checks.positive_int("hops", hops, minimum=0)
        self.heads, self.features, self.hops = heads, features, hops
        widths = [in_channels * (hops + 1), maps, maps, heads * features]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])

    def reach(self, window: int) -> int:
        """Pixels over which the signal still changes a feature, on a grid with this window."""
        return self.hops * (window // 2)

    def forward(self, x: Tensor, topology: Topology) -> Tensor:
        """Features of each node."""
        seen = [x]
        if self.hops:
            ones = x.new_ones(x.shape[0], topology.num_edges)
            degree = planar.degree(topology, ones).clamp(min=1).unsqueeze(-2)
            for _ in range(self.hops):
                last = seen[-1]
                # P x = x - D^-1 L x; an isolated node keeps its own value.
                seen.append(last - planar.laplacian(topology, ones, last) / degree)
        out = self.net(torch.cat(seen, dim=1).transpose(1, 2)).transpose(1, 2)
        return out.unflatten(1, (self.heads, self.features))
