"""uGLR+: all learned graphs in one prior on mixed channels, gated at each node, and one solve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.unrolled import UnrolledBlock, UnrolledNetwork
from gsp_unroll.nn import GLRLayer, gated_weights
from gsp_unroll.ops import unrolled
from gsp_unroll.priors import JointGLR
from gsp_unroll.priors.joint_glr import channel_mix
from gsp_unroll.topology import Topology


class UGLRPlus(UnrolledNetwork):
    r"""uGLR with the priors of all heads summed into one system (this library's variant).

    Each block learns ``heads`` graphs and a gate :math:`g^h_i>0` for each node and graph, and
    solves once with unrolled CG, where :class:`~gsp_unroll.models.UGLR` solves on each graph and
    channel alone:

    .. math:: \min_x\sum_h\|T_hx\|_{L(\tilde w^h)}^2\quad\text{s.t. }Hx=y

    :math:`T_h` mixes the channels of each node and is learned (``channels x channels`` for each
    head); half of the heads start at the identity, half at the differences of the channels from
    their mean. :math:`\tilde w^h` are the weights of :class:`~gsp_unroll.nn.MahalanobisGraph`,
    gated and normalised over all heads, see :func:`~gsp_unroll.nn.gated_weights`. The prior stays
    symmetric and positive semidefinite and the samples stay exact; the maximum principle for each
    channel is given up.

    With ``mean`` the features also say what the signal should be. The block then solves

    .. math:: \min_x\sum_h\|T_h(x-m)\|_{L(\tilde w^h)}^2\quad\text{s.t. }Hx=y

    the conditional mean of a Gaussian Markov random field with mean :math:`m` and precision
    :math:`\sum_hT_h^\top L_hT_h`: the graphs spread what the samples say beyond the mean. :math:`m`
    is a linear map of the last hidden layer plus a learned share of the current signal, both zero
    at first.

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
        mean: Learn a mean of the prior (default: ``False``).
        sees_mask: The features see which samples are observed (default: ``False``).
        carry: The features of a block see the maps of the block before (default: ``False``).
        bounds: Smallest and largest value of an estimate that is not observed, or ``None``. The
            steps of CG are learned, so that far from what they were learned on (another kind of
            mask) they may diverge at some nodes, and features of such an estimate spread it. For
            images in [0, 1], ``(-0.25, 1.25)`` stops that and leaves room for any estimate that
            makes sense. Beyond the bounds a gradient is zero (default: ``None``).
        checkpointing: Recompute features, graphs and layers in backward (default: ``False``).
        keep_directions: Compiled solvers keep the directions of all CG steps for backward, see
            :class:`ModelConfig` (default: ``False``).
        offset_scores: Weights depend on where in the window a neighbour is, too, see
            :class:`~gsp_unroll.nn.MahalanobisGraph` (default: ``False``).
        repeats: The last block restores so many times again, each time with graphs that it learns
            from its own result; one more parameter each (default: 0).
        carry_mix: With ``carry``, maps are mixed by a matrix (default: ``False``).
        residual_pairs: Pairs of further convolutions in the features of each block, added to what
            they see (default: 0).
        cell: The convolutions work on cells of so many pixels a side, see
            :class:`~gsp_unroll.nn.ImageFeatures`; ``None`` = on each pixel (default: ``None``).

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
        mean: bool = False,
        sees_mask: bool = False,
        carry: bool = False,
        bounds: tuple[float, float] | None = None,
        checkpointing: bool = False,
        keep_directions: bool = False,
        offset_scores: bool = False,
        repeats: int = 0,
        carry_mix: bool = False,
        residual_pairs: int = 0,
        cell: int | None = None,
    ) -> None:
        super().__init__(
            ModelConfig(
                "uglr-plus", in_channels, blocks, layers, cg_steps, heads, features, maps, window,
                norm, "combinatorial", features_from, node_channels, checkpointing,
                mean=mean, sees_mask=sees_mask, carry=carry, bounds=bounds,
                keep_directions=keep_directions, offset_scores=offset_scores, repeats=repeats,
                carry_mix=carry_mix, residual_pairs=residual_pairs, cell=cell,
            )
        )  # fmt: skip

    def make_block(self, carry: bool, repeats: int) -> JointGLRBlock:
        return JointGLRBlock(self.config, carry, repeats)


# The compiled solver takes one thread an image. One layer after the other keeps all threads busy
# but goes through memory: two threads take twice as long (512 x 768 pixels). This many are a guess.
_SOLVES = 6


class JointGLRBlock(UnrolledBlock):
    """Block of :class:`UGLRPlus`."""

    # A degree over all heads sees one edge farther than the weights that it is the sum of.
    normalisation_reach = 2
    # The last feature of each head is the logarithm of its gate.
    gates = 1

    def __init__(self, config: ModelConfig, carry: bool = False, repeats: int = 0) -> None:
        super().__init__(config, carry, repeats)
        self.layers = nn.ModuleList(GLRLayer(config.cg_steps, 1) for _ in range(config.layers))
        self.transform = nn.Parameter(
            torch.empty(config.heads, config.in_channels, config.in_channels)
        )
        self.reset_parameters()

    @property
    def fusible(self) -> bool:
        # The compiled solver works with a matrix of C x C for each edge; with three channels in a
        # way of its own, faster than one head.
        return super().fusible and self.config.in_channels <= max(self.config.heads, 3)

    def reset_parameters(self) -> None:
        """Start at equal gates, and at the identity and the differences from the mean in turn."""
        channels = self.config.in_channels
        identity = torch.eye(channels)
        difference = identity - 1 / channels if channels > 1 else identity
        with torch.no_grad():
            self.transform[0::2] = identity
            self.transform[1::2] = difference
            last = self.features.net[-1]
            outputs = self.config.features + self.gates
            for parameter in (last.weight, last.bias):
                # The rest are the pixels of a cell.
                parameter.unflatten(0, (self.config.heads, outputs, -1))[:, -1].zero_()

    def weights(self, topology: Topology, features: Tensor) -> Tensor:
        weight = self.graph.weights(topology, features[:, :, :-1])
        gate = features[:, :, -1].to(weight.dtype).softmax(1)
        return gated_weights(topology, weight, gate)

    def joint_prior(self, topology: Topology, weight: Tensor) -> JointGLR:
        return JointGLR(topology, weight, self.transform)

    def restore(self, topology: Topology, weight: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        solvers = unrolled.solvers(topology, weight, x) if self.fusible else None
        threads = torch.get_num_threads()
        if solvers is not None and (torch.is_grad_enabled() or _SOLVES * len(x) >= threads):
            scalars, keep = self._scalars(x.dtype), self.config.keep_directions
            return unrolled.unrolled_joint_glr(solvers, weight, x, observed, *scalars, keep=keep)

        def run(layer: GLRLayer, weight: Tensor, x: Tensor) -> Tensor:
            return layer(self.joint_prior(topology, weight), x, observed)

        return self.through_layers(run, weight, x)

    def _scalars(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """``alpha``, ``beta`` and ``kappa`` of all layers, and how heads mix the channels."""
        alpha = torch.stack([layer.cg.alpha[:, 0] for layer in self.layers])
        beta = torch.stack([layer.cg.beta[:, 0] for layer in self.layers])
        kappa = torch.stack([layer.kappa for layer in self.layers])
        return tuple(v.to(dtype) for v in (alpha, beta, kappa, channel_mix(self.transform)))
