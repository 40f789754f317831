"""What attributes of the nodes explain of a signal, before a graph network restores the rest."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gsp_unroll import checks
from gsp_unroll.topology import Graph, Topology

# Nodes of a graph up to which a dense system is solved for each signal.
LARGEST = 4096

# Optimisers move a parameter by the learning rate a step, whatever it means: numbers of the kernel
# are kept as their logarithm over this, so that they get anywhere while weights are learned.
PACE = 10.0

# Keeps the distance of two equal points differentiable.
_NOTHING = 1e-12


class Trend(nn.Module, ABC):
    """A smooth function of the attributes, fitted to the samples of each signal and graph anew.

    Shapes:
        - **y:** samples ``[S, C, N]``, each graph about the mean of its samples, zero elsewhere
        - **observed:** boolean ``[S, C, N]``
        - **attributes:** ``[S, A, N]``
        - **output:** ``[S, C, N]``, at every node
    """

    @abstractmethod
    def forward(
        self, topology: Topology, y: Tensor, observed: Tensor, attributes: Tensor
    ) -> Tensor:
        """The trend at every node; see the class text for shapes."""


class LinearTrend(Trend):
    r"""Ridge regression of the samples on the attributes, both about their mean over the samples.

    .. math:: b=(A^\top A+\lambda I)^{-1}A^\top y,\qquad t=Ab

    Args:
        ridge: :math:`\lambda`, the variance of what the trend leaves over that of the slopes, in
            units of signal and attributes (default: 0.5).

    Raises:
        ValueError: If ``ridge`` is not positive.
    """

    def __init__(self, ridge: float = 0.5) -> None:
        super().__init__()
        self.ridge = checks.in_range("ridge", ridge, 0.0, open_low=True)

    def forward(
        self, topology: Topology, y: Tensor, observed: Tensor, attributes: Tensor
    ) -> Tensor:
        """Ridge regression on each graph; see :class:`Trend` for shapes."""
        seen = observed.to(y.dtype).unsqueeze(2)
        a = attributes.unsqueeze(1)
        centre = topology.graph_sum(a * seen) / topology.graph_sum(seen).clamp(min=1)
        a = a - topology.graph_spread(centre)
        kept = a * seen
        # Attributes last, as solvers want it; one system for each signal, channel and graph.
        gram = topology.graph_sum(kept.unsqueeze(2) * a.unsqueeze(3)).movedim(-1, 2)
        moment = topology.graph_sum(kept * y.unsqueeze(2)).movedim(-1, 2)
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        slope = torch.linalg.solve(gram + self.ridge * identity, moment)
        return (topology.graph_spread(slope.movedim(2, -1)) * a).sum(2)


class KernelTrend(Trend):
    r"""Kernel ridge regression on the attributes (universal kriging) with a learned kernel.

    .. math::
        t=K_{\cdot\Omega}(K_{\Omega\Omega}+\lambda I)^{-1}y_\Omega,\qquad
        k(a,b)=(1+\sqrt3d)e^{-\sqrt3d}+\sum_is_ia_ib_i+c,
        \quad d^2=\sum_i\frac{(a_i-b_i)^2}{\ell_i^2}

    a Matérn kernel of smoothness 3/2, slopes of variance :math:`s_i`, and a constant, over the
    observed nodes :math:`\Omega`. Lengths :math:`\ell`, :math:`s`, :math:`c` and the nugget
    :math:`\lambda` are learned together with the network that restores what is left: the kernel
    takes what is smooth over long distances, where a graph Laplacian is a poor prior, and a large
    nugget leaves the rest to the graph. One dense system of ``N`` unknowns for each signal, channel
    and graph, solved in float64.

    Args:
        attributes: Number of attributes ``A``.

    Raises:
        ValueError: If ``attributes`` is below 1, or a graph has more than 4096 nodes.

    Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, (2.25), (4.17).
    """

    def __init__(self, attributes: int) -> None:
        super().__init__()
        checks.positive_int("attributes", attributes)
        self.length = nn.Parameter(torch.empty(attributes))
        self.slope = nn.Parameter(torch.empty(attributes))
        self.constant = nn.Parameter(torch.empty(()))
        self.nugget = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Lengths, slopes and constant of one unit, and a nugget of a tenth."""
        for parameter in (self.length, self.slope, self.constant):
            nn.init.zeros_(parameter)
        nn.init.constant_(self.nugget, math.log(0.1) / PACE)

    def learned(self, name: str) -> Tensor:
        """A number of the kernel, ``"length"``, ``"slope"``, ``"constant"`` or ``"nugget"``."""
        return (PACE * getattr(self, name)).exp()

    def kernel(self, attributes: Tensor) -> Tensor:
        """Covariance ``[*, N, N]`` between nodes with ``attributes [*, A, N]``."""
        a = attributes / self.learned("length")[:, None].to(attributes)
        own = a.square().sum(-2)
        square = (own.unsqueeze(-1) + own.unsqueeze(-2) - 2 * a.mT @ a).clamp(min=0)
        d = (3 * square + _NOTHING).sqrt()
        line = attributes.mT @ (attributes * self.learned("slope")[:, None].to(attributes))
        return (1 + d) * (-d).exp() + line + self.learned("constant").to(attributes)

    def forward(
        self, topology: Topology, y: Tensor, observed: Tensor, attributes: Tensor
    ) -> Tensor:
        """Kriging on each graph; see :class:`Trend` for shapes."""
        parts = [
            self._of_one_size(*(_apart(v, span) for v in (y, observed, attributes)), len(y))
            for span in _spans(topology)
        ]
        return torch.cat(parts, dim=-1)

    def _of_one_size(self, y: Tensor, observed: Tensor, attributes: Tensor, signals: int) -> Tensor:
        """Signals ``[S * G, C, n]`` on graphs of one size -> ``[S, C, G * n]``."""
        covariance = self.kernel(attributes.double()).unsqueeze(1)
        seen = observed.double()
        # Rows of what is not observed are those of the identity: one size for all systems.
        system = covariance * seen.unsqueeze(-1) * seen.unsqueeze(-2)
        system = system + torch.diag_embed(seen * self.learned("nugget").double() + (1 - seen))
        dual = torch.cholesky_solve(
            (y.double() * seen).unsqueeze(-1), torch.linalg.cholesky(system)
        )
        value = (covariance @ (dual * seen.unsqueeze(-1))).squeeze(-1).to(y.dtype)
        return value.unflatten(0, (signals, -1)).transpose(1, 2).flatten(2)


def _spans(topology: Topology) -> list[tuple[int, int, int]]:
    """Runs of graphs of one size: first node, graphs, nodes of each.

    Raises:
        ValueError: If a graph is too large for a dense system.
    """
    graphs = topology.batch if isinstance(topology, Graph) else None
    sizes = [topology.num_nodes] if graphs is None else torch.bincount(graphs).tolist()
    if max(sizes) > LARGEST:
        raise ValueError(
            f"trend='kernel' solves a dense system and takes graphs of at most {LARGEST} nodes, "
            f"got {max(sizes)}; use 'linear' or 'mean'"
        )
    spans: list[tuple[int, int, int]] = []
    start = 0
    for size in sizes:
        if spans and spans[-1][2] == size:
            first, count, _ = spans[-1]
            spans[-1] = (first, count + 1, size)
        else:
            spans.append((start, 1, size))
        start += size
    return spans


def _apart(value: Tensor, span: tuple[int, int, int]) -> Tensor:
    """The graphs of a span one by one: ``[S, C, N] -> [S * G, C, n]``."""
    first, count, size = span
    part = value[..., first : first + count * size].unflatten(-1, (count, size))
    return part.transpose(1, 2).flatten(0, 1)
