"""Learn a graph from smooth signals by primal-dual splitting, to any accuracy."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu

from gsp_unroll import checks
from gsp_unroll.graph_learning.half_vector import degrees, degrees_adjoint, num_nodes
from gsp_unroll.solvers import Solution, Status
from gsp_unroll.solvers.solution import merge_finite

_DEFAULT_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}
# Iterations between two looks at the error bound, which costs about as much as one of them.
_LOOK_EVERY = 10
# The least 4 γ α: learned scalars may leave none, and the root needs a slope.
_LEAST = 1e-8


@torch.no_grad()
def solve_pds(
    z: Tensor,
    alpha: float = 1.0,
    beta: float = 1.0,
    *,
    step: float | None = None,
    tolerance: float | None = None,
    max_iterations: int = 20_000,
) -> Solution:
    r"""Learn the graph on which signals are smooth and every node has neighbours.

    .. math:: \min_{w\ge0}\;2z^\top w-\alpha\,1^\top\log(Dw)+\beta\|w\|^2

    by the forward-backward-forward splitting of Kalofolias (2016), see :func:`pds_step`. It stops
    by the duality gap: from the dual iterate :math:`v`, with :math:`u=-v`, comes

    .. math::
        w(u)=\tfrac1{2\beta}\max(0,D^\top u-2z),\quad t=\tfrac1\alpha\,u\odot Dw(u),\quad
        \|w(u)-w^*\|^2\le\tfrac\alpha\beta\textstyle\sum_i(t_i-1-\log t_i),

    so the value returned, :math:`w(u)`, is nonnegative and its distance to the one optimum known.

    Args:
        z: Squared distances, half vectors ``[*, m (m - 1) / 2]``, finite and nonnegative; see
            :func:`.pairwise_distances`.
        alpha: Weight of the log barrier, positive: the larger, the larger all weights
            (default: 1).
        beta: Weight of the squared norm, positive: the larger, the more even the weights
            (default: 1).
        step: Step size, positive (default: 0.9 of the largest that is sure to converge,
            see :func:`safe_step`).
        tolerance: Stop when the bound on the error is below this share of the norm of the value
            (default: 1e-8 in float64, 1e-4 in float32).
        max_iterations: Upper limit, at least 1 (default: 20000).

    Returns:
        :class:`Solution` with a status for each graph ``[*]``, and ``iterations`` and ``residual``
        (the relative error bound) in its stats; no gradients go through it.

    Raises:
        TypeError: If ``z`` is not floating point.
        ValueError: If ``z`` is no half vector, not finite or negative, or another argument is out
            of range.

    Source: Kalofolias, "How to learn a graph from smooth signals", AISTATS 2016; Komodakis and
    Pesquet, "Playing with duality", 2015.

    Examples:
        >>> solve_pds(torch.tensor([1.0, 9.0, 9.0], dtype=torch.float64)).value
        tensor([0.5961, 0.0304, 0.0304], dtype=torch.float64)
    """
    check_distances(z)
    alpha = checks.in_range("alpha", alpha, 0, open_low=True)
    beta = checks.in_range("beta", beta, 0, open_low=True)
    if step is None:
        step = safe_step(num_nodes(z), beta)
    step = checks.in_range("step", step, 0, open_low=True)
    if tolerance is None:
        tolerance = _DEFAULT_TOLERANCE.get(z.dtype, 1e-4)
    tolerance = checks.in_range("tolerance", tolerance, 0)
    checks.positive_int("max_iterations", max_iterations)

    flat = z.reshape(-1, z.shape[-1])
    value = torch.zeros_like(flat)
    residual = flat.new_full((len(flat),), torch.inf)
    iterations = torch.zeros(len(flat), dtype=torch.int32, device=z.device)
    # Only graphs that are not solved yet go on.
    going = torch.arange(len(flat), device=z.device)
    given = scalars(*(flat.new_tensor(number) for number in (step, alpha, beta)))
    w, v = start(flat)
    left = flat
    for k in range(1, max_iterations + 1):
        w, v = pds_step(w, v, left, given)
        if k % _LOOK_EVERY and k < max_iterations:
            continue
        value[going], residual[going] = _primal(v, left, alpha, beta)
        iterations[going] = k
        unsolved = residual[going] > tolerance
        going, left, w, v = going[unsolved], left[unsolved], w[unsolved], v[unsolved]
        if not len(going):
            break
    # A NaN is not above the tolerance: such a graph has left the loop, too.
    status = torch.where(residual <= tolerance, 0, int(Status.MAX_ITERATIONS))
    status = merge_finite(status, value.sum(-1)).to(torch.int8)
    shape = z.shape[:-1]
    stats = {"iterations": iterations.reshape(shape), "residual": residual.reshape(shape)}
    return Solution(value.reshape(z.shape), status.reshape(shape), stats)


class Scalars(NamedTuple):
    """What :func:`pds_step` needs of γ, α and β; see :func:`scalars`."""

    step: float | Tensor
    double: float | Tensor
    shrink: float | Tensor
    barrier: float | Tensor


def scalars(step: Tensor, alpha: Tensor, beta: Tensor) -> Scalars:
    r""":math:`\gamma,\ 2\gamma,\ 1-2\gamma\beta,\ \sqrt{4\gamma\alpha}`, one or for all layers.

    A product γα that learning has made negative counts as none.
    """
    barrier = (4 * step * alpha).clamp(min=_LEAST).sqrt()
    return Scalars(step, 2 * step, 1 - 2 * step * beta, barrier)


def pds_step(
    w: Tensor,
    v: Tensor,
    z: Tensor,
    given: Scalars,
    prox: Callable[[Tensor], Tensor] = relu,
) -> tuple[Tensor, Tensor]:
    r"""One iteration of forward-backward-forward primal-dual splitting.

    .. math::
        y_1&=w-\gamma(2\beta w+2z+D^\top v) & y_2&=v+\gamma Dw\\
        p_1&=\mathrm{prox}(y_1) & p_2&=\tfrac12\bigl(y_2-\sqrt{y_2^2+4\gamma\alpha}\bigr)\\
        q_1&=p_1-\gamma(2\beta p_1+2z+D^\top p_2) & q_2&=p_2+\gamma Dp_1

    and then :math:`w\leftarrow w+q_1-y_1`, :math:`v\leftarrow v+q_2-y_2`. The fixed point is
    :math:`v=-\alpha/(Dw)`, :math:`w=\max(0,-(2z+D^\top v)/(2\beta))`.

    Args:
        w: Weights ``[*, m (m - 1) / 2]``.
        v: Dual variables ``[*, m]``.
        z: Squared distances, as ``w``.
        given: γ, α and β.
        prox: What takes the place of the projection on :math:`w\ge0` (default: the projection).

    Returns:
        The next ``w`` and ``v``.
    """
    step, double, shrink, barrier = given
    # With e = p1 - w and f = p2 - v the second z cancels, and both steps scale node values only.
    p1 = prox(shrink * w - double * z - degrees_adjoint(step * v))
    y2 = v + step * degrees(w)
    p2 = (y2 - torch.hypot(y2, barrier)) / 2
    e, f = p1 - w, p2 - v
    return w + shrink * e - degrees_adjoint(step * f), p2 + step * degrees(e)


def start(z: Tensor) -> tuple[Tensor, Tensor]:
    """The weights and dual variables, all zero, that the iteration starts from."""
    return torch.zeros_like(z), z.new_zeros(*z.shape[:-1], num_nodes(z))


def safe_step(nodes: int, beta: float) -> float:
    r"""A step that is sure to converge: :math:`0.9/(2\beta+\|D\|)`, :math:`\|D\|^2=2(m-1)`."""
    return 0.9 / (2 * beta + sqrt(2 * (nodes - 1)))


def check_distances(z: Tensor) -> None:
    """Raise unless ``z`` is floating point, a half vector, finite and nonnegative."""
    checks.floating("z", z)
    num_nodes(z)
    checks.finite("z", z)
    if bool((z < 0).any()):
        raise ValueError(f"z must hold squared distances, at least 0, got {z.min().item()}")


def _primal(v: Tensor, z: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    """The weights that belong to ``v`` and the bound on their relative error."""
    value = relu(-degrees_adjoint(v) - 2 * z) / (2 * beta)
    # t = 1 at the optimum: written so that no digits cancel there. A dual variable that is not
    # below zero, or a node without an edge, is infinitely far from it.
    off = (-v * degrees(value) / alpha - 1).clamp(min=-1)
    gap = (off - torch.log1p(off)).sum(-1).clamp(min=0)
    return value, (gap * alpha / beta).sqrt() / value.norm(dim=-1)
