"""A learned network for signals on any graph: fit, predict, score."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observation, check_observed, signal_and_mask
from gsp_unroll.inference.pieces import restore_in_pieces
from gsp_unroll.models import (
    ModelConfig,
    UnrolledNetwork,
    build,
    load_pretrained,
    pretrained_metadata,
    save_pretrained,
)
from gsp_unroll.models.detrended import DetrendedNetwork, graph_mean
from gsp_unroll.nn import KernelTrend, LinearTrend, Trend
from gsp_unroll.signals import SignalGroup, collect, hide
from gsp_unroll.signals.scale import ROUNDING, SignalScale, moments, origin_of, scale_of
from gsp_unroll.topology import Graph, Topology
from gsp_unroll.topology.from_data import from_planar
from gsp_unroll.training.average import average_gradients
from gsp_unroll.training.ema import EMA
from gsp_unroll.training.gradients import with_gradients
from gsp_unroll.training.log import Progress
from gsp_unroll.training.optimizer import OPTIMIZERS, make_optimizer
from gsp_unroll.training.schedule import learning_rate, progress

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from typing_extensions import Self

TRENDS = ("mean", "linear", "kernel", "none")
# Those that are functions of the attributes.
_OF_ATTRIBUTES = ("linear", "kernel")

_METADATA = "graph_signal_model"
# Groups of signals on one graph, of those a loader gives, from which units are taken.
_SURVEYED = 100
# Steps in a row without a finite gradient after which a fit gives up.
_BAD_STEPS = 20
# Signals beyond lose digits, or all of them, in float32.
_SMALLEST, _LARGEST = 1e-30, 1e30

SMALL = ModelConfig(
    name="uglr-plus", blocks=3, layers=1, cg_steps=8, heads=4, features=8, maps=32,
    features_from="gnn", mean=True, sees_mask=True, carry=True,
)  # fmt: skip


class GraphSignalModel:
    r"""Learn to fill in missing values of signals on graphs, with the blocks of uGLR and uGTV.

    The graphs may be any, one for all signals or many, and those to predict on may be others than
    those that it was fitted on: nothing that is learned belongs to a node. In each step of
    :meth:`fit` some of the known values of some signals are hidden, and the network learns to
    restore them (mean squared error); so signals may have gaps of their own. Inside the network a
    signal is taken from its trend, the mean of its samples and what attributes explain of them, and
    measured in units of the deviation seen in training, so that a constant added to a signal adds
    the same to the result; with ``trend="none"`` it is taken as it is. Observed values come back
    bit for bit.

    Args:
        config: Form of the network; ``in_channels`` and ``node_channels`` are set by :meth:`fit`
            (default: a small uGLR+ with features from a GNN).
        trend: What is taken away before the network: ``"mean"`` of the samples; ``"linear"``, also
            their ridge regression on the attributes (:class:`~gsp_unroll.nn.LinearTrend`);
            ``"kernel"``, kriging on the attributes with a learned kernel
            (:class:`~gsp_unroll.nn.KernelTrend`), for smooth signals on up to some thousand nodes;
            or ``"none"``, for pieces of one signal, whose own means the whole does not have
            (default: ``"mean"``).
        rotate: Attributes that are coordinates in one unit: in training they are turned and
            mirrored at random about their mean, so that no place is learned by heart. For signals
            elsewhere; on the graph that it was fitted on, places are worth knowing (default: none).
        observed: Smallest and largest share of the nodes that is left observed in training; the
            share of each signal is drawn between them (default: 0.1 and 0.6).
        steps: Optimiser steps (default: 1000).
        batch: Signals of each step, all on one graph, with replacement (default: 16).
        lr: Peak learning rate (default: 3e-3).
        optimizer: ``"adam"`` or ``"muon"`` (default: ``"adam"``).
        ema: Decay of the average of the weights, which is what predicts, in [0, 1) (default: 0.99).
        seed: Of the weights and all draws (default: 0).
        device: Where to compute (default: ``"cpu"``).
        progress: Report loss and remaining time while fitting (default: ``True``).

    Attributes:
        history: Mean squared error on hidden values, in units of the deviation, of each step.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If an argument is out of range, or the features need an image.

    Source: blocks of Do et al., NeurIPS 2024; training on hidden samples as in
    Batson and Royer, "Noise2Self", ICML 2019.

    Examples:
        >>> from torch_geometric.data import Data
        >>> ring = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0], [1, 2, 3, 0, 0, 1, 2, 3]])
        >>> signals = [Data(x=torch.randn(1).expand(4), edge_index=ring) for _ in range(8)]
        >>> model = GraphSignalModel(steps=2, progress=False).fit(signals)
        >>> part = Data(x=torch.tensor([1.0, float("nan"), 1.0, 1.0]), edge_index=ring)
        >>> bool(model.predict(part).x.isfinite().all())
        True
    """

    def __init__(
        self,
        config: ModelConfig = SMALL,
        *,
        trend: str = "mean",
        rotate: Sequence[int] = (),
        observed: tuple[float, float] = (0.1, 0.6),
        steps: int = 1000,
        batch: int = 16,
        lr: float = 3e-3,
        optimizer: str = "adam",
        ema: float = 0.99,
        seed: int = 0,
        device: str | torch.device = "cpu",
        progress: bool = True,
    ) -> None:
        if not isinstance(config, ModelConfig):
            raise TypeError(f"config must be a ModelConfig, got {type(config).__name__}")
        if config.features_from == "cnn":
            raise ValueError(
                "config must have features_from='gnn' or 'mlp', got 'cnn', which needs images; "
                "for images use gsp_unroll.training"
            )
        if config.bounds is not None:
            raise ValueError(
                "config must have bounds=None, as it sees signals about their trend and in units "
                f"of their deviation; got {config.bounds!r}"
            )
        checks.one_of("optimizer", optimizer, OPTIMIZERS)
        checks.one_of("trend", trend, TRENDS)
        self.config = config
        self.trend = trend
        self.rotate = _columns(rotate)
        self.observed = checks.share_range("observed", observed)
        self.steps = checks.positive_int("steps", steps)
        self.batch = checks.positive_int("batch", batch)
        self.lr = checks.in_range("lr", lr, 0.0, open_low=True)
        self.optimizer = optimizer
        self.ema = checks.in_range("ema", ema, 0.0, 1.0, open_high=True)
        self.seed = checks.positive_int("seed", seed, minimum=0)
        self.device = checks.device("device", device)
        self.progress = progress
        self.history: list[float] = []
        self._model: DetrendedNetwork | None = None

    @property
    def network(self) -> UnrolledNetwork | None:
        """The fitted network, which restores what the trend leaves; ``None`` before."""
        return None if self._model is None else self._model.network

    @with_gradients
    def fit(
        self, data: Data | Sequence[Data] | DataLoader, group: ProcessGroup | None = None
    ) -> Self:
        """Learn from the known values of signals; what was fitted before is forgotten.

        Ctrl-C ends the fit early and keeps what was learned until then, with a warning.

        Args:
            data: Signals, see :func:`gsp_unroll.signals.collect`: ``x`` with NaN (or ``mask``)
                where unknown, ``edge_index``, optionally ``attributes [N, A]``, finite everywhere.
                All need the same channels and attributes. Computed in float32. A
                ``torch_geometric.loader.DataLoader`` gives the signals of one step at a time, over
                and over, and no more than those are held in memory; ``batch`` is then its own.
            group: Processes of ``torch.distributed`` that fit one model together, each to signals
                of its own: every step takes the mean over all that they have hidden (default: this
                process alone).

        Returns:
            The model itself.

        Raises:
            FloatingPointError: If the loss or its gradient stays infinite or NaN.
            TypeError: If a dtype or type does not fit.
            ValueError: If shapes do not fit, nothing is known in a connected component, nothing can
                be hidden, a loader gives nothing in a later pass, or attributes for the trend or to
                rotate are missing. What was fitted before is then still there.
        """
        # The random numbers of the caller are left alone, also those of CUDA devices: all draws
        # are from the generator of the CPU.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            if isinstance(data, DataLoader):
                first, scale = self._survey(islice(self._steps(data), _SURVEYED), group)
                parts = self._loaded(data)
            else:
                groups = list(self._checked(data))
                first, scale = self._survey(groups, group)
                parts = self._drawn(groups)
            torch.default_generator.manual_seed(self.seed)
            network = build(_for_data(self.config, first))
            model = self._around(network, scale).to(self.device, torch.float32)
            average, history = EMA(model, self.ema), []
            try:
                self._descend(model.train(), parts, average, history, group)
            except KeyboardInterrupt:
                warnings.warn(
                    f"fit was stopped after {len(history)} of {self.steps} steps; the model is "
                    "what was learned until then",
                    stacklevel=2,
                )
        average.copy_to(model)
        self._model, self.history = model.eval(), history
        return self

    def predict(self, data: Data, *, pieces: int = 1, halo: int | None = None) -> Data:
        """Fill in the missing values of one signal, or of a PyG ``Batch``.

        Args:
            data: As for :meth:`fit`; another graph than those fitted on is fine.
            pieces: Parts of a large graph that are restored one after another, to save memory; see
                :func:`gsp_unroll.inference.restore_in_pieces` (default: 1).
            halo: Edges over which a piece sees beyond its part (default: as far as a block sees,
                the smallest for which pieces change nothing).

        Returns:
            A copy of ``data`` with ``x`` filled in, in its dtype and on its device.

        Raises:
            RuntimeError: If the model is not fitted.
            TypeError: If a dtype does not fit.
            ValueError: If shapes do not fit what was fitted, or a connected component has no
                observed node.
        """
        model = self._fitted()
        checks.positive_int("pieces", pieces)
        if halo is not None:
            checks.positive_int("halo", halo, minimum=0)
        if not isinstance(data, Data):
            raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
        (group,) = collect(data)
        group, offset = self._ready(group)
        group, order = _in_node_order(group)
        config = model.network.config
        given = group.signal.shape[1], 0 if group.attributes is None else group.attributes.shape[1]
        if given != (config.in_channels, config.node_channels):
            raise ValueError(
                f"data must have {config.in_channels} channels and {config.node_channels} "
                f"attributes as in fit, got {given[0]} and {given[1]}"
            )
        run = None
        if pieces != 1:
            run = partial(restore_in_pieces, model.network, pieces=pieces, halo=halo)
        with torch.no_grad():
            restored = model(group.topology, group.signal, group.known, group.attributes, run)
        if order is not None:
            restored = torch.empty_like(restored).index_copy_(-1, order, restored)
        signal, mask = signal_and_mask(data)
        filled = from_planar(restored + offset).to(signal)
        out = copy.copy(data)
        out.x = torch.where(mask, signal, filled).reshape(data.x.shape)
        return out

    def score(self, data: Data, truth: Tensor) -> float:
        r"""Coefficient of determination of the predicted values, :math:`R^2` (1 is perfect).

        .. math:: 1-\frac{\sum(x-t)^2}{\sum(t-\bar t)^2}

        over the nodes that are missing in ``data`` and known in ``truth``, :math:`\bar t` the mean
        of ``truth`` there; the mean over channels that have such nodes, as in scikit-learn.

        Args:
            data: As for :meth:`predict`.
            truth: What is right, in the shape of ``data.x``; NaN where nobody knows.

        Raises:
            ValueError: If ``truth`` has another shape or is infinite where ``data`` is missing, or
                nothing that is missing is known.
        """
        predicted = self.predict(data).x
        checks.shape("truth", checks.tensor("truth", truth), list(predicted.shape))
        _, mask = signal_and_mask(data)
        judged = ~mask.reshape(truth.shape) & ~truth.isnan()
        check_observation(truth, judged, "truth")
        scores = []
        for x, t, here in zip(
            *(v.reshape(len(mask), -1).T for v in (predicted, truth, judged)), strict=True
        ):
            if bool(here.any()):
                right = t[here].double()
                wrong = (x[here].double() - right).square().sum()
                spread = (right - right.mean()).square().sum()
                scores.append(float(1 - wrong / spread) if spread > 0 else float(wrong == 0))
        if not scores:
            raise ValueError(
                "data must miss at least one value that is known in truth to be scored, got none"
            )
        return sum(scores) / len(scores)

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to a ``.safetensors`` file, atomically.

        Raises:
            RuntimeError: If the model is not fitted.
        """
        model = self._fitted()
        kept = {field: value.tolist() for field, value in vars(model.scale).items()}
        learned = {} if model.trend is None else model.trend.state_dict()
        kept["learned"] = {name: value.tolist() for name, value in learned.items()}
        return save_pretrained(
            model.network, path, {_METADATA: json.dumps({"trend": self.trend, **kept})}
        )

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read a model that :meth:`save` wrote; it predicts, and fits anew with default options.

        Raises:
            ValueError: If the file is missing, damaged, or not of this class.
        """
        if not str(path).endswith(".safetensors"):
            raise ValueError(f"path must end in .safetensors, as save writes it, got {str(path)!r}")
        metadata = pretrained_metadata(path)
        if _METADATA not in metadata:
            raise ValueError(f"{path} was not written by GraphSignalModel.save")
        network = load_pretrained(path, device)
        kept = json.loads(metadata[_METADATA])
        model = cls(network.config, trend=kept["trend"], device=device)
        scale = SignalScale(
            *(
                torch.tensor(kept[field.name], dtype=torch.float64)
                for field in dataclasses.fields(SignalScale)
            )
        )
        model._model = model._around(network, scale).to(device, torch.float32).eval()
        if model._model.trend is not None:
            learned = {name: torch.tensor(value) for name, value in kept.get("learned", {}).items()}
            model._model.trend.load_state_dict(learned)
        return model

    def _around(self, network: UnrolledNetwork, scale: SignalScale) -> DetrendedNetwork:
        """The network with units and trend."""
        trend: Trend | None = None
        if self.trend == "linear":
            trend = LinearTrend()
        elif self.trend == "kernel":
            trend = KernelTrend(network.config.node_channels)
        return DetrendedNetwork(
            network, scale, trend, centred=self.trend != "none", turned=self.rotate
        )

    def _checked(self, data: Data | Sequence[Data]) -> Iterator[SignalGroup]:
        """Signals by graph, ready to be learned from."""
        for group in collect(data):
            check_observed(group.topology, group.known, group.names)
            self._check_attributes(group)
            yield self._ready(group)[0]

    def _check_attributes(self, group: SignalGroup) -> None:
        given = 0 if group.attributes is None else group.attributes.shape[1]
        if self.trend in _OF_ATTRIBUTES and not given:
            raise ValueError(
                f"trend must be 'mean' or 'none' for data without attributes, got {self.trend!r}"
            )
        if max(self.rotate, default=-1) >= given:
            raise ValueError(
                f"rotate must name attributes of the data, which has {given}, got {self.rotate}"
            )

    def _steps(self, loader: DataLoader) -> Iterator[SignalGroup]:
        """What a loader gives in one pass."""
        for batch in loader:
            yield from self._checked(batch)

    def _survey(
        self, groups: Iterable[SignalGroup], processes: ProcessGroup | None
    ) -> tuple[SignalGroup, SignalScale]:
        """The first group, and what signals and attributes are measured in."""
        first, total, hideable = None, None, False
        for group in groups:
            if first is None:
                first, origin = group, origin_of(group)
                if processes is not None:
                    torch.distributed.all_reduce(origin, torch.distributed.ReduceOp.MIN, processes)
            now = moments(group, origin)
            total = now if total is None else total + now
            hideable = hideable or _can_hide(group)
        if first is None:
            raise ValueError("data must hold at least one graph signal, got an empty loader")
        if not hideable:
            raise ValueError(
                "data must know two values or more in some connected component, so that one can be "
                "hidden and learned to restore; got one in each"
            )
        if processes is not None:
            torch.distributed.all_reduce(total, group=processes)
        return first, scale_of(total, first, origin, self.rotate)

    def _drawn(self, groups: Sequence[SignalGroup]) -> Iterator[tuple[SignalGroup, Tensor]]:
        """Batches of signals on one graph, and what of each is left observed, for ever."""
        generator = torch.Generator().manual_seed(self.seed)
        sizes = torch.tensor([float(len(group)) for group in groups])
        side_by_side: dict[int, Topology] = {}
        while True:
            k = int(torch.multinomial(sizes, 1, generator=generator))
            if k not in side_by_side:
                side_by_side[k] = _repeat(groups[k].topology, self.batch)
            yield self._draw(groups[k], side_by_side[k], generator)

    def _loaded(self, loader: DataLoader) -> Iterator[tuple[SignalGroup, Tensor]]:
        """What a loader gives, and what of each is left observed, for ever."""
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            found = False
            for group in self._steps(loader):
                found = True
                share = self._share(len(group), generator)
                yield group, hide(group.topology, group.known, share, generator)
            if not found:
                raise ValueError(
                    "data must be a loader that can be gone through again and again, got nothing "
                    "in a later pass"
                )

    def _descend(
        self,
        model: DetrendedNetwork,
        parts: Iterator[tuple[SignalGroup, Tensor]],
        average: EMA,
        history: list[float],
        processes: ProcessGroup | None,
    ) -> None:
        optimizer = make_optimizer(self.optimizer, model.parameters(), self.lr)
        report, started, bad = Progress(enabled=self.progress), time.monotonic(), 0
        try:
            for step in range(self.steps):
                done = progress(step, self.steps)
                rate = learning_rate(
                    step, done, peak=self.lr, final=0.01, warmup=min(50, self.steps // 10)
                )
                for options in optimizer.param_groups:
                    options["lr"] = rate
                part, kept = next(parts)
                loss = _loss(model, part, kept)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                if processes is not None:
                    hidden = int(_hidden(part, kept).sum())
                    loss = average_gradients(model.parameters(), loss, hidden, processes)
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                bad = 0 if bool(norm.isfinite()) else bad + 1
                if bad > _BAD_STEPS:
                    raise FloatingPointError(
                        f"the gradient was not finite in {bad} steps in a row, up to step {step}; "
                        f"try a smaller lr than {self.lr}"
                    )
                if not bad:
                    optimizer.step()
                    average.update(model)
                history.append(loss.item())
                elapsed = time.monotonic() - started
                report.update(step + 1, (step + 1) / self.steps, elapsed, {"loss": history[-1]})
        finally:
            report.close()

    def _share(self, signals: int, generator: torch.Generator) -> Tensor:
        """Share of the known nodes of each signal that is left observed."""
        low, high = self.observed
        return low + (high - low) * torch.rand(signals, generator=generator)

    def _draw(
        self, group: SignalGroup, topology: Topology, generator: torch.Generator
    ) -> tuple[SignalGroup, Tensor]:
        """A batch of signals side by side on ``topology``, and what of them is left observed."""
        chosen = torch.randint(len(group), (self.batch,), generator=generator).to(self.device)
        share = self._share(self.batch, generator)
        kept = hide(group.topology, group.known[chosen], share, generator)

        def beside(value: Tensor) -> Tensor:
            if topology.num_nodes == value.shape[-1]:
                return value
            return value.transpose(0, 1).flatten(1).unsqueeze(0)

        extra = group.attributes
        part = SignalGroup(
            topology,
            beside(group.signal[chosen]),
            beside(group.known[chosen]),
            None if extra is None else beside(extra[chosen]),
            beside(group.inner[chosen]),
        )
        return part, beside(kept)

    def _ready(self, group: SignalGroup) -> tuple[SignalGroup, Tensor | int]:
        """On the device, about the mean of what is known, in single precision; and that mean."""
        topology, known = group.topology.to(self.device), group.known.to(self.device)
        signal = group.signal.detach().to(self.device, torch.float64)
        offset = 0 if self.trend == "none" else graph_mean(topology, signal, known)
        # A constant may differ from its mean by rounding, which is no signal.
        centred = signal - offset
        nothing = centred.abs() <= ROUNDING * torch.finfo(group.signal.dtype).eps * signal.abs()
        centred = torch.where(known & ~nothing, centred, 0)
        largest = float(centred.abs().max())
        if largest and not _SMALLEST <= largest <= _LARGEST:
            raise ValueError(
                f"data.x must lie between {_SMALLEST:g} and {_LARGEST:g}, or differ from its mean "
                f"by that, since the network computes in float32; got {largest:g}: scale it"
            )
        extra = group.attributes
        extra = None if extra is None else extra.detach().to(self.device)
        inner = group.inner.to(self.device)
        return SignalGroup(topology, centred.float(), known, extra, inner), offset

    def _fitted(self) -> DetrendedNetwork:
        if self._model is None:
            raise RuntimeError("the model is not fitted yet: call fit, or load one")
        return self._model


def _columns(rotate: Sequence[int]) -> tuple[int, ...]:
    columns = tuple(checks.positive_int("rotate", column, minimum=0) for column in rotate)
    if len(set(columns)) != len(columns) or len(columns) == 1:
        raise ValueError(f"rotate must be two or more different attributes, or none, got {rotate}")
    return columns


def _for_data(config: ModelConfig, group: SignalGroup) -> ModelConfig:
    extra = 0 if group.attributes is None else group.attributes.shape[1]
    return dataclasses.replace(config, in_channels=group.signal.shape[1], node_channels=extra)


def _in_node_order(group: SignalGroup) -> tuple[SignalGroup, Tensor | None]:
    """Nodes in the order in which kernels compute, so that none has to reorder; and that order."""
    topology = group.topology
    if not isinstance(topology, Graph) or topology.num_graphs > 1 or topology.node_order is None:
        return group, None
    order = topology.node_order.long()
    signal, known, inner = (v[..., order] for v in (group.signal, group.known, group.inner))
    extra = None if group.attributes is None else group.attributes[..., order]
    return SignalGroup(topology.in_node_order(), signal, known, extra, inner), order


def _repeat(topology: Topology, copies: int) -> Topology:
    """Many signals on a graph are one on many copies of it: fewer, larger calls of kernels."""
    return topology.repeat(copies) if isinstance(topology, Graph) else topology


def _loss(model: DetrendedNetwork, part: SignalGroup, kept: Tensor) -> Tensor:
    """Mean squared error on what is hidden."""
    restored = model(part.topology, part.signal, kept, part.attributes)
    error = (restored - part.signal) / model.scale.signal.to(restored)[:, None]
    hidden = _hidden(part, kept)
    return torch.where(hidden, error, 0).square().sum() / hidden.sum().clamp(min=1)


def _can_hide(group: SignalGroup) -> bool:
    """Whether something is known besides the one sample that each component keeps."""
    kept = hide(group.topology, group.known, torch.zeros(len(group)), torch.Generator())
    return bool(_hidden(group, kept).any())


def _hidden(part: SignalGroup, kept: Tensor) -> Tensor:
    """What is known, was not ``kept``, and counts: boolean ``[S, C, N]``."""
    return part.known & ~kept & part.inner
