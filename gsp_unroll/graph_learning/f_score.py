"""How many edges of a learned graph are right."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks


def f_score(estimate: Tensor, truth: Tensor, threshold: float = 0.01) -> float:
    r"""F-score of the edges of a graph, 1 if all of them and no others are there.

    .. math:: F=\frac{2\,\text{right}}{\text{estimated}+\text{true}}

    the harmonic mean of precision and recall.

    Args:
        estimate: Symmetric, non-negative adjacency matrix ``[N, N]``.
        truth: The same of the true graph; every positive weight is an edge.
        threshold: An estimated weight counts as an edge if it exceeds this share of the largest
            one, in [0, 1) (default: 0.01).

    Raises:
        ValueError: If a shape does not fit, a matrix is not finite or not symmetric, the threshold
            is out of range, or the true graph has no edge.

    Examples:
        >>> path = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> f_score(torch.ones(3, 3), path)
        0.8
    """
    checks.shape("truth", truth, ["N", "N"])
    checks.shape("estimate", estimate, truth.shape)
    for name, matrix in (("estimate", estimate), ("truth", truth)):
        checks.finite(name, matrix)
        if not torch.allclose(matrix, matrix.mT):
            raise ValueError(f"{name} must be symmetric: an edge is the same in both directions")
    checks.in_range("threshold", threshold, 0, 1, open_high=True)
    row, column = torch.triu_indices(*truth.shape, offset=1, device=truth.device)
    found, true = estimate[row, column], truth[row, column] > 0
    if not bool(true.any()):
        raise ValueError("truth must have at least one edge, got none")
    found = found > threshold * found.max()
    return 2 * int((found & true).sum()) / int(found.sum() + true.sum())
