"""What uGLR and uGTV share: first guess, blocks of graph learning and solving, exact samples."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observation, check_observed, signal_and_mask
from gsp_unroll.models.block_result import BlockResult
from gsp_unroll.models.config import EXTRAS, ModelConfig
from gsp_unroll.models.features import make_features, with_attributes
from gsp_unroll.models.recompute import recompute
from gsp_unroll.nn import MahalanobisGraph
from gsp_unroll.observe.fill import fill_in
from gsp_unroll.observe.masks import mask_origin
from gsp_unroll.observe.propagate import propagate_fill
from gsp_unroll.priors import JointGLR
from gsp_unroll.topology import Grid, Topology
from gsp_unroll.topology.from_data import from_planar, to_planar

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class BlockReport:
    """What one block did, for looking at it.

    Attributes:
        topology: Structure.
        weight: Learned planar weights ``[B, heads, M]``; ``[B, heads, 2, M]`` if directed.
        estimate: Signal after the block ``[B, C, N]``.
        mean: Mean of the prior ``[B, C, N]`` if it is learned.
    """

    topology: Topology
    weight: Tensor
    estimate: Tensor
    mean: Tensor | None


class UnrolledBlock(nn.Module, ABC):
    """Learn graphs from the current signal, solve on them, blend with the input.

    The samples are put back into ``x_new``, what the solvers return, then
    ``p x_new + (1 - p) x`` with learned ``p`` (0.95 at first), kept within ``bounds``. With a
    learned mean ``m`` the solvers restore ``x - m``, and ``m`` is added to the result. A block with
    ``repeats`` goes on from there: the same parameters, but for a ``p`` of its own each time (0.3
    at first), learn graphs from the better signal.

    Args:
        config: Size and form of the network.
        carry: The features see the maps of the block before.
        repeats: How many times again.
    """

    layers: nn.ModuleList
    # Edges over which the normalisation of a weight sees, beyond the far end of its edge.
    normalisation_reach = 1
    # Further outputs of the features for each head.
    gates = 0

    def __init__(self, config: ModelConfig, carry: bool = False, repeats: int = 0) -> None:
        super().__init__()
        outputs = config.features + self.gates
        self.features = make_features(config, config.heads, outputs, mean=config.mean, carry=carry)
        # Share of the current signal in the mean.
        self.mean_share = nn.Parameter(torch.tensor(0.0)) if config.mean else None
        window = config.window if config.offset_scores else None
        self.graph = MahalanobisGraph(config.heads, config.features, config.norm, window=window)
        self.skip = nn.Parameter(torch.tensor(0.95))
        self.skips_again = nn.Parameter(torch.full((repeats,), 0.3)) if repeats else None
        self.config = config

    @property
    def reach(self) -> int:
        r"""Pixels over which the block sees: rows or columns, on the grid of an image.

        .. math:: \Big(\sum_{layers}reach_{layer}+1\Big)\lfloor window/2\rfloor+reach_{features}

        A pixel farther away than this changes nothing, whatever was learned. The 1 (2 in uGLR+) is
        the normalisation of the last weight by the neighbours of its far end, which directed
        weights do without. 106 for the published size. As often again as the block repeats.
        """
        window = self.config.window
        once = self._edges_seen() * (window // 2) + self.features.reach(window)
        return len(self._skips()) * once

    @property
    def hops(self) -> int:
        """Edges over which the block sees on a general graph."""
        return len(self._skips()) * (self._edges_seen() + self.features.reach(3))

    @property
    def fusible(self) -> bool:
        """Whether a compiled solver, where the topology has one, may run all layers in one call."""
        return self.config.norm != "directed"

    def _edges_seen(self) -> int:
        edges = sum(layer.reach for layer in self.layers)
        return edges + (self.normalisation_reach if self.config.norm != "directed" else 0)

    @abstractmethod
    def restore(self, topology: Topology, weight: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        """Restore ``x [B, C, N]`` with the graphs ``weight [B, heads, M]`` -> ``[B, C, N]``."""

    @abstractmethod
    def joint_prior(self, topology: Topology, weight: Tensor) -> JointGLR:
        """The learned graphs ``weight [B, heads, M]`` as one prior on ``[B, C, N]``."""

    def weights(self, topology: Topology, features: Tensor) -> Tensor:
        """Graphs ``[B, heads, M]`` from ``features [B, heads, F, N]``."""
        return self.graph.weights(topology, features)

    def learn(
        self,
        topology: Topology,
        x: Tensor,
        observed: Tensor,
        attributes: Tensor | None,
        carried: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Graphs ``[B, heads, M]``, the mean of the prior, and maps for the next block."""
        seen = with_attributes(x, attributes)
        learned = self.features(seen, topology, observed, carried)
        mean = learned.mean
        if mean is not None:
            mean = mean.to(x.dtype) + self.mean_share.to(x.dtype) * x
        weight = self.weights(topology, learned.features).to(x.dtype)
        return weight, mean, learned.maps if self.config.carry else None

    def through_layers(
        self, run: Callable[[nn.Module, Tensor, Tensor], Tensor], weight: Tensor, x: Tensor
    ) -> Tensor:
        """``x = run(layer, weight, x)`` layer by layer, each recomputed in backward if asked."""
        for layer in self.layers:
            x = recompute(self, run, layer, weight, x)
        return x

    def forward(
        self,
        topology: Topology,
        x: Tensor,
        observed: Tensor,
        attributes: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> BlockResult:
        """The next signal, and what it was made with."""
        weight = mean = maps = None
        for skip in self._skips():
            # Those of the time before are not kept beside the new ones.
            del weight, mean, maps
            seen = (topology, x, observed, attributes, carried)
            weight, mean, maps = recompute(self, self.learn, *seen)
            if mean is None:
                restored = self.restore(topology, weight, x, observed)
            else:
                restored = mean + self.restore(topology, weight, x - mean, observed)
            skip = skip.to(x.dtype)
            # On observed nodes the blend is of y with y, but not bit for bit: keep x there.
            estimate = skip * restored + (1 - skip) * x
            if self.config.bounds is not None:
                estimate = estimate.clamp(*self.config.bounds)
            x = torch.where(observed, x, estimate)
        return BlockResult(x, weight, mean, maps)

    def _skips(self) -> list[Tensor]:
        """The share of what is restored, each time."""
        return [self.skip, *(() if self.skips_again is None else self.skips_again)]


class HeadwiseBlock(UnrolledBlock):
    """Solve on each graph alone and mix: ``x_new = sum_h a_h x_h``, ``a_h = 1/heads`` at first."""

    def __init__(self, config: ModelConfig, carry: bool = False, repeats: int = 0) -> None:
        super().__init__(config, carry, repeats)
        self.head_weight = nn.Parameter(torch.full((config.heads,), 1 / config.heads))

    @abstractmethod
    def solve(self, topology: Topology, weight: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        """Restore ``x [B, C, N]`` on each of the graphs ``weight [B, heads, M]``.

        Returns:
            ``[B, heads, C, N]``.
        """

    def restore(self, topology: Topology, weight: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        solved = self.solve(topology, weight, x, observed)
        return (self.head_weight.to(x.dtype)[:, None, None] * solved).sum(1)

    def joint_prior(self, topology: Topology, weight: Tensor) -> JointGLR:
        root = self.head_weight.clamp(min=0).sqrt()
        channels = torch.eye(self.config.in_channels, dtype=root.dtype, device=root.device)
        return JointGLR(topology, weight, root[:, None, None] * channels)

    def to_heads(self, x: Tensor) -> Tensor:
        """The same signal for every head, ``[B, C, N] -> [B, heads, C, N]``."""
        return x.unsqueeze(1).expand(-1, self.config.heads, -1, -1)

    def cg_scalars(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """``alpha`` and ``beta`` of all layers, each ``[layers, steps, heads]``."""
        alpha = torch.stack([layer.cg.alpha for layer in self.layers])
        beta = torch.stack([layer.cg.beta for layer in self.layers])
        return alpha.to(dtype), beta.to(dtype)


class UnrolledNetwork(nn.Module, ABC):
    """Base of :class:`UGLR` and :class:`UGTV`: call it with images or graph signals."""

    config: ModelConfig

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList()
        for k in range(config.blocks):
            # The first block has none before it.
            carry = config.carry and k > 0
            repeats = config.repeats if k == config.blocks - 1 else 0
            self.blocks.append(self.make_block(carry, repeats))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.blocks[-1].skip.device

    @property
    def dtype(self) -> torch.dtype:
        """What the parameters are."""
        return self.blocks[-1].skip.dtype

    @abstractmethod
    def make_block(self, carry: bool, repeats: int) -> UnrolledBlock:
        """One new block, see :class:`UnrolledBlock`."""

    def forward(
        self,
        y: Tensor,
        mask: Tensor,
        topology: Topology | None = None,
        attributes: Tensor | None = None,
    ) -> Tensor:
        """Restore a batch of images or of graph signals.

        Args:
            y: Samples, images ``[B, C, H, W]`` or, with ``topology``, signals ``[B, C, N]``;
                in the dtype of the parameters, values outside ``mask`` are ignored.
            mask: Boolean, broadcastable to ``y``, ``True`` = observed.
            topology: Structure (default: the window grid of the image). The first guess is that of
                an image without one and, for ``features_from="cnn"``, on a grid; else it is
                propagated over the edges.
            attributes: Further node attributes ``[B, node_channels, N]``.

        Returns:
            The restored signal in the shape of ``y``; observed samples come back bit for bit.

        Raises:
            TypeError: If a dtype does not fit.
            ValueError: If a shape or device does not fit, a sample is NaN, or a channel has
                nothing observed.
        """
        return self._run(y, mask, topology, attributes, None)

    @classmethod
    def from_pretrained(cls, weights: str | Path, device: torch.device | str = "cpu") -> Self:
        """Load weights that ship with the package, or a file, in evaluation mode.

        Args:
            weights: A name of :func:`gsp_unroll.models.shipped_weights`, or the path of a
                ``.safetensors`` file.
            device: Where the network goes.

        Raises:
            ValueError: If the name is unknown, the file is missing, damaged or changed, or it
                holds another class of network.
        """
        # Not at the top: that module builds networks, and they are subclasses of this class.
        from gsp_unroll.models.pretrained import load_pretrained

        model = load_pretrained(weights, device)
        if not isinstance(model, cls):
            raise ValueError(
                f"weights {str(weights)!r} are of a {type(model).__name__}, not of a "
                f"{cls.__name__}; use {type(model).__name__}.from_pretrained"
            )
        return model

    def save_pretrained(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
        """Write weights and configuration, see :func:`gsp_unroll.models.save_pretrained`."""
        from gsp_unroll.models.pretrained import save_pretrained

        return save_pretrained(self, path, metadata)

    @torch.no_grad()
    def explain(
        self,
        y: Tensor,
        mask: Tensor,
        topology: Topology | None = None,
        attributes: Tensor | None = None,
    ) -> list[BlockReport]:
        """The learned graph and the estimate of every block; arguments as in :meth:`forward`."""
        reports: list[BlockReport] = []
        self._run(y, mask, topology, attributes, reports)
        return reports

    def restore(self, data: Data) -> Data:
        """Fill in the missing values of a PyG ``Data`` or ``Batch``.

        Args:
            data: ``x [N]`` or ``[N, C]`` (NaN = missing), boolean ``mask [N]`` or ``[N, C]``
                (``True`` = observed; default: where ``x`` is not NaN) and ``edge_index``;
                images from :func:`gsp_unroll.graphs.image_to_data` run on their grid. With
                ``node_channels`` further attributes are in ``data.attributes [N, node_channels]``.

        Returns:
            A copy of ``data`` with ``x`` restored.

        Raises:
            TypeError: If a dtype does not fit.
            ValueError: If something is missing or does not fit.
        """
        topology = Topology.from_data(data)
        signal, mask = signal_and_mask(data)
        extra = data.get("attributes")
        restored = self(
            to_planar(topology, signal),
            to_planar(topology, mask),
            topology,
            None if extra is None else to_planar(topology, extra),
        )
        out = copy.copy(data)
        out.x = from_planar(restored).reshape(data.x.shape)
        return out

    def _run(
        self,
        y: Tensor,
        mask: Tensor,
        topology: Topology | None,
        attributes: Tensor | None,
        reports: list[BlockReport] | None,
    ) -> Tensor:
        channels = self.config.in_channels
        # Convolutions see images, whoever made the grid; what also runs on graphs takes it as one.
        convolved = self.config.features_from == "cnn"
        image = topology is None or (convolved and isinstance(topology, Grid))
        if topology is None:
            checks.shape("y", checks.tensor("y", y), ["B", channels, "H", "W"])
            if y.numel() == 0:
                raise ValueError(f"y must not be empty, got shape {list(y.shape)}")
            topology = _grid(*y.shape[-2:], self.config.window, str(y.device))
        else:
            checks.shape("y", checks.tensor("y", y), ["B", channels, topology.num_nodes])
            checks.same_device(y=y, topology=topology)
        observed = check_observation(y, mask)
        if image:
            size = (*y.shape[:2], topology.height, topology.width)
            seen = observed.reshape(size)
            x = fill_in(torch.where(seen, y.reshape(size), 0), seen).flatten(-2)
            topology = topology.with_origin(self.origin(seen))
        else:
            check_observed(topology, observed)
            x = propagate_fill(topology, torch.where(observed, y, 0), observed)
        self.check_dtype("y", y)
        checks.same_device(y=x, network=self.blocks[-1].skip)
        self.check_attributes(attributes, x)
        observed = observed.reshape_as(x)
        maps = None
        for block in self.blocks:
            x, weight, mean, maps = block(topology, x, observed, attributes, maps)
            if reports is not None:
                reports.append(BlockReport(topology, weight, x, mean))
        return x.view_as(y)

    def origin(self, mask: Tensor) -> tuple[int, int]:
        """Where cells start on images with this mask ``[..., C, H, W]``: with its pattern."""
        cell = self.config.cell
        return (0, 0) if cell is None else mask_origin(mask, cell)

    def check_dtype(self, name: str, y: Tensor) -> None:
        """Raise ``TypeError`` unless ``y`` has the dtype of the parameters, single or double."""
        dtype = self.dtype
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"the parameters of the network must be float32 or float64, got {dtype}; use "
                "autocast for AMP"
            )
        if y.dtype != dtype:
            raise TypeError(
                f"{name} must be {dtype} as the parameters of the network are, got {y.dtype}; "
                f"convert {name}, or the network with .double(); use autocast for AMP"
            )

    def check_attributes(self, attributes: Tensor | None, x: Tensor) -> None:
        """Raise unless ``attributes`` fit the network and the signal ``x``."""
        expected = [x.shape[0], self.config.node_channels, x.shape[2]]
        if attributes is None:
            if self.config.node_channels:
                raise ValueError(f"attributes must be given with shape {expected}, got None")
            return
        checks.floating("attributes", attributes)
        checks.shape("attributes", attributes, expected)
        checks.finite("attributes", attributes)
        checks.same_device(y=x, attributes=attributes)

    def extra_repr(self) -> str:
        c = self.config
        return (
            f"in_channels={c.in_channels}, blocks={c.blocks}, layers={c.layers}, "
            f"cg_steps={c.cg_steps}, heads={c.heads}, features={c.features}, norm={c.norm!r}"
            + "".join(f", {name}={getattr(c, name)!r}" for name in EXTRAS if getattr(c, name))
        )


@lru_cache(maxsize=32)
def _grid(height: int, width: int, window: int, device: str) -> Grid:
    """Grids are shared between calls, so that what they cache is made once."""
    return Grid(height, width, window, device=device)
