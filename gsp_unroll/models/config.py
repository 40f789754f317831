"""The constructor arguments of a network as one typed record, for files and checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gsp_unroll import checks
from gsp_unroll.ops.softmax import NORMS
from gsp_unroll.priors import LAPLACIANS
from gsp_unroll.topology.grid import check_window

NETWORKS = ("uglr", "ugtv", "uglr-plus")
# Switches of uGLR+ beyond the published form. A new network with one starts as without it.
OPTIONS = ("mean", "sees_mask", "carry", "carry_mix", "offset_scores")
# All fields that only uGLR+ has.
EXTRAS = (*OPTIONS, "bounds", "repeats", "residual_pairs", "cell")
# These say how gradients are computed, not what is.
IN_BACKWARD = ("checkpointing", "keep_directions")
FEATURES = ("cnn", "mlp", "gnn")


@dataclass(frozen=True)
class ModelConfig:
    """Size and form of an unrolled network; the defaults are the published one.

    Attributes:
        name: ``"uglr"``, ``"ugtv"`` or ``"uglr-plus"``.
        in_channels: Channels of the signal (3 = RGB, 1 = luma).
        blocks: Blocks, each with a graph of its own; parameters are not shared.
        layers: Layers (restarts of CG, or ADMM iterations) in each block.
        cg_steps: CG steps in each layer.
        heads: Graphs learned side by side in each block.
        features: Length of the feature vector of each graph.
        maps: Channels between the convolutions (width of the MLP).
        window: Odd side of the pixel neighbourhood; not used on general graphs.
        norm: Weight normalisation, see :mod:`gsp_unroll.ops.softmax`.
        laplacian: ``"combinatorial"`` or ``"normalized"``; used by uGLR.
        features_from: ``"cnn"`` (images), ``"mlp"`` or ``"gnn"`` (any graph).
        node_channels: Further node attributes that the features see (``mlp`` and ``gnn``).
        checkpointing: Recompute features and graphs in backward instead of keeping them, and layers
            where they are not recomputed anyway.
        mean: The prior has a learned mean; ``"uglr-plus"`` only, as the next two, ``bounds`` and
            ``offset_scores``.
        sees_mask: The features see which samples are observed.
        carry: The features of a block see the hidden maps of the block before.
        bounds: Smallest and largest value that a block may estimate, ``None`` = any.
        keep_directions: Compiled solvers keep the directions of all CG steps for backward instead
            of running forward again there: less time, more memory, see docs/method.md. May be
            used together with ``checkpointing``, which then is about features and graphs.
        offset_scores: Weights depend on where in the window a neighbour is, not only on features.
        repeats: The last block restores so many times again, from its own result and with the same
            parameters; ``"uglr-plus"`` only.
        carry_mix: The maps of the block before are mixed by a matrix, not weighed one by one; with
            ``carry``.
        residual_pairs: So many pairs of further convolutions in the features of each block, whose
            result is added to what they see; ``"uglr-plus"`` only.
        cell: Side of the square cells of pixels that the convolutions work on, 2 or more, ``None``
            = each pixel; ``"uglr-plus"`` with ``features_from="cnn"`` only, see
            :class:`~gsp_unroll.nn.ImageFeatures`.
    """

    name: str = "ugtv"
    in_channels: int = 3
    blocks: int = 5
    layers: int = 5
    cg_steps: int = 10
    heads: int = 4
    features: int = 12
    maps: int = 48
    window: int = 5
    norm: str = "softmax"
    laplacian: str = "combinatorial"
    features_from: str = "cnn"
    node_channels: int = 0
    checkpointing: bool = False
    mean: bool = False
    sees_mask: bool = False
    carry: bool = False
    bounds: tuple[float, float] | None = None
    keep_directions: bool = False
    offset_scores: bool = False
    repeats: int = 0
    carry_mix: bool = False
    residual_pairs: int = 0
    cell: int | None = None

    def __post_init__(self) -> None:
        checks.one_of("name", self.name, NETWORKS)
        for size in ("in_channels", "blocks", "layers", "cg_steps", "heads", "features", "maps"):
            checks.positive_int(size, getattr(self, size))
        for count in ("node_channels", "repeats", "residual_pairs"):
            checks.positive_int(count, getattr(self, count), minimum=0)
        check_window(self.window)
        checks.one_of("norm", self.norm, NORMS)
        checks.one_of("laplacian", self.laplacian, LAPLACIANS)
        checks.one_of("features_from", self.features_from, FEATURES)
        for switch in (*OPTIONS, *IN_BACKWARD):
            checks.boolean(switch, getattr(self, switch))
        for extra in EXTRAS:
            value = getattr(self, extra)
            if value and self.name != "uglr-plus":
                raise ValueError(
                    f"{extra} must be {getattr(ModelConfig, extra)!r} with name={self.name!r}, the "
                    f"published form, got {value!r}; name='uglr-plus' has it"
                )
        if self.bounds is not None:
            self._check_bounds()
        if self.cell is not None:
            checks.positive_int("cell", self.cell, minimum=2)
        if self.carry_mix and not self.carry:
            raise ValueError("carry_mix must be False without carry, which it is a form of")
        for extra, missing in (("offset_scores", "window"), ("cell", "cells")):
            value = getattr(self, extra)
            if value and self.features_from != "cnn":
                raise ValueError(
                    f"{extra} must be {getattr(ModelConfig, extra)!r} unless features_from='cnn', "
                    f"got {value!r} with features_from={self.features_from!r}: a general graph has "
                    f"no {missing}"
                )
        if self.features_from == "cnn" and self.node_channels:
            raise ValueError(
                f"node_channels must be 0 with features_from='cnn', got {self.node_channels}"
            )
        if self.name != "uglr" and self.norm == "directed":
            raise ValueError(
                f"norm='directed' needs name='uglr', got name={self.name!r}: its prior weighs each "
                "undirected edge once"
            )
        if self.name == "uglr-plus" and self.laplacian != "combinatorial":
            raise ValueError(
                "laplacian must be 'combinatorial' with name='uglr-plus', whose weights are "
                f"normalised over all heads together, got {self.laplacian!r}"
            )

    def _check_bounds(self) -> None:
        try:
            low, high = self.bounds
        except (TypeError, ValueError) as error:
            raise ValueError(f"bounds must be two numbers, got {self.bounds!r}") from error
        low, high = checks.in_range("bounds", low), checks.in_range("bounds", high)
        if low >= high:
            raise ValueError(f"bounds must rise, got {low!r} and {high!r}")
        # Files have no tuples, and records are compared.
        object.__setattr__(self, "bounds", (low, high))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, e.g. for YAML or JSON."""
        return asdict(self)
