"""Blocks in front of those that restore: features of the first guess alone."""

from __future__ import annotations

from torch import Tensor, nn

from gsp_unroll.models.block_result import BlockResult
from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.features import make_features, with_attributes
from gsp_unroll.models.recompute import recompute
from gsp_unroll.topology import Topology


class StemBlock(nn.Module):
    r"""Hand on maps and leave the signal as it is: no graph, nothing to solve.

    With the layers of :class:`~gsp_unroll.nn.ImageFeatures` (or ``NodeFeatures``), whose last
    hidden layer is :math:`h`, and whose last layer :math:`F` has as many outputs:

    .. math:: \text{maps}=\max\big(0,\,h+F(h)\big)

    Args:
        config: Size and form of the network.
        carry: The features see the maps of the block before.
    """

    def __init__(self, config: ModelConfig, carry: bool) -> None:
        super().__init__()
        self.features = make_features(config, 1, config.maps, mean=False, carry=carry)
        self.config = config

    @property
    def reach(self) -> int:
        """Pixels over which the block sees: rows or columns, on the grid of an image."""
        return self.features.reach(self.config.window)

    @property
    def hops(self) -> int:
        """Edges over which the block sees on a general graph."""
        return self.features.reach(3)

    def learn(
        self,
        topology: Topology,
        x: Tensor,
        observed: Tensor,
        attributes: Tensor | None,
        carried: Tensor | None,
    ) -> Tensor:
        """Maps for the next block."""
        seen = with_attributes(x, attributes)
        hidden = self.features.hidden(seen, topology, observed, carried)
        return (hidden + self.features.net[-1](hidden)).relu_()

    def forward(
        self,
        topology: Topology,
        x: Tensor,
        observed: Tensor,
        attributes: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> BlockResult:
        """The signal as it came, and maps."""
        maps = recompute(self, self.learn, topology, x, observed, attributes, carried)
        return BlockResult(x, maps=maps)
