"""What a block learns at each node: feature vectors for the graphs, and a mean of the signal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsp_unroll import checks
from gsp_unroll.ops import planar
from gsp_unroll.topology import Grid, Topology


class Learned(NamedTuple):
    """What :class:`ImageFeatures` and :class:`NodeFeatures` return.

    Attributes:
        features: One vector for each head at each node ``[B, heads, features, N]``.
        mean: Expected signal ``[B, mean_channels, N]``, ``None`` without ``mean_channels``.
        maps: The last hidden layer, which the next block may see.
    """

    features: Tensor
    mean: Tensor | None
    maps: Tensor


class _Features(nn.Module, ABC):
    """Layers at the nodes or around them, and what may go in and out beside the signal.

    All that is optional starts at zero: a network with it computes at first what the one without
    it computes.
    """

    def __init__(
        self,
        widths: Sequence[int],
        layer: Callable[[int, int], nn.Module],
        heads: int,
        mask_channels: int,
        mean_channels: int,
        carry: bool,
        carry_mix: bool,
        residual_pairs: int,
    ) -> None:
        super().__init__()
        checks.positive_int("mask_channels", mask_channels, minimum=0)
        checks.positive_int("mean_channels", mean_channels, minimum=0)
        checks.positive_int("residual_pairs", residual_pairs, minimum=0)
        self.heads = heads
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [layer(before, after), nn.ReLU(inplace=True)]
        self.net = nn.Sequential(*layers[:-1])
        maps = widths[-2]
        self.mask = self._pointwise(mask_channels, maps, bias=False) if mask_channels else None
        self.mean = self._pointwise(maps, mean_channels) if mean_channels else None
        self.pairs = nn.ModuleList(
            nn.Sequential(layer(maps, maps), nn.ReLU(inplace=True), layer(maps, maps))
            for _ in range(residual_pairs)
        )
        # What of the maps of the block before is worth adding: a factor for each, or a mixture.
        self.carry = None
        if carry and carry_mix:
            self.carry = self._pointwise(maps, maps, bias=False)
        elif carry:
            self.carry = self._factors(maps)

    def zero_options(self) -> None:
        """Set what is optional to zero, so that it changes nothing."""
        for part in (self.mask, self.mean, self.carry, *(pair[-1] for pair in self.pairs)):
            if part is not None:
                parameters = part.parameters() if isinstance(part, nn.Module) else [part]
                for parameter in parameters:
                    nn.init.zeros_(parameter)

    @staticmethod
    @abstractmethod
    def _pointwise(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
        """A linear layer at each node."""

    @staticmethod
    @abstractmethod
    def _factors(channels: int) -> nn.Parameter:
        """A factor for each channel."""

    @abstractmethod
    def _arrange(self, x: Tensor, topology: Topology) -> Tensor:
        """``[B, C, N]`` as the layers want it."""

    @abstractmethod
    def _flat(self, x: Tensor, topology: Topology) -> Tensor:
        """Inverse of :meth:`_arrange`."""

    def _seen(self, x: Tensor, topology: Topology) -> Tensor:
        """What the first layer sees, arranged."""
        return self._arrange(x, topology)

    def forward(
        self,
        x: Tensor,
        topology: Topology,
        observed: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Learned:
        """Features of each node; arguments as in :meth:`hidden`."""
        hidden = self.hidden(x, topology, observed, carried)
        features = self._flat(self.net[-1](hidden), topology)
        features = features.unflatten(1, (self.heads, -1))
        mean = None
        if self.mean is not None:
            # A part of the signal, not of the features: half precision would show.
            with torch.autocast(x.device.type, enabled=False):
                mean = self._flat(self.mean(planar.full_precision(hidden)), topology)
        return Learned(features, mean, hidden)

    def hidden(
        self,
        x: Tensor,
        topology: Topology,
        observed: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Tensor:
        """The last hidden layer, ``maps`` of :class:`Learned`.

        Args:
            x: Signal and attributes ``[B, in_channels, N]``.
            topology: Structure.
            observed: Boolean ``[B, mask_channels, N]``; read if there are ``mask_channels``.
            carried: ``maps`` of the block before; read with ``carry``.

        Raises:
            TypeError: If ``topology`` is not of the kind that the layers need.
            ValueError: If ``observed`` or ``carried`` is needed and missing.
        """
        if self.mask is not None and observed is None:
            raise ValueError("observed must be given to features with mask_channels, got None")
        if self.carry is not None and carried is None:
            raise ValueError("carried must be given to features with carry, got None")
        hidden = self.net[0](self._seen(x, topology))
        if self.mask is not None:
            hidden = hidden + self.mask(self._arrange(observed, topology).to(x.dtype))
        if self.carry is not None:
            mixed = isinstance(self.carry, nn.Module)
            hidden = hidden + (self.carry(carried) if mixed else self.carry * carried)
        for layer in self.net[1:-1]:
            hidden = layer(hidden)
        for pair in self.pairs:
            hidden = pair(hidden).add_(hidden).relu_()
        return hidden


class ImageFeatures(_Features):
    r"""Four 3x3 convolutions with ReLU between them (Do et al., NeurIPS 2024).

    Args:
        in_channels: Channels of the image.
        heads: Number of graphs.
        features: Length of the feature vector of each graph.
        maps: Channels between the convolutions (default: 48).
        mask_channels: Channels of the mask, if the features see it (default: 0).
        mean_channels: Channels of a learned mean (default: 0, none).
        carry: See the maps of the block before (default: ``False``).
        carry_mix: Mix them, see :class:`~gsp_unroll.models.ModelConfig` (default: ``False``).
        residual_pairs: Pairs of further hidden layers (default: 0).
        cell: Side of the cells of pixels that the convolutions work on, ``None`` = each pixel.
            A cell's pixels are channels of one position (Shi et al., CVPR 2016), and the last
            convolution, 1x1 then, says what each of them is: with as many parameters ``cell**2``
            times fewer operations, over ``cell`` times the distance. They start at the ``origin``
            of the grid, which a network sets by :func:`~gsp_unroll.observe.mask_origin`: then all
            phases of a mask whose period a cell is look alike (default: ``None``).

    Shapes:
        - **x:** ``[B, in_channels, N]`` on a :class:`~gsp_unroll.topology.Grid`
        - **output:** :class:`Learned`; ``maps`` are ``[B, maps, H, W]``, rows and columns of cells
          where there are cells
    """

    def __init__(
        self,
        in_channels: int,
        heads: int,
        features: int,
        maps: int = 48,
        *,
        mask_channels: int = 0,
        mean_channels: int = 0,
        carry: bool = False,
        carry_mix: bool = False,
        residual_pairs: int = 0,
        cell: int | None = None,
    ) -> None:
        def layer(before: int, after: int) -> nn.Module:
            return nn.Conv2d(before, after, kernel_size=3, padding=1)

        cell = 1 if cell is None else checks.positive_int("cell", cell)
        pixels = cell**2
        widths = [pixels * in_channels, maps, maps, maps, pixels * heads * features]
        options = (pixels * mask_channels, pixels * mean_channels, carry, carry_mix, residual_pairs)
        super().__init__(widths, layer, heads, *options)
        self.cell = cell
        if cell > 1:
            self.net[-1] = self._pointwise(maps, widths[-1])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all convolutions to keep the variance of their input."""
        for layer in (*self.net, *(pair[0] for pair in self.pairs)):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self.zero_options()

    @staticmethod
    def _pointwise(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
        return nn.Conv2d(inputs, outputs, kernel_size=1, bias=bias)

    @staticmethod
    def _factors(channels: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(channels, 1, 1))

    def reach(self, window: int) -> int:
        """Pixels over which the image still changes a feature: a cell for each 3x3 convolution."""
        del window
        layers = sum(layer.padding[0] for layer in self.net if isinstance(layer, nn.Conv2d))
        # From any pixel of a cell to the far side of the last cell that is seen.
        return self.cell * (layers + 2 * len(self.pairs)) + self.cell - 1

    def _arrange(self, x: Tensor, topology: Topology) -> Tensor:
        if not isinstance(topology, Grid):
            raise TypeError(
                f"convolutional features need a Grid, got {type(topology).__name__}: images of one "
                'size as image_to_data makes them; for general graphs features_from="mlp" or "gnn"'
            )
        image = x.unflatten(-1, (topology.height, topology.width))
        if self.cell > 1:
            image = functional.pixel_unshuffle(self._whole_cells(image, topology), self.cell)
        if image.device.type == "cpu" and not torch.is_grad_enabled():
            # Forward alone oneDNN takes a quarter less time on large images, with backward as long.
            return image.contiguous(memory_format=torch.channels_last)
        return image

    def _whole_cells(self, image: Tensor, grid: Grid) -> Tensor:
        """With further rows and columns until all cells are whole: signals go on, masks do not."""
        above, left = self._missing(grid)
        below, right = -(above + grid.height) % self.cell, -(left + grid.width) % self.cell
        mode = "replicate" if image.is_floating_point() else "constant"
        return functional.pad(image, (left, right, above, below), mode=mode)

    def _missing(self, grid: Grid) -> tuple[int, int]:
        """Rows and columns of the first cell that lie before the image."""
        return -grid.origin[0] % self.cell, -grid.origin[1] % self.cell

    def _flat(self, x: Tensor, topology: Topology) -> Tensor:
        if self.cell > 1:
            above, left = self._missing(topology)
            x = functional.pixel_shuffle(x, self.cell)
            x = x[..., above : above + topology.height, left : left + topology.width]
        return x.flatten(-2)


class NodeFeatures(_Features):
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
        mask_channels: Channels of the mask, if the features see it (default: 0).
        mean_channels: Channels of a learned mean (default: 0, none).
        carry: See the maps of the block before (default: ``False``).
        carry_mix: Mix them, see :class:`~gsp_unroll.models.ModelConfig` (default: ``False``).
        residual_pairs: Pairs of further hidden layers (default: 0).

    Shapes:
        - **x:** ``[B, in_channels, N]``
        - **output:** :class:`Learned`; ``maps`` are ``[B, N, maps]``
    """

    def __init__(
        self,
        in_channels: int,
        heads: int,
        features: int,
        maps: int = 48,
        hops: int = 0,
        *,
        mask_channels: int = 0,
        mean_channels: int = 0,
        carry: bool = False,
        carry_mix: bool = False,
        residual_pairs: int = 0,
    ) -> None:
        checks.positive_int("hops", hops, minimum=0)
        widths = [in_channels * (hops + 1), maps, maps, heads * features]
        options = (mask_channels, mean_channels, carry, carry_mix, residual_pairs)
        super().__init__(widths, nn.Linear, heads, *options)
        self.hops = hops
        self.zero_options()

    @staticmethod
    def _pointwise(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
        return nn.Linear(inputs, outputs, bias=bias)

    @staticmethod
    def _factors(channels: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(channels))

    def reach(self, window: int) -> int:
        """Pixels over which the signal still changes a feature, on a grid with this window."""
        return self.hops * (window // 2)

    def _arrange(self, x: Tensor, topology: Topology) -> Tensor:
        del topology
        return x.mT

    def _flat(self, x: Tensor, topology: Topology) -> Tensor:
        del topology
        return x.mT

    def _seen(self, x: Tensor, topology: Topology) -> Tensor:
        rounds = [x]
        if self.hops:
            ones = x.new_ones(x.shape[0], topology.num_edges)
            degree = planar.degree(topology, ones).clamp(min=1).unsqueeze(-2)
            for _ in range(self.hops):
                last = rounds[-1]
                # P x = x - D^-1 L x; an isolated node keeps its own value.
                rounds.append(last - planar.laplacian(topology, ones, last) / degree)
        return self._arrange(torch.cat(rounds, dim=1), topology)
