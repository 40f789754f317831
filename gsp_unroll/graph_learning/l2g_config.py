"""One experiment in learning topologies as one typed object, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gsp_unroll.checks import in_range, positive_int
from gsp_unroll.graph_learning.l2g import L2G
from gsp_unroll.graph_learning.random_graphs import (
    barabasi_albert,
    erdos_renyi,
    lognormal_weights,
    relabelled,
    sample_distances,
    stochastic_block,
    watts_strogatz,
)

# Graphs drawn at once: some matrices of each are held.
_PART = 512


class Pairs(NamedTuple):
    """Graphs and what is seen of them.

    Attributes:
        z: Squared distances of the signals ``[count, m (m - 1) / 2]``, float32.
        weight: True weights, as ``z``.
    """

    z: Tensor
    weight: Tensor


@dataclass(frozen=True)
class GraphsConfig:
    """The graphs that are learned, and the signals that they are learned from.

    Args:
        kind: ``"ba"`` (scale-free), ``"ws"`` (small world), ``"er"`` (uniform) or ``"sbm"``
            (communities), see :mod:`.random_graphs`.
        nodes: Nodes of each graph.
        attach: Edges of a new node of ``"ba"``.
        neighbours: Neighbours on the ring of ``"ws"``.
        rewire: Probability that an edge of ``"ws"`` is moved.
        probability: Of an edge of ``"er"``.
        sizes: Nodes of each block of ``"sbm"``; they must sum to ``nodes``.
        inside: Probability of an edge inside each block of ``"sbm"``.
        outside: Probability of an edge between blocks of ``"sbm"``.
        relabel: Number the nodes of each graph at random. Otherwise the number of a node says
            something: age in ``"ba"``, place on the ring in ``"ws"``, block in ``"sbm"``.
        signals: Signals on each graph.
        ridge: Added to the Laplacian to make it invertible.
        train: Graphs to train with.
        validation: Graphs to report on while training, and to tune on.
        test: Graphs to report on.
        seed: Seed of all graphs and signals.
    """

    kind: Literal["ba", "ws", "er", "sbm"] = "ba"
    nodes: int = 20
    attach: int = 3
    neighbours: int = 5
    rewire: float = 0.3
    probability: float = 0.3
    sizes: tuple[int, ...] = ()
    inside: tuple[float, ...] = ()
    outside: float = 0.02
    relabel: bool = False
    signals: int = 3000
    ridge: float = 1e-4
    train: int = 6400
    validation: int = 1600
    test: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("signals", "train", "validation", "test"):
            positive_int(name, getattr(self, name))
        positive_int("nodes", self.nodes, 2)
        positive_int("seed", self.seed, 0)
        in_range("ridge", self.ridge, 0, open_low=True)
        if self.kind == "sbm" and sum(self.sizes) != self.nodes:
            raise ValueError(f"sizes must sum to nodes ({self.nodes}), got {sum(self.sizes)}")

    def draw(self, part: Literal["train", "validation", "test"]) -> Pairs:
        """The graphs of one part, always the same ones.

        Raises:
            ValueError: If an argument of the random graphs is out of range.
        """
        rng = np.random.default_rng([self.seed, ("train", "validation", "test").index(part)])
        count, parts = getattr(self, part), []
        for done in range(0, count, _PART):
            joined = self._joined(min(_PART, count - done), rng)
            if self.relabel:
                joined = relabelled(joined, rng)
            weight = lognormal_weights(joined, rng)
            z = sample_distances(weight, self.signals, rng, self.ridge)
            parts.append(Pairs(z.float(), weight.float()))
        return Pairs(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _joined(self, count: int, rng: np.random.Generator) -> np.ndarray:
        if self.kind == "ba":
            return barabasi_albert(count, self.nodes, self.attach, rng)
        if self.kind == "ws":
            return watts_strogatz(count, self.nodes, self.neighbours, self.rewire, rng)
        if self.kind == "er":
            return erdos_renyi(count, self.nodes, self.probability, rng)
        return stochastic_block(count, self.sizes, self.inside, self.outside, rng)


@dataclass(frozen=True)
class L2GModelConfig:
    """Size of the network; the defaults are the published ones.

    Args:
        layers: Unrolled iterations.
        hidden: Channels of the encoder of the autoencoder.
        latent: Length of its latent variable.
        features: Length of its encoding.
        slope: Slope of the leaky ReLU below zero.
    """

    layers: int = 20
    hidden: int = 32
    latent: int = 16
    features: int = 16
    slope: float = 0.01

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "latent", "features"):
            positive_int(name, getattr(self, name))
        in_range("slope", self.slope, 0, 1)

    def build(self, nodes: int, *, residual: bool = False) -> L2G:
        """The network for graphs with that many nodes, as published or ``residual``."""
        return L2G(
            nodes,
            self.layers,
            hidden=self.hidden,
            latent=self.latent,
            features=self.features,
            slope=self.slope,
            residual=residual,
        )


@dataclass(frozen=True)
class FitConfig:
    """How a network is fitted; the defaults are the published recipe.

    Args:
        epochs: Passes over the training graphs.
        batch: Graphs in each step.
        lr: First learning rate of Adam.
        decay: What the learning rate is multiplied by after each epoch, in (0, 1].
        seed: Seed of the order of the graphs and of the latent noise; the example takes it for the
            weights, too.
    """

    epochs: int = 100
    batch: int = 32
    lr: float = 1e-2
    decay: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        positive_int("epochs", self.epochs)
        positive_int("batch", self.batch)
        in_range("lr", self.lr, 0, open_low=True)
        in_range("decay", self.decay, 0, 1, open_low=True)
        positive_int("seed", self.seed, 0)


@dataclass(frozen=True)
class L2GConfig:
    """A whole experiment.

    Args:
        graphs: What is learned, and from what.
        model: The network.
        train: How it is fitted.
    """

    graphs: GraphsConfig
    model: L2GModelConfig
    train: FitConfig
