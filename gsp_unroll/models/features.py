"""The features of a block, of the kind and size that its network asks for, and what they see."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll.models.config import ModelConfig
from gsp_unroll.nn import ImageFeatures, NodeFeatures


def make_features(
    config: ModelConfig, heads: int, features: int, *, mean: bool, carry: bool
) -> ImageFeatures | NodeFeatures:
    """New features of one block.

    Args:
        config: Size and form of the network.
        heads: Feature vectors at each node.
        features: Length of each.
        mean: They also give a mean of the signal.
        carry: They see the maps of the block before.
    """
    channels = config.in_channels
    size = (channels + config.node_channels, heads, features, config.maps)
    options = {
        "mask_channels": channels if config.sees_mask else 0,
        "mean_channels": channels if mean else 0,
        "carry": carry,
        "carry_mix": config.carry_mix,
        "residual_pairs": config.residual_pairs,
    }
    if config.features_from == "cnn":
        return ImageFeatures(*size, **options, cell=config.cell)
    return NodeFeatures(*size, hops=2 if config.features_from == "gnn" else 0, **options)


def with_attributes(x: Tensor, attributes: Tensor | None) -> Tensor:
    """What features see: the signal ``[B, C, N]`` and, if given, attributes ``[B, A, N]``."""
    return x if attributes is None else torch.cat([x, attributes], dim=1)
