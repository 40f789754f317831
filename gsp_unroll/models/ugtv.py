"""uGTV: unrolled graph-total-variation interpolation on learned graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.recompute import recompute
from gsp_unroll.models.unrolled import HeadwiseBlock, UnrolledNetwork
from gsp_unroll.nn import GTVLayer
from gsp_unroll.ops import unrolled
from gsp_unroll.ops.backends.base import SMALLEST_WEIGHT
from gsp_unroll.priors import GTV
from gsp_unroll.solvers.admm import LPState
from gsp_unroll.topology import Topology


class UGTV(UnrolledNetwork):
    r"""Unrolled graph total variation (Do et al., NeurIPS 2024).

    Each block learns ``heads`` graphs from the current signal and runs ``layers`` ADMM iterations,
    each with ``cg_steps`` CG steps with learned scalars, on

    .. math:: \min_x \|Cx\|_1\quad\text{s.t. } Hx=y

    The incidence matrix carries the square root of the learned weight, so that
    :math:`C^\top C=L(w)` has the spectrum of the normalised graph whatever is learned.

    The defaults are the published size: 323 435 parameters with 3 channels, 319 115 with 1.

    Args:
        in_channels: Channels of the signal (default: 3).
        blocks: Number of blocks (default: 5).
        layers: Layers of each block (default: 5).
        cg_steps: CG steps of each layer (default: 10).
        heads: Graphs of each block (default: 4).
        features: Features of each graph (default: 12).
        maps: Channels between the convolutions (default: 48).
        window: Odd side of the pixel neighbourhood (default: 5).
        norm: ``"softmax"`` or ``"symmetric"`` (default: ``"softmax"``).
        features_from: ``"cnn"`` for images, ``"mlp"`` or ``"gnn"`` for any graph (default:
            ``"cnn"``).
        node_channels: Further node attributes for ``"mlp"`` and ``"gnn"`` (default: 0).
        checkpointing: Recompute features and graphs in backward, and layers where they are not
            recomputed anyway (default: ``False``).
        keep_directions: Compiled solvers keep the directions of all CG steps for backward, see
            :class:`ModelConfig` (default: ``False``).

    Shapes:
        - **y:** ``[B, C, H, W]``, or ``[B, C, N]`` with a topology
        - **mask:** boolean, broadcastable to ``y``
        - **output:** the shape of ``y``

    Raises:
        TypeError: If a size is not an ``int``.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        blocks: int = 5,
        layers: int = 5,
        cg_steps: int = 10,
        heads: int = 4,
        features: int = 12,
        maps: int = 48,
        window: int = 5,
        norm: str = "softmax",
        features_from: str = "cnn",
        node_channels: int = 0,
        checkpointing: bool = False,
        keep_directions: bool = False,
    ) -> None:
        super().__init__(
            ModelConfig(
                "ugtv", in_channels, blocks, layers, cg_steps, heads, features, maps, window, norm,
                features_from=features_from, node_channels=node_channels,
                checkpointing=checkpointing, keep_directions=keep_directions,
            )
        )  # fmt: skip

    def make_block(self, carry: bool, repeats: int) -> GTVBlock:
        return GTVBlock(self.config, carry, repeats)


class GTVBlock(HeadwiseBlock):
    """Block of :class:`UGTV`."""

    def __init__(self, config: ModelConfig, carry: bool = False, repeats: int = 0) -> None:
        super().__init__(config, carry, repeats)
        self.layers = nn.ModuleList(
            GTVLayer(config.cg_steps, config.heads) for _ in range(config.layers)
        )

    def solve(self, topology: Topology, weight: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        solvers = unrolled.solvers(topology, weight, x) if self.fusible else None
        if solvers is not None:
            scalars, keep = self._scalars(x), self.config.keep_directions
            return unrolled.unrolled_gtv(solvers, weight, x, observed, *scalars, keep=keep)
        root = weight.clamp(min=SMALLEST_WEIGHT).sqrt()

        def run(
            layer: GTVLayer, root: Tensor, x: Tensor, v1: Tensor, v2: Tensor, ua: Tensor,
            sum_ab: Tensor, ratio: Tensor,
        ) -> tuple[Tensor, ...]:  # fmt: skip
            state = LPState(v1, v2, ua, sum_ab).rescale(ratio)
            x, state = layer(GTV(topology, root), x, observed.unsqueeze(1), state)
            return x, state.v1, state.v2, state.ua, state.sum_ab

        x = self.to_heads(x)
        state = LPState.start(GTV(topology, root).difference(x))
        edges = (state.v1, state.v2, state.ua, state.sum_ab)
        for layer, ratio in zip(self.layers, self._ratios(x), strict=True):
            x, *edges = recompute(self, run, layer, root, x, *edges, ratio)
        return x

    def _ratios(self, x: Tensor) -> Tensor:
        """What the penalty was before each layer over what it is: ``[layers]``, 1 for the first."""
        gamma = torch.stack([layer.gamma for layer in self.layers])
        return (torch.cat([gamma[:1], gamma[:-1]]) / gamma).to(x.dtype)

    def _scalars(self, x: Tensor) -> tuple[Tensor, ...]:
        """``alpha``, ``beta``, thresholds and ratios of all layers."""
        threshold = torch.stack([layer.threshold for layer in self.layers])
        return *self.cg_scalars(x.dtype), threshold.to(x.dtype), self._ratios(x)
