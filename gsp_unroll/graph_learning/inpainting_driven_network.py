"""Signal -> graph -> signal, unrolled: the few scalars of the loop are what is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gsp_unroll import checks
from gsp_unroll.graph_learning.adjacency_step import (
    GRADIENTS,
    adjacency_gradient,
    curvature,
    project_mean_degree,
    project_non_negative,
    sparsify,
)
from gsp_unroll.graph_learning.joint_inpainting import PRECONDITIONERS, fill_missing, inpaint
from gsp_unroll.graph_learning.nearest_rows import nearest_rows
from gsp_unroll.graph_learning.space_time_prior import (
    gram_over_time,
    laplacian_matrix,
    space_time_energy,
    time_norm,
)

TRAINABLE = ("mu", "ridge", "decay", "sparsity")


@dataclass(frozen=True)
class InpaintingDrivenConfig:
    """Size and form of the loop; the defaults do not depend on the units of the signal.

    Attributes:
        rounds: Times that the signal is inpainted and the graph learned from it.
        cg_steps: CG steps of each inpainting.
        graph_steps: Projected-gradient steps on the adjacency in each round.
        neighbours: Of each row in the first graph (at most ``N - 1`` are taken).
        p1: Initial weight of the first differences in time, positive.
        p2: Initial weight of the second differences in time, positive.
        mu: Weight of the prior in the inpainting, positive; ``None`` keeps the samples.
        ridge: Added to the diagonal of the Laplacian, non-negative.
        gradient: ``"objective"`` or ``"offdiagonal"``, see :func:`.adjacency_gradient`.
        decay: Weight of the penalty on the Laplacian, positive.
        step: Length of a graph step, positive: in units of the inverse curvature if ``relative``
            (below 2 for convergence), else as it is.
        relative: Measure the smoothness of the signal in units of its mean over all pairs of nodes
            (``"offdiagonal"``: over all nodes) after the first inpainting.
        mean_degree: Weights keep this sum for each node, positive; ``None`` lets them go.
        sparsity: Share of the mean weight that is taken from each weight after the graph steps, in
            [0, 1).
        warm_start: Inpainting starts from the result of the round before, else from zero.
        preconditioner: Of CG, ``"jacobi"`` or ``"none"``.
        centred: Rows are taken from the mean of their samples.
        temporal_penalty: Weight of the norm of Z in the energy, non-negative; it moves p1, p2 only.
        trainable: Which of ``"mu"``, ``"ridge"``, ``"decay"``, ``"sparsity"`` are learned besides
            ``p1`` and ``p2``.
    """

    rounds: int = 3
    cg_steps: int = 10
    graph_steps: int = 10
    neighbours: int = 7
    p1: float = 6.0
    p2: float = 10.0
    mu: float | None = None
    ridge: float = 0.1
    gradient: str = "objective"
    decay: float = 0.6
    step: float = 1.0
    relative: bool = True
    mean_degree: float | None = 1.0
    sparsity: float = 0.5
    warm_start: bool = True
    preconditioner: str = "jacobi"
    centred: bool = True
    temporal_penalty: float = 0.0
    trainable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rounds", "cg_steps", "graph_steps", "neighbours"):
            checks.positive_int(name, getattr(self, name))
        for name in ("p1", "p2", "mu", "decay", "step", "mean_degree"):
            if name not in ("mu", "mean_degree") or getattr(self, name) is not None:
                checks.in_range(name, getattr(self, name), 0, open_low=True)
        for name in ("ridge", "temporal_penalty"):
            checks.in_range(name, getattr(self, name), 0)
        checks.in_range("sparsity", self.sparsity, 0, 1, open_high=True)
        for name in ("relative", "warm_start", "centred"):
            checks.boolean(name, getattr(self, name))
        if not isinstance(self.trainable, tuple | list):
            raise TypeError(f"trainable must be a tuple of names, got {self.trainable!r}")
        checks.one_of("gradient", self.gradient, GRADIENTS)
        checks.one_of("preconditioner", self.preconditioner, PRECONDITIONERS)
        for name in self.trainable:
            checks.one_of("trainable", name, TRAINABLE)
            if not getattr(self, name):
                raise ValueError(
                    f"{name} must be positive to be trainable, got {getattr(self, name)}"
                )


INPAINTING_DRIVEN_PUBLISHED = InpaintingDrivenConfig(
    rounds=5, mu=2e-4, ridge=0.0, gradient="offdiagonal", decay=10.0, step=1e-3, relative=False,
    mean_degree=None, sparsity=0.3, warm_start=False, preconditioner="none", centred=False,
)  # fmt: skip


@dataclass(frozen=True)
class InpaintingDrivenOutput:
    """What the loop leaves.

    Attributes:
        restored: Signal ``[*, N, T]``, equal to the samples where observed, bit for bit.
        adjacency: Learned graph ``[*, N, N]``, symmetric and non-negative with zero diagonal.
        energy: Before and after each graph step and at the end, ``[*, 2 * rounds + 1]``.
    """

    restored: Tensor
    adjacency: Tensor
    energy: Tensor


class InpaintingDrivenNetwork(nn.Module):
    r"""Closed loop of inpainting on a graph and learning the graph from what was inpainted.

    The first graph joins nearest rows. In each round (a) CG inpaints, (b) only what is missing is
    filled in, (c) projected-gradient steps move the adjacency, (d) small weights are taken away;
    one more inpainting ends the loop. All is unrolled, so that gradients reach the scalars. With
    :math:`Z=I+p_1\Delta\Delta^\top+p_2(\Delta\Delta^\top)^2` and the unit :math:`s` of
    ``relative``, both steps descend on

    .. math::
        E(X,L)=\tfrac1{\mu s}\|\psi\circ(X-Y)\|^2
        +\tfrac1s tr(X^\top(L+\varepsilon I)XZ)+\tfrac b2\|L\|_F^2+\tfrac cT\|Z\|_F^2

    where without ``mu`` the first term is the constraint :math:`\psi\circ X=\psi\circ Y` instead.
    Then :math:`E` does not rise from half a round to the next, if the gradient is
    ``"objective"``, ``sparsity`` is zero and ``step`` at most 1. With ``mu``, filling in (b) may
    raise it.

    Without edges :math:`E` is smaller than with any, since smoothness and penalty both cost. The
    published loop is stopped before; with ``mean_degree`` the sum of all weights stays what it is.

    Args:
        config: Size and form (default: our own, free of units;
            :data:`INPAINTING_DRIVEN_PUBLISHED` holds the published numbers).

    Shapes:
        - **y, mask:** ``[*, N, T]``, nodes, then time; ``mask`` is boolean, ``True`` = observed
        - **output:** :class:`InpaintingDrivenOutput`

    Source: Batreddy et al., "Joint Data Inpainting and Graph Learning via Unrolled Neural
    Networks", 2024 (arXiv 2407.11429); the sum of weights as in Dong et al., "Learning Laplacian
    Matrix in Smooth Graph Signal Representations", IEEE TSP 2016.
    """

    def __init__(self, config: InpaintingDrivenConfig | None = None) -> None:
        super().__init__()
        self.config = config = InpaintingDrivenConfig() if config is None else config
        # Logarithms: positive, and a step of the optimiser is a share of the value.
        self.log = nn.ParameterDict(
            {
                name: nn.Parameter(torch.tensor(math.log(getattr(config, name))).double())
                for name in ("p1", "p2", *config.trainable)
            }
        )

    def scalar(self, name: str) -> Tensor | float | None:
        """The value of a scalar of the configuration, as learned so far."""
        return self.log[name].exp() if name in self.log else getattr(self.config, name)

    def forward(self, y: Tensor, mask: Tensor) -> InpaintingDrivenOutput:
        """Restore a signal, and learn its graph."""
        config, samples = self.config, torch.where(mask, y, 0)
        mean = row_mean(samples, mask) if config.centred else torch.zeros_like(samples[..., :1])
        y = torch.where(mask, samples - mean, 0)
        adjacency = nearest_rows(y, mask, min(config.neighbours, y.shape[-2] - 1))
        if config.mean_degree is not None:
            adjacency = with_mean_degree(adjacency, config.mean_degree)
        x, unit, energy = None, None, []
        for _ in range(config.rounds):
            x = self._inpaint(adjacency, y, mask, x)
            gram = self._gram(fill_missing(x, y, mask))
            if unit is None:
                unit = self._unit(gram)
            energy.append(self._energy(x, adjacency, y, mask, unit))
            adjacency = self._learn(adjacency, gram / unit)
            energy.append(self._energy(x, adjacency, y, mask, unit))
        x = self._inpaint(adjacency, y, mask, x)
        energy.append(self._energy(x, adjacency, y, mask, unit))
        restored = fill_missing(x + mean, samples, mask)
        return InpaintingDrivenOutput(restored, adjacency, torch.stack(energy, -1))

    def _inpaint(self, adjacency: Tensor, y: Tensor, mask: Tensor, x: Tensor | None) -> Tensor:
        return inpaint(
            adjacency,
            y,
            mask,
            self.scalar("p1"),
            self.scalar("p2"),
            mu=self.scalar("mu"),
            ridge=self.scalar("ridge"),
            steps=self.config.cg_steps,
            start=x if self.config.warm_start else None,
            preconditioner=self.config.preconditioner,
        )

    def _gram(self, x: Tensor) -> Tensor:
        return gram_over_time(x, self.scalar("p1"), self.scalar("p2"))

    def _unit(self, gram: Tensor) -> Tensor:
        """What smoothness is measured in, ``[*, 1, 1]``."""
        n = gram.shape[-1]
        own = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        if not self.config.relative:
            unit = torch.ones_like(own)
        elif self.config.gradient == "objective":
            unit = 2 * (n * own - gram.sum((-2, -1))) / (n * (n - 1))
        else:
            unit = own / n
        return torch.where(unit > 0, unit, 1)[..., None, None]

    def _energy(
        self, x: Tensor, adjacency: Tensor, y: Tensor, mask: Tensor, unit: Tensor
    ) -> Tensor:
        p1, p2, mu = (self.scalar(name) for name in ("p1", "p2", "mu"))
        unit, laplacian = unit[..., 0, 0], laplacian_matrix(adjacency)
        energy = self.scalar("decay") / 2 * laplacian.square().sum((-2, -1))
        eye = torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
        energy = (
            energy + space_time_energy(laplacian + self.scalar("ridge") * eye, x, p1, p2) / unit
        )
        if mu is not None:
            energy = energy + torch.where(mask, x - y, 0).square().sum((-2, -1)) / (mu * unit)
        steps = x.shape[-1]
        return energy + self.config.temporal_penalty * time_norm(steps, p1, p2) / steps

    def _learn(self, adjacency: Tensor, gram: Tensor) -> Tensor:
        config, decay = self.config, self.scalar("decay")
        step = config.step
        if config.relative:
            step = step / curvature(gram.shape[-1], decay, config.gradient)
        for _ in range(config.graph_steps):
            moved = adjacency - step * adjacency_gradient(adjacency, gram, decay, config.gradient)
            if config.mean_degree is None:
                adjacency = project_non_negative(moved)
            else:
                adjacency = project_mean_degree(moved, config.mean_degree)
        adjacency = sparsify(adjacency, self.scalar("sparsity"))
        if config.mean_degree is not None:
            adjacency = with_mean_degree(adjacency, config.mean_degree)
        return adjacency


def row_mean(y: Tensor, mask: Tensor) -> Tensor:
    """Mean of the observed entries of each row ``[*, N, 1]``, zero if there are none."""
    total = torch.where(mask, y, 0).sum(-1, keepdim=True)
    return total / mask.sum(-1, keepdim=True).clamp(min=1)


def with_mean_degree(adjacency: Tensor, mean_degree: float) -> Tensor:
    """The graph with all weights times one factor, so that the mean degree is as given."""
    mean = adjacency.sum((-2, -1), keepdim=True) / adjacency.shape[-1]
    return adjacency * (mean_degree / torch.where(mean > 0, mean, 1))
