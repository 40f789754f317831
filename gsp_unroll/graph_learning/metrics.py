"""How good learned weights are: relative error, and how well they rank the edges."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks


def gmse(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Squared error of weights relative to those of the truth, :math:`\|\hat w-w\|^2/\|w\|^2`.

    Args:
        estimate: Weights ``[*, E]``, further leading dimensions allowed.
        truth: True weights ``[*, E]``, of each graph at least one not zero.

    Returns:
        One value for each graph.

    Raises:
        ValueError: If the shapes do not fit together.
    """
    try:
        torch.broadcast_shapes(estimate.shape, truth.shape)
    except RuntimeError:
        raise ValueError(
            f"truth must have a shape that goes with estimate {list(estimate.shape)}, got "
            f"{list(truth.shape)}"
        ) from None
    return (estimate - truth).square().sum(-1) / truth.square().sum(-1)


def check_truth(name: str, truth: Tensor, z: Tensor) -> None:
    """Raise unless ``truth`` are finite weights in the shape of ``z``, an edge in each graph."""
    checks.floating(name, truth)
    checks.shape(name, truth, list(z.shape))
    checks.finite(name, truth)
    edgeless = ~(truth > 0).any(-1)
    if bool(edgeless.any()):
        raise ValueError(
            f"{name} must have an edge in every graph, got none in {int(edgeless.sum())} of them"
        )


def edge_auc(score: Tensor, truth: Tensor) -> Tensor:
    r"""Area under the receiver operating characteristic of the edges (1 is perfect, ½ chance).

    The share of pairs of an edge and a non-edge in which the edge has the larger score; equal
    scores count one half.

    Args:
        score: Learned weights ``[*, E]``.
        truth: True weights ``[*, E]``; above zero = edge.

    Returns:
        One value for each graph ``[*]``, float64; NaN where all pairs or none are edges.

    Raises:
        ValueError: If the shapes differ, a value is not finite, or there is no pair of nodes.
    """
    hits, marks, last = _ranked(score, truth)
    found, marked = hits.cumsum(-1), marks.cumsum(-1)
    # Area between the ends of groups of equal scores, by trapezia.
    right, false = _at_ends(found, last), _at_ends(marked - found, last)
    width = false.diff(dim=-1, prepend=torch.zeros_like(false[..., :1]))
    before = torch.cat([torch.zeros_like(right[..., :1]), right[..., :-1]], dim=-1)
    area = (width * (right + before) / 2).sum(-1)
    return area / (right[..., -1] * false[..., -1])


def edge_average_precision(score: Tensor, truth: Tensor) -> Tensor:
    r"""Average precision of the edges, :math:`\sum_k(R_k-R_{k-1})P_k` over falling thresholds.

    Args:
        score: Learned weights ``[*, E]``.
        truth: True weights ``[*, E]``; above zero = edge.

    Returns:
        One value for each graph ``[*]``, float64; NaN where there is no edge.

    Raises:
        ValueError: If the shapes differ, a value is not finite, or there is no pair of nodes.
    """
    hits, marks, last = _ranked(score, truth)
    right, marked = _at_ends(hits.cumsum(-1), last), _at_ends(marks.cumsum(-1), last)
    gained = right.diff(dim=-1, prepend=torch.zeros_like(right[..., :1]))
    return (gained * right / marked.clamp(min=1)).sum(-1) / right[..., -1]


def _ranked(score: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By falling score: whether it is an edge, ones, and whether the next score is smaller."""
    checks.shape("truth", truth, list(score.shape))
    if not score.shape[-1]:
        raise ValueError("score must have at least one pair of nodes, got none")
    checks.finite("score", score)
    checks.finite("truth", truth)
    ordered, order = score.sort(dim=-1, descending=True)
    hits = (truth > 0).gather(-1, order).double()
    last = torch.ones_like(order, dtype=torch.bool)
    last[..., :-1] = ordered[..., :-1] > ordered[..., 1:]
    return hits, torch.ones_like(hits), last


def _at_ends(count: Tensor, last: Tensor) -> Tensor:
    """``count`` at the end of each group, and inside a group that at the end of the one before."""
    return torch.where(last, count, 0).cummax(-1).values
