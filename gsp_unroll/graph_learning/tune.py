"""Choose α and β of the exact solver by graphs that are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.metrics import check_truth, gmse
from gsp_unroll.graph_learning.pds import check_distances, solve_pds

# sqrt(α β): the smaller, the fewer edges, and the more iterations.
_ROOTS = tuple(0.4 * 2 ** (k / 2) for k in range(8))


class Tuned(NamedTuple):
    """What :func:`tune_pds` found.

    Attributes:
        alpha: Weight of the log barrier.
        beta: Weight of the squared norm.
        error: Mean relative squared error (GMSE) with them.
    """

    alpha: float
    beta: float
    error: float


def tune_pds(z: Tensor, truth: Tensor, roots: Sequence[float] = _ROOTS) -> Tuned:
    r"""α and β with the least mean GMSE of :func:`.solve_pds`, solved to convergence.

    The solution obeys :math:`w^*(\alpha,\beta)=\alpha\,w^*(1,\alpha\beta)`. So only the product is
    searched, and the best α for each follows by least squares.

    Args:
        z: Squared distances ``[count, m (m - 1) / 2]``.
        truth: True weights, as ``z``.
        roots: Values of :math:`\sqrt{\alpha\beta}` to try, positive (default: 0.4 to 4.5 by
            factors of the root of 2).

    Raises:
        TypeError: If ``z`` or ``truth`` is no floating-point tensor.
        ValueError: If shapes differ, a true graph has no edge, ``roots`` is empty, a value is out
            of range, or no solution has an edge of the truth.
    """
    check_distances(checks.tensor("z", z))
    check_truth("truth", truth, z)
    if not len(roots):
        raise ValueError("roots must hold at least one value, got none")
    best = Tuned(1.0, 1.0, math.inf)
    power = truth.square().sum(-1)
    for root in roots:
        checks.in_range("roots", root, 0, open_low=True)
        # Any split of the product will do; this one takes the fewest iterations.
        first = max(1.0, root)
        value = solve_pds(z, first, root**2 / first).value
        scale = ((value * truth).sum(-1) / power).sum() / (value.square().sum(-1) / power).sum()
        if not scale > 0:
            continue
        error = float(gmse(scale * value, truth).mean())
        if error < best.error:
            alpha = float(scale) * first
            best = Tuned(alpha, root**2 / alpha, error)
    if not math.isfinite(best.error):
        raise ValueError("truth must have an edge that a solution has, too; z fits other graphs")
    return best
