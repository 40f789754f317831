"""uGLR: unrolled graph-Laplacian-regularised interpolation on learned graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.unrolled import HeadwiseBlock, UnrolledNetwork
from gsp_unroll.nn import GLRLayer
from gsp_unroll.ops import unrolled
from gsp_unroll.priors import GLR
from gsp_unroll.topology import Topology


class UGLR(UnrolledNetwork):
    r"""Unrolled graph Laplacian regulariser (Do et al., NeurIPS 2024).

    Each block learns ``heads`` graphs from the current signal and runs ``layers`` restarts of
    ``cg_steps`` CG steps with learned scalars on

    .. math:: \min_x x^\top L(w)x\quad\text{s.t. } Hx=y

    The defaults are the published size: 323 410 parameters with 3 channels, 319 090 with 1.

    Args:
        in_channels: Channels of the signal (default: 3).
        blocks: Number of blocks (default: 5).
        layers: Layers of each block (default: 5).
        cg_steps: CG steps of each layer (default: 10).
        heads: Graphs of each block (default: 4).
        features: Features of each graph (default: 12).
        maps: Channels between the convolutions (default: 48).
        window: Odd side of the pixel neighbourhood (default: 5).
        norm: ``"softmax"``, ``"symmetric"`` or ``"directed"`` (default: ``"softmax"``).
        laplacian: ``"combinatorial"`` or ``"normalized"`` (default: ``"combinatorial"``).
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
        laplacian: str = "combinatorial",
        features_from: str = "cnn",
        node_channels: int = 0,
        checkpointing: bool = False,
        keep_directions: bool = False,
    ) -> None:
        super().__init__(
            ModelConfig(
                "uglr", in_channels, blocks, layers, cg_steps, heads, features, maps, window, norm,
                laplacian, features_from, node_channels, checkpointing,
                keep_directions=keep_directions,
            )
        )  # fmt: skip

    def make_block(self, carry: bool, repeats: int) -> GLRBlock:
        return GLRBlock(self.config, carry, repeats)


class GLRBlock(HeadwiseBlock):
    """Block of :class:`UGLR`."""

    def __init__(self, config: ModelConfig, carry: bool = False, repeats: int = 0) -> None:
        super().__init__(config, carry, repeats)
        self.layers = nn.ModuleList(
            GLRLayer(config.cg_steps, config.heads) for _ in range(config.layers)
        )

    @property
    def fusible(self) -> bool:
        return super().fusible and self.config.laplacian == "combinatorial"

    def solve(self, topology: Topology, weight: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        solvers = unrolled.solvers(topology, weight, x) if self.fusible else None
        if solvers is not None:
            keep = self.config.keep_directions
            return unrolled.unrolled_glr(solvers, weight, x, observed, *self._scalars(x), keep=keep)
        directed = self.config.norm == "directed"

        def run(layer: GLRLayer, weight: Tensor, x: Tensor) -> Tensor:
            prior = GLR(topology, weight, self.config.laplacian, directed=directed)
            return layer(prior, x, observed.unsqueeze(1))

        return self.through_layers(run, weight, self.to_heads(x))

    def _scalars(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``alpha``, ``beta`` and ``kappa`` of all layers."""
        kappa = torch.stack([layer.kappa for layer in self.layers])
        return *self.cg_scalars(x.dtype), kappa.to(x.dtype)
