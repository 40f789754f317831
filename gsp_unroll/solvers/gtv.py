"""Exact interpolation and smoothing with graph total variation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observation
from gsp_unroll.priors import GTV
from gsp_unroll.solvers.admm import LPState, ShrinkState
from gsp_unroll.solvers.cg import ConjugateGradient
from gsp_unroll.solvers.preconditioner import (
    PRECONDITIONERS,
    GraphMatrix,
    Operator,
    make_preconditioner,
)
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
        spread, spread_edges = topology.graph_spread, topology.graph_spread_edges
        observed = check_observation(y, mask)
        checks.shape("start", checks.tensor("start", start), y.shape)
        keep = observed.to(y.dtype)
        fixed = keep * torch.where(observed, y, 0)
        eliminate = mu is None and self.constraint == "eliminate"
        x = torch.where(observed, fixed, start)
        # With noisy samples too, the start may be constant while the samples are not.
        c = prior.difference(x)
        gamma = kappa * self._penalty(prior, c)
        scale = _largest(prior, c)
        # A signal that is constant up to rounding has nothing left to solve.
        rounding = _rounding(prior, x)
        if mu is not None:
            x = start
            c = prior.difference(x)

        def operator(v: Tensor) -> Tensor:
            if eliminate:
                return torch.where(observed, 0, prior.operator(v))
            return prior.operator(v) + spread(data) * keep * v

        # Weight of the data term in the x-system, after division by gamma.
        data = torch.ones_like(gamma) if mu is None else 1 / gamma
        inverse = self._inverse(prior, observed if eliminate else None, spread(data) * keep)
        state, u_c = SPLITTINGS[self.splitting].start(c), torch.zeros_like(y)
        tolerance = self.tolerance if self.tolerance is not None else _TOLERANCE.get(y.dtype, 1e-3)
        active = scale > rounding
        residual = torch.where(active, torch.inf, 0.0).to(y)
        iterations = torch.zeros_like(residual, dtype=torch.int32)
        for k in range(self.max_iterations):
            if not bool(active.any()):
                break
            iterations += active
            running, running_edges = spread(active), spread_edges(active)
            pull = prior.divergence(state.edge_target())
            # Relative to the edges: a heavy data term would make any x look precise enough.
            inner = _inner_tolerance(residual, active, tolerance) * _norm(topology, pull)
            if eliminate:
                b = torch.where(observed, 0, pull - prior.operator(fixed))
                guess = torch.where(observed, 0, x)
                free = self._solve(topology, operator, b, guess, inner, inverse)
                new_x = torch.where(observed, fixed, free)
            else:
                b = pull + spread(data) * (fixed - keep * u_c)
                new_x = self._solve(topology, operator, b, x, inner, inverse)
                if mu is None:
                    u_c = torch.where(running, u_c + keep * new_x - fixed, u_c)
            x = torch.where(running, new_x, x)
            c = prior.difference(x)
            threshold = spread_edges(kappa / gamma)
            new = state.update(c, threshold)
            primal, dual = (_largest(prior, r) for r in new.residuals(state, c, threshold))
            if mu is None and not eliminate:
                # What changes on the edges when the samples are put back.
                off = prior.difference(torch.where(observed, fixed - x, 0))
                primal = torch.maximum(primal, _largest(prior, off))
            state = new if bool(active.all()) else new.where(running_edges, state)
            del new
            scale = torch.where(active, torch.maximum(scale, _largest(prior, c)), scale)
            residual = torch.where(active, torch.maximum(primal, dual) / scale, residual)
            active = active & (residual * scale > torch.maximum(tolerance * scale, rounding))
            if self.balance and k % _BALANCE_EVERY == _BALANCE_EVERY - 1 and k < _BALANCE_UNTIL:
                ratio = torch.where(primal > _IMBALANCE * dual, 0.5, 1.0).to(gamma)
                ratio = torch.where(dual > _IMBALANCE * primal, 2.0, ratio)
                ratio = torch.where(active, ratio, 1.0)
                gamma = gamma / ratio
                if bool((ratio != 1).any()):
                    state = state.rescale(spread_edges(ratio))
                if mu is not None:
                    data = 1 / gamma
                    inverse = self._inverse(prior, None, spread(data) * keep)
                # The multiplier of Hx = y is scaled like those of the edges.
                u_c = spread(ratio) * u_c
        status = torch.where(active, int(Status.MAX_ITERATIONS), 0)
        status = merge_finite(status, topology.graph_sum(x)).to(torch.int8)
        if mu is None:
            x = torch.where(observed, y, x)
        return Solution(x, status, {"iterations": iterations, "residual": residual})

    def _solve(
        self,
        topology: Topology,
        operator: Operator,
        b: Tensor,
        x: Tensor,
        tolerance: Tensor,
        inverse: Operator | None,
    ) -> Tensor:
        """CG with an absolute tolerance ``[*, C, G]`` for each system."""
        cg = ConjugateGradient(tolerance=1.0, max_iterations=self.cg_iterations)
        return cg.solve(topology, operator, b, x, scale=tolerance, preconditioner=inverse).value

    def _inverse(self, prior: GTV, fixed: Tensor | None, data: Tensor) -> Operator | None:
        """Preconditioner of the x-system: with fixed nodes, or with a data term."""
        if fixed is None:
            matrix = GraphMatrix(prior.topology, prior.squared_weight, data)
        else:
            matrix = GraphMatrix(prior.topology, prior.squared_weight, free=~fixed)
        return make_preconditioner(self.preconditioner, matrix, data)

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
