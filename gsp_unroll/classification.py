"""Semi-supervised classification: class labels of some nodes, and a graph, give those of the rest.

The labels of a class are a signal, 1 where a node is of the class and 0 where it is of another;
:func:`~gsp_unroll.interpolate` fills it in.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from gsp_unroll import checks
from gsp_unroll.interpolation import PRIORS, interpolate

# What is sought is the largest of a few numbers.
_TOLERANCE = {"gtv": 1e-3}


def classify(
    data: Data,
    prior: str = "glr",
    *,
    num_classes: int | None = None,
    class_mass: bool = True,
    mu: float | None = None,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    preconditioner: str = "jacobi",
    on_failure: str = "warn",
) -> Data:
    r"""Label all nodes from those that have a label.

    The one-hot signals of the classes are interpolated to :math:`u\in[0,1]^{N\times K}`. With
    ``prior="glr"``, :math:`u_{ic}` is the probability that a random walk from node :math:`i` meets
    a label of class :math:`c` first. With few labels most walks forget where they began, and one
    class takes nearly all nodes; ``class_mass`` gives each class its share:

    .. math:: s_{ic}\propto u_{ic}\,\frac{q_c}{\sum_ju_{jc}},\qquad
        q_c=\frac{n_c+1}{\sum_{c'}n_{c'}+K}

    with :math:`n_c` labels of class :math:`c`, for each graph of a ``Batch`` on its own. So it
    takes the labels to be drawn as the classes are: with many labels, as many of rare classes as
    of others, it is better off. ``prior="gtv"`` seeks the shortest borders between classes, and
    with few labels finds those around the labelled nodes.

    Args:
        data: PyG ``Data`` or ``Batch`` with ``edge_index`` (both directions of every edge) and

            - ``y``: class of each node, int64 ``[N]``, -1 = unknown;
            - ``mask`` (optional): boolean ``[N]``, ``True`` = the label is known (default: where
              ``y`` is not -1);
            - ``edge_weight`` (optional): ``[E]``, non-negative and the same in both directions
              (default: ones).
        prior: ``"glr"`` or ``"gtv"`` (default: ``"glr"``).
        num_classes: ``K`` (default: one more than the largest known label).
        class_mass: Scale the scores of each class as above (default: ``True``).
        mu: Positive weight of the prior for labels some of which may be wrong, see
            :func:`~gsp_unroll.interpolate`; they may change then (default: keep them).
        tolerance: Of the solver (default: 1e-12 for GLR, 1e-3 for GTV).
        max_iterations: As in :func:`~gsp_unroll.interpolate`.
        preconditioner: As in :func:`~gsp_unroll.interpolate`.
        on_failure: As in :func:`~gsp_unroll.interpolate`.

    Returns:
        A copy of ``data`` with ``y`` filled in and ``y_score [N, K]``, whose rows sum to one and
        are largest at ``y``, float64 if ``edge_weight`` is, else float32.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If something is missing or has a wrong shape, a known label is out of range, or
            a connected component has no known label.
        SolverError: If a system does not converge and ``on_failure="raise"``.

    Source: Zhu, Ghahramani, Lafferty, "Semi-Supervised Learning Using Gaussian Fields and Harmonic
    Functions", ICML 2003, harmonic function and class mass normalisation; here with the mass of
    all nodes, labelled ones too, which matters where they are a large part.

    Examples:
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> data = Data(y=torch.tensor([0, -1, -1, 1]), edge_index=path, num_nodes=4)
        >>> classify(data).y
        tensor([0, 0, 1, 1])
    """
    checks.one_of("prior", prior, PRIORS)
    label, known = _labels(data)
    count = _num_classes(label, known, num_classes)
    dtype = torch.float32
    if data.edge_weight is not None:
        checks.floating("data.edge_weight", data.edge_weight)
        dtype = torch.promote_types(data.edge_weight.dtype, dtype)
    one_hot = torch.nn.functional.one_hot(torch.where(known, label, 0), count).to(dtype)
    signals = copy.copy(data)
    signals.x, signals.mask = one_hot, known
    score = interpolate(
        signals,
        prior,
        mu=mu,
        tolerance=_TOLERANCE.get(prior) if tolerance is None else tolerance,
        max_iterations=max_iterations,
        preconditioner=preconditioner,
        on_failure=on_failure,
    ).x.clamp(0, 1)
    if class_mass:
        graph = data.get("batch")
        graph = torch.zeros_like(label) if graph is None else graph
        score = score * _factors(score, one_hot * known.unsqueeze(1), graph)[graph]
    total = score.sum(1, keepdim=True)
    score = torch.where(total > 0, score / total, 1 / count)
    out = copy.copy(data)
    out.y, out.y_score = score.argmax(1), score
    return out


def _labels(data: Data) -> tuple[Tensor, Tensor]:
    """Labels and where they are known, both ``[N]``."""
    if not isinstance(data, Data):
        raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
    if data.y is None:
        raise ValueError("data.y is missing; set it to the class of each node, -1 where unknown")
    label = checks.tensor("data.y", data.y)
    if label.dtype != torch.int64:
        raise TypeError(f"data.y must be int64, got {label.dtype}; use data.y.long()")
    # PyG counts nodes by labels last: a number that was set says more.
    checks.shape("data.y", label, [data.num_nodes if "num_nodes" in data else "N"])
    mask = data.get("mask")
    if mask is None:
        return label, label != -1
    checks.boolean_tensor("data.mask", mask, "known")
    checks.shape("data.mask", mask, [len(label)])
    checks.same_device(y=label, mask=mask)
    return label, mask


def _num_classes(label: Tensor, known: Tensor, num_classes: int | None) -> int:
    """Number of classes, after a check of the labels."""
    seen = label[known]
    if not len(seen):
        raise ValueError("data.y must hold at least one known label, got none")
    count = int(seen.max()) + 1 if num_classes is None else num_classes
    checks.positive_int("num_classes", count)
    if int(seen.min()) < 0 or int(seen.max()) >= count:
        wrong = seen[(seen < 0) | (seen >= count)][0]
        raise ValueError(
            f"data.y must be between 0 and {count - 1} where known, got {int(wrong)}; -1 is a "
            "label that is not known, without data.mask"
        )
    return count


def _factors(score: Tensor, labels: Tensor, graph: Tensor) -> Tensor:
    """Desired share over present mass of each class ``[G, K]``."""
    wanted = scatter(labels, graph, reduce="sum") + 1
    mass = scatter(score, graph, reduce="sum")
    # A class without mass has nothing to be scaled.
    return wanted / wanted.sum(1, keepdim=True) / torch.where(mass > 0, mass, 1)
