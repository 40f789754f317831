"""Restore a signal with gaps and learn its graph from it: fit, predict, no graph and no truth."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.graph_learning.inpainting_driven_network import (
    InpaintingDrivenConfig,
    InpaintingDrivenNetwork,
    row_mean,
)
from gsp_unroll.graphs.validate import check_observation
from gsp_unroll.training.gradients import with_gradients
from gsp_unroll.training.log import Progress

if TYPE_CHECKING:
    from typing_extensions import Self

LOSSES = ("hidden", "objective")
OPTIMIZERS = ("adam", "sgd")


class InpaintingDrivenGraph:
    r"""Learn a graph from a signal over nodes and time that has gaps, and fill the gaps by it.

    Nothing but the signal is needed: no graph, no positions, no truth. In each step of
    :meth:`fit` some of the observed entries are hidden as well, and the few scalars of the loop
    (:math:`p_1,p_2` of the temporal prior) move so that

    - ``loss="hidden"``: the hidden entries are restored well (mean squared error in units of
      their variance); or
    - ``loss="objective"``: the energy that the loop descends on is small, as published.

    :meth:`predict` then runs the loop once. Rows are taken from the mean of their samples, and all
    steps are relative, so that ``a + b y`` gives the same graph as ``y``. Computes in float64.

    Args:
        config: Form of the loop and initial scalars (default: our own, see
            :class:`InpaintingDrivenConfig`; ``INPAINTING_DRIVEN_PUBLISHED`` for the published one).
        loss: ``"hidden"`` or ``"objective"`` (default: ``"hidden"``).
        missing: Smallest and largest share of the observed entries that a step hides
            (default: 0.01 and 0.5).
        steps: Optimiser steps; 0 leaves the scalars as they are (default: 40).
        batch: Masks in each step (default: 2).
        lr: Learning rate of the logarithms of the scalars (default: 0.1).
        optimizer: ``"adam"`` or ``"sgd"`` (default: ``"adam"``).
        seed: Of the masks (default: 0).
        progress: Report loss and remaining time while fitting (default: ``True``).

    Attributes:
        network: The fitted :class:`InpaintingDrivenNetwork`; ``None`` before.
        history: Loss of each step.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If an argument is out of range.

    Source: Batreddy et al., "Joint Data Inpainting and Graph Learning via Unrolled Neural
    Networks", 2024 (arXiv 2407.11429); hidden entries as in Batson and Royer, "Noise2Self",
    ICML 2019.

    Examples:
        >>> wave = torch.linspace(0, 6, 40).sin()
        >>> y = torch.stack([wave, 2 * wave, wave.flip(0), 2 * wave.flip(0)])
        >>> y[0, 7] = float("nan")
        >>> model = InpaintingDrivenGraph(steps=2, progress=False).fit(y)
        >>> data = model.predict(y)
        >>> data.x.shape, bool(data.x.isfinite().all()), data.edge_index.shape[0]
        (torch.Size([4, 40]), True, 2)
    """

    def __init__(
        self,
        config: InpaintingDrivenConfig | None = None,
        *,
        loss: str = "hidden",
        missing: tuple[float, float] = (0.01, 0.5),
        steps: int = 40,
        batch: int = 2,
        lr: float = 0.1,
        optimizer: str = "adam",
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        if config is not None and not isinstance(config, InpaintingDrivenConfig):
            raise TypeError(
                f"config must be an InpaintingDrivenConfig, got {type(config).__name__}"
            )
        checks.one_of("loss", loss, LOSSES)
        checks.one_of("optimizer", optimizer, OPTIMIZERS)
        self.config = InpaintingDrivenConfig() if config is None else config
        self.loss = loss
        self.missing = checks.share_range("missing", missing, open_low=True)
        self.steps = checks.positive_int("steps", steps, minimum=0)
        self.batch = checks.positive_int("batch", batch)
        self.lr = checks.in_range("lr", lr, 0.0, open_low=True)
        self.optimizer = optimizer
        self.seed = checks.positive_int("seed", seed, minimum=0)
        self.progress = progress
        self.network: InpaintingDrivenNetwork | None = None
        self.history: list[float] = []

    @with_gradients
    def fit(self, y: Tensor, mask: Tensor | None = None) -> Self:
        """Learn the scalars from one signal; what was fitted before is forgotten.

        Ctrl-C ends the fit early and keeps what was learned until then, with a warning.

        Args:
            y: Signal ``[N, T]``, nodes, then time, float32 or float64; NaN = missing.
            mask: Boolean ``[N, T]``, ``True`` = observed (default: where ``y`` is not NaN).

        Returns:
            The model itself.

        Raises:
            FloatingPointError: If the loss is not finite.
            TypeError: If a dtype does not fit.
            ValueError: If a shape does not fit, or a row has fewer than two observed entries. What
                was fitted before is then still there.
        """
        y, mask = _signal(y, mask)
        if bool((mask.sum(1) < 2).any()):
            row = int((mask.sum(1) < 2).nonzero()[0])
            raise ValueError(
                f"mask must observe at least two entries of every row to fit, but row {row} has "
                f"{int(mask[row].sum())}"
            )
        network, history = InpaintingDrivenNetwork(self.config).to(y.device), []
        try:
            self._descend(network, y, mask, history)
        except KeyboardInterrupt:
            warnings.warn(
                f"fit was stopped after {len(history)} of {self.steps} steps; the model is "
                "what was learned until then",
                stacklevel=2,
            )
        self.network, self.history = network.eval(), history
        return self

    def predict(self, y: Tensor, mask: Tensor | None = None) -> Data:
        """Fill in what is missing and learn the graph.

        Args:
            y: As for :meth:`fit`; it may be another signal, on other nodes.
            mask: As for :meth:`fit`.

        Returns:
            ``Data`` with the restored signal ``x [N, T]`` in the dtype of ``y``, equal to it where
            observed, bit for bit, and the learned graph, ``edge_index`` (both directions) and
            ``edge_weight``: what :func:`gsp_unroll.interpolate` takes.

        Raises:
            RuntimeError: If the model is not fitted.
            TypeError: If a dtype does not fit.
            ValueError: If a shape does not fit, or a row has no observed entry.
        """
        if self.network is None:
            raise RuntimeError("the model is not fitted yet: call fit")
        dtype = checks.tensor("y", y).dtype
        signal, mask = _signal(y, mask)
        with torch.no_grad():
            out = self.network(signal, mask)
        edge_index = out.adjacency.nonzero().T.contiguous()
        weight = out.adjacency[edge_index[0], edge_index[1]].to(dtype)
        return Data(x=out.restored.to(dtype), edge_index=edge_index, edge_weight=weight)

    def _descend(
        self, network: InpaintingDrivenNetwork, y: Tensor, mask: Tensor, history: list[float]
    ) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        optimizer = kind(network.parameters(), lr=self.lr)
        report, started = Progress(enabled=self.progress), time.monotonic()
        try:
            for step in range(self.steps):
                kept = self._draw(mask, generator)
                loss = self._loss(network, y, mask, kept)
                if not bool(loss.isfinite()):
                    raise FloatingPointError(
                        f"the loss was {loss.item()} in step {step + 1}; try smaller steps than "
                        f"{self.config.step} on the graph, or a smaller lr than {self.lr}"
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                grads = [p.grad for p in network.parameters() if p.grad is not None]
                if not all(bool(grad.isfinite().all()) for grad in grads):
                    raise FloatingPointError(
                        f"a gradient was not finite in step {step + 1}; try fewer iterations or CG "
                        f"steps than in {self.config}"
                    )
                optimizer.step()
                history.append(loss.item())
                elapsed = time.monotonic() - started
                report.update(step + 1, (step + 1) / self.steps, elapsed, {"loss": history[-1]})
        finally:
            report.close()

    def _loss(
        self, network: InpaintingDrivenNetwork, y: Tensor, mask: Tensor, kept: Tensor
    ) -> Tensor:
        out = network(y.expand_as(kept), kept)
        if self.loss == "objective":
            return out.energy[..., -1].mean()
        hidden = mask & ~kept
        error = torch.where(hidden, out.restored - y, 0).square().sum() / hidden.sum().clamp(min=1)
        variance = (y - row_mean(y, mask))[mask].square().mean()
        return error / torch.where(variance > 0, variance, 1)

    def _draw(self, mask: Tensor, generator: torch.Generator) -> Tensor:
        """What stays observed, for each of the batch; every row keeps a sample."""
        low, high = self.missing
        share = low + (high - low) * torch.rand(self.batch, 1, 1, generator=generator)
        drawn = torch.rand(self.batch, *mask.shape, generator=generator).to(mask.device)
        drawn = torch.where(mask, drawn, -1)
        largest = drawn.amax(-1, keepdim=True)
        return mask & ((drawn >= share.to(mask.device)) | (drawn == largest))


def _signal(y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Signal in double precision, zero where missing, and mask."""
    checks.floating("y", y)
    checks.shape("y", y, ["N", "T"])
    if len(y) < 2:
        raise ValueError(f"y must have at least two rows (nodes), got {list(y.shape)}")
    mask = check_observation(y, ~torch.isnan(y) if mask is None else mask)
    empty = ~mask.any(1)
    if bool(empty.any()):
        raise ValueError(
            "mask must observe at least one entry of every row, but row "
            f"{int(empty.nonzero()[0])} has none"
        )
    return torch.where(mask, y.detach(), 0).double(), mask
