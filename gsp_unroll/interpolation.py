"""Fill in the missing values of a signal on any PyG graph, nothing to train."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observed, signal_and_mask
from gsp_unroll.ops.public import symmetric_planar
from gsp_unroll.priors import GLR, GTV
from gsp_unroll.solvers import ConjugateGradient, GTVSolver, Solution, solve_glr
from gsp_unroll.solvers.preconditioner import PRECONDITIONERS
from gsp_unroll.topology import Graph, Topology
from gsp_unroll.topology.from_data import from_planar, to_planar

PRIORS = ("glr", "gtv")
ON_FAILURE = ("warn", "raise", "ignore")

# GTV converges slowly; this is what float32 signals are worth.
_GTV_TOLERANCE_SINGLE = 1e-3
_SMALLEST = torch.finfo(torch.float64).tiny


class NotConvergedWarning(UserWarning):
    """A solver stopped before it reached its tolerance."""


def interpolate(
    data: Data,
    prior: str = "glr",
    *,
    mu: float | None = None,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    preconditioner: str = "jacobi",
    on_failure: str = "warn",
) -> Data:
    r"""Restore a graph signal from the nodes where it was observed.

    ``prior="glr"`` gives the smoothest signal, :math:`\min_x x^\top Lx`; ``prior="gtv"`` the one
    with the least total variation, :math:`\min_x\sum w_{ij}|x_i-x_j|`, which keeps jumps. Both
    keep the samples, :math:`x_i=y_i` where observed (bit for bit). With ``mu`` the samples are
    taken as noisy instead:

    .. math::
        \text{glr: }\min_x\|Hx-y\|^2+\mu\,x^\top Lx\qquad
        \text{gtv: }\min_x\tfrac12\|Hx-y\|^2+\mu\|Cx\|_1

    Args:
        data: PyG ``Data`` or ``Batch`` with ``edge_index`` (both directions of every edge) and

            - ``x``: float32 or float64, ``[N]`` or ``[N, C]``; NaN = missing;
            - ``mask`` (optional): boolean, ``[N]`` or ``[N, C]``, ``True`` = observed (default:
              where ``x`` is not NaN);
            - ``edge_weight`` (optional): ``[E]``, non-negative and the same in both directions
              (default: ones).
        prior: ``"glr"`` or ``"gtv"`` (default: ``"glr"``).
        mu: Positive weight of the prior for noisy samples (default: keep the samples).
        tolerance: Relative tolerance of the solver, which computes in float64 (default: 1e-12 for
            GLR; for GTV 1e-3 if ``x`` is float32 and 1e-8 if it is float64).
        max_iterations: Limit for the solver (default: 10 000 CG steps or 5000 ADMM iterations).
        preconditioner: Of conjugate gradients: ``"jacobi"``, ``"none"``, or ``"amg"`` for large
            graphs with few samples, which needs ``pyamg`` (default: ``"jacobi"``).
        on_failure: What to do if a system does not converge: ``"warn"``, ``"raise"`` or
            ``"ignore"`` (default: ``"warn"``).

    Returns:
        A copy of ``data`` with ``x`` filled in; everything else is shared with ``data``.

    Raises:
        ImportError: If ``preconditioner="amg"`` and ``pyamg`` is not installed.
        TypeError: If a dtype does not fit.
        ValueError: If something is missing, has a wrong shape, is not finite, or a connected
            component (edges of weight zero do not connect) has no observed node.
        SolverError: If a system does not converge and ``on_failure="raise"``.

    Source: GLR and GTV interpolation of Do et al., NeurIPS 2024.

    Examples:
        >>> from torch_geometric.data import Data
        >>> nan = float("nan")
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> data = Data(x=torch.tensor([0.0, nan, nan, 3.0]), edge_index=path)
        >>> interpolate(data).x
        tensor([0., 1., 2., 3.])
    """
    checks.one_of("prior", prior, PRIORS)
    checks.one_of("preconditioner", preconditioner, PRECONDITIONERS)
    checks.one_of("on_failure", on_failure, ON_FAILURE)
    if not isinstance(data, Data):
        raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
    signal, mask = signal_and_mask(data)
    topology = Topology.from_data(data)
    y, observed = to_planar(topology, signal), to_planar(topology, mask)
    check_observed(topology, observed)
    weight = _weights(data, topology, y)
    _check_connected(data, mask)
    options = _Options(prior, mu, tolerance, max_iterations, preconditioner)
    solution = _solve(topology, weight, y, observed, options)
    if on_failure == "raise":
        solution.raise_for_status()
    if on_failure == "warn" and not solution.converged:
        warnings.warn(solution.message(), NotConvergedWarning, stacklevel=2)
    out = copy.copy(data)
    out.x = from_planar(solution.value).reshape(data.x.shape)
    return out


@dataclass(frozen=True)
class _Options:
    """How to solve; see :func:`interpolate`."""

    prior: str
    mu: float | None
    tolerance: float | None
    max_iterations: int | None
    preconditioner: str


def _solve(
    topology: Topology, weight: Tensor, y: Tensor, observed: Tensor, options: _Options
) -> Solution:
    """Solve with the nodes in the order in which kernels are fastest, if the graph has one."""
    order = topology.node_order if isinstance(topology, Graph) else None
    if order is None or topology.num_graphs > 1:
        return _solve_scaled(topology, weight, y, observed, options)
    order = order.long()
    ordered = topology.in_node_order()
    solution = _solve_scaled(ordered, weight, y[..., order], observed[..., order], options)
    value = torch.empty_like(y).index_copy_(-1, order, solution.value)
    return replace(solution, value=value)


def _solve_scaled(
    topology: Topology, weight: Tensor, y: Tensor, observed: Tensor, options: _Options
) -> Solution:
    """Solve in float64, around the mean and in units of the largest weight and deviation.

    So neither the units of signal and weights nor a small ``mu`` cost precision.
    """
    y64 = y.double()
    count = topology.graph_sum(observed.double())
    mean = topology.graph_spread(topology.graph_sum(torch.where(observed, y64, 0)) / count)
    centred = torch.where(observed, y64 - mean, 0)
    # Units, which the solution does not depend on: constants to autograd.
    size = _positive_or_one(centred.detach().abs().max())
    largest = weight.detach().max() if weight.numel() else weight.new_ones(())
    largest = _positive_or_one(largest)
    centred, weight = centred / size, weight / largest
    tolerance, limit, mu = options.tolerance, options.max_iterations, options.mu
    is_glr = options.prior == "glr"
    if mu is not None:
        mu = checks.in_range("mu", mu, 0, open_low=True) * float(largest)
    cg = ConjugateGradient(
        tolerance=tolerance if is_glr else None,
        max_iterations=limit if is_glr and limit is not None else 10_000,
    )
    glr, method = GLR(topology, weight), options.preconditioner
    solution = solve_glr(glr, centred, observed, mu=mu, cg=cg, preconditioner=method)
    if not is_glr:
        if tolerance is None and y.dtype != torch.float64:
            tolerance = _GTV_TOLERANCE_SINGLE
        solver = GTVSolver(
            tolerance=tolerance,
            max_iterations=5000 if limit is None else limit,
            preconditioner=method,
        )
        mu = None if mu is None else mu / float(size)
        start = solution.value
        solution = solver.solve(GTV(topology, weight), centred, observed, start, mu=mu)
    value = (solution.value * size + mean).to(y.dtype)
    if mu is None:
        value = torch.where(observed, y, value)
    return replace(solution, value=value)


def _positive_or_one(value: Tensor) -> Tensor:
    return torch.where(value > 0, value, torch.ones_like(value))


def _check_connected(data: Data, mask: Tensor) -> None:
    """Edges of weight zero join nothing: check the components without them."""
    weight = data.edge_weight
    if weight is not None and bool((weight == 0).any()):
        joined = Graph(data.edge_index[:, weight > 0], len(mask))
        try:
            check_observed(joined, mask.T.unsqueeze(0))
        except ValueError as error:
            raise ValueError(f"{error} (edges of weight zero do not connect)") from None


def _weights(data: Data, topology: Topology, y: Tensor) -> Tensor:
    """Planar weights ``[R, M]`` from ``data.edge_weight``, float64.

    Those of a Gaussian kernel may be far below the range of float32.
    """
    replicas = y.shape[0]
    weight = data.edge_weight
    if weight is None:
        return y.new_ones(replicas, topology.num_edges, dtype=torch.float64)
    checks.floating("data.edge_weight", weight)
    edges = topology.edge_index.shape[1]
    checks.shape("data.edge_weight", weight, [replicas * edges])
    checks.finite("data.edge_weight", weight)
    if bool((weight < 0).any()):
        raise ValueError(
            f"data.edge_weight must not be negative, got {float(weight.min())} at edge "
            f"{int(weight.argmin())}"
        )
    by_edge = weight.double().view(replicas, edges).T
    into_u, into_v = topology.pack_edges(by_edge).unbind(-2)
    if not torch.allclose(into_u, into_v, rtol=1e-5, atol=0):
        apart = (into_u - into_v).abs() / torch.maximum(into_u, into_v).clamp(min=_SMALLEST)
        worst = int(apart.flatten().argmax()) % topology.num_edges
        raise ValueError(
            "data.edge_weight must be the same in both directions of every edge, got "
            f"{float(into_v[..., worst].flatten()[0])} and "
            f"{float(into_u[..., worst].flatten()[0])} for one of them; "
            "torch_geometric.utils.to_undirected with reduce='mean' averages them"
        )
    return symmetric_planar(topology, by_edge)
