"""Exact interpolation and smoothing with graph total variation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observation
from gsp_unroll.priors import GTV
from gsp_unroll.solvers.admm import LPState, ShrinkState
from gsp_unroll.solvers.gtv_samples import Eliminated, Multiplied, Noisy, Samples
from gsp_unroll.solvers.preconditioner import PRECONDITIONERS
from gsp_unroll.solvers.solution import Solution, Status, merge_finite
from gsp_unroll.topology import Topology

CONSTRAINTS = ("eliminate", "multiplier")
SPLITTINGS = {"shrink": ShrinkState, "lp": LPState}

# The penalty is doubled or halved where one residual is this many times the other ...
_IMBALANCE = 3.0
# ... every so many iterations, and left alone after so many, so that ADMM converges.
_BALANCE_EVERY, _BALANCE_UNTIL = 20, 2000

# Differences below this many rounding errors of their terms are noise.
_ROUNDINGS = 16

_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}


@dataclass(frozen=True)
class GTVSolver:
    r"""ADMM for graph total variation; the edge variables are described in :mod:`.admm`.

    Args:
        tolerance: Stop a system when the largest primal and the largest dual residual over its
            edges are both below ``tolerance`` times the largest :math:`|Cx|` (default: 1e-8 in
            float64, 1e-3 in float32).
        max_iterations: ADMM iterations (default: 5000).
        gamma: Penalty in units of the inverse mean :math:`|Cx|` of the start, so that it does not
            depend on the units of signal and weights (default: 1).
        constraint: How :math:`Hx=y` is kept: ``"eliminate"`` solves on the free nodes only;
            ``"multiplier"`` is eq. (17) of Do et al. as printed, with its own multiplier
            :math:`\mu_c`, feasible in the limit only (default: ``"eliminate"``).
        cg_iterations: Most CG steps for each :math:`x` (default: 200).
        splitting: ``"shrink"`` or ``"lp"``, the one of the paper (default: ``"shrink"``).
        balance: Adapt the penalty of each system to its residuals (default: ``True``).
        preconditioner: Of the CG steps: ``"jacobi"``, ``"none"`` or ``"amg"``; see
            :mod:`.preconditioner` (default: ``"jacobi"``).
    """

    tolerance: float | None = None
    max_iterations: int = 5000
    gamma: float = 1.0
    constraint: str = "eliminate"
    cg_iterations: int = 200
    splitting: str = "shrink"
    balance: bool = True
    preconditioner: str = "jacobi"

    def __post_init__(self) -> None:
        if self.tolerance is not None:
            checks.in_range("tolerance", self.tolerance, 0)
        checks.positive_int("max_iterations", self.max_iterations)
        checks.positive_int("cg_iterations", self.cg_iterations)
        checks.in_range("gamma", self.gamma, 0, open_low=True)
        checks.one_of("constraint", self.constraint, CONSTRAINTS)
        checks.one_of("splitting", self.splitting, SPLITTINGS)
        checks.one_of("preconditioner", self.preconditioner, PRECONDITIONERS)

    def solve(
        self,
        prior: GTV,
        y: Tensor,
        mask: Tensor,
        start: Tensor,
        *,
        mu: float | None = None,
    ) -> Solution:
        r"""Run from ``start``.

        Args:
            prior: The regulariser.
            y: Samples ``[*, C, N]``; values outside ``mask`` are ignored.
            mask: Boolean, broadcastable to ``y``, ``True`` = observed.
            start: First guess ``[*, C, N]``, e.g. the GLR solution.
            mu: Positive: take the samples as noisy and minimise
                :math:`\tfrac12\|Hx-y\|^2+\mu\|Cx\|_1` (default: keep the samples exactly).

        Returns:
            :class:`Solution`; ``stats`` holds ``iterations`` and ``residual``.

        Raises:
            ImportError: If ``preconditioner="amg"`` and ``pyamg`` is not installed.
            TypeError: If ``y`` is not floating point or ``mask`` not boolean.
            ValueError: If ``mu`` is not positive, a shape or device does not fit, or an observed
                sample is not finite.
        """
        kappa = 1.0 if mu is None else checks.in_range("mu", mu, 0, open_low=True)
        topology = prior.topology
        observed = check_observation(y, mask)
        checks.shape("start", checks.tensor("start", start), y.shape)
        known = observed.to(y.dtype) * torch.where(observed, y, 0)
        x = torch.where(observed, known, start)
        # With noisy samples too, the start may be constant while the samples are not.
        c = prior.difference(x)
        gamma = kappa * self._penalty(prior, c)
        scale = _largest(prior, c)
        # A signal that is constant up to rounding has nothing left to solve.
        rounding = _rounding(prior, x)
        if mu is not None:
            x = start
            c = prior.difference(x)
        samples = self._samples(prior, known, observed, None if mu is None else gamma)
        state = SPLITTINGS[self.splitting].start(c)
        tolerance = self.tolerance if self.tolerance is not None else _TOLERANCE.get(y.dtype, 1e-3)
        active = scale > rounding
        residual = torch.where(active, torch.inf, 0.0).to(y)
        iterations = torch.zeros_like(residual, dtype=torch.int32)
        for k in range(self.max_iterations):
            if not bool(active.any()):
                break
            iterations += active
            running = topology.graph_spread(active)
            pull = prior.divergence(state.edge_target())
            # Relative to the edges: a heavy data term would make any x look precise enough.
            inner = _inner_tolerance(residual, active, tolerance) * _norm(topology, pull)
            x = torch.where(running, samples.solve(pull, x, inner, running), x)
            c = prior.difference(x)
            threshold = topology.graph_spread_edges(kappa / gamma)
            new = state.update(c, threshold)
            primal, dual = (_largest(prior, r) for r in new.residuals(state, c, threshold))
            gap = samples.gap(x)
            if gap is not None:
                primal = torch.maximum(primal, _largest(prior, prior.difference(gap)))
            going = topology.graph_spread_edges(active)
            state = new if bool(active.all()) else new.where(going, state)
            del new
            scale = torch.where(active, torch.maximum(scale, _largest(prior, c)), scale)
            residual = torch.where(active, torch.maximum(primal, dual) / scale, residual)
            active = active & (residual * scale > torch.maximum(tolerance * scale, rounding))
            if self.balance and k % _BALANCE_EVERY == _BALANCE_EVERY - 1 and k < _BALANCE_UNTIL:
                ratio = _balance(primal, dual, active).to(gamma)
                gamma = gamma / ratio
                if bool((ratio != 1).any()):
                    state = state.rescale(topology.graph_spread_edges(ratio))
                samples.rescale(ratio, gamma)
        status = torch.where(active, int(Status.MAX_ITERATIONS), 0)
        status = merge_finite(status, topology.graph_sum(x)).to(torch.int8)
        if mu is None:
            x = torch.where(observed, y, x)
        return Solution(x, status, {"iterations": iterations, "residual": residual})

    def _samples(
        self, prior: GTV, known: Tensor, observed: Tensor, gamma: Tensor | None
    ) -> Samples:
        common = prior, known, observed, self.cg_iterations, self.preconditioner
        if gamma is not None:
            return Noisy(*common, gamma)
        return Eliminated(*common) if self.constraint == "eliminate" else Multiplied(*common)

    def _penalty(self, prior: GTV, c: Tensor) -> Tensor:
        """``gamma`` of each system ``[*, C, G]``: relative to the mean size of ``Cx``."""
        total = prior.topology.graph_sum_edges(c.abs())
        count = prior.topology.graph_sum_edges((c != 0).to(c.dtype)).clamp(min=1)
        mean = total / count
        return self.gamma / torch.where(mean > 0, mean, 1)


def _inner_tolerance(residual: Tensor, active: Tensor, tolerance: float) -> Tensor:
    """Solve for ``x`` more precisely as ADMM closes in, and no more for systems that have ended."""
    wanted = (0.05 * residual).clamp(min=0.01 * tolerance, max=1e-3)
    # Times a norm of zero, infinity would be NaN.
    return torch.where(active, wanted, torch.finfo(residual.dtype).max)


def _balance(primal: Tensor, dual: Tensor, active: Tensor) -> Tensor:
    """By what to divide the penalty of each system ``[*, C, G]``."""
    ratio = torch.where(primal > _IMBALANCE * dual, 0.5, 1.0)
    ratio = torch.where(dual > _IMBALANCE * primal, 2.0, ratio)
    return torch.where(active, ratio, 1.0)


def _rounding(prior: GTV, x: Tensor) -> Tensor:
    """Size of the rounding errors of ``Cx`` ``[*, C, G]``."""
    at_u, at_v = prior.topology.kernels.at_ends(x.detach().abs())
    largest = _largest(prior, prior.weight.detach().unsqueeze(-2) * (at_u + at_v))
    return _ROUNDINGS * torch.finfo(x.dtype).eps * largest


def _norm(topology: Topology, value: Tensor) -> Tensor:
    return topology.graph_sum(value * value).sqrt()


def _largest(prior: GTV, e: Tensor) -> Tensor:
    """Largest magnitude over the edges of each graph: ``[*, C, M] -> [*, C, G]``."""
    topology = prior.topology
    if topology.used_slots is None and topology.num_graphs == 1 and topology.num_edges:
        return torch.linalg.vector_norm(e, torch.inf, dim=-1, keepdim=True)  # no copy of e
    nodes = topology.kernels.max_ends(e.abs()).clamp(min=0)
    if topology.num_graphs == 1:
        return nodes.amax(-1, keepdim=True)
    out = nodes.new_zeros(*nodes.shape[:-1], topology.num_graphs)
    index = topology.batch.expand_as(nodes)
    return out.scatter_reduce(-1, index, nodes, "amax")
