"""Random graphs with weights, many at a time, and the distances of smooth signals on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.half_vector import from_matrix, num_nodes, to_matrix
from gsp_unroll.graph_learning.smoothness import distances_from_covariance
from gsp_unroll.graph_learning.space_time_prior import laplacian_matrix


def barabasi_albert(count: int, nodes: int, attach: int, rng: np.random.Generator) -> np.ndarray:
    """Scale-free graphs: node after node joins ``attach`` others, the likelier the more edges.

    They start as a star of ``attach + 1`` nodes with node ``attach`` in the middle; nodes are
    numbered by age, so that hubs have small numbers.

    Args:
        count: How many graphs.
        nodes: Nodes of each, above ``attach``.
        attach: Edges of a new node, at least 1.
        rng: Source of randomness.

    Returns:
        Boolean adjacency matrices ``[count, nodes, nodes]``.

    Raises:
        ValueError: If a size is out of range.

    Source: Barabási and Albert, Science 1999.
    """
    _check_sizes(count, nodes)
    if checks.positive_int("attach", attach) >= nodes:
        raise ValueError(f"attach must be below the number of nodes ({nodes}), got {attach}")
    joined = np.zeros((count, nodes, nodes), dtype=bool)
    joined[:, attach, :attach] = True
    degree = np.zeros((count, nodes))
    degree[:, :attach], degree[:, attach] = 1, attach
    graph = np.arange(count)[:, None]
    for new in range(attach + 1, nodes):
        # The smallest of exponential times at rates of the degrees: draws without replacement.
        time = rng.standard_exponential((count, new)) / degree[:, :new]
        chosen = np.argpartition(time, attach - 1, axis=1)[:, :attach]
        joined[graph, new, chosen] = True
        degree[graph, chosen] += 1
        degree[:, new] = attach
    return joined | joined.swapaxes(1, 2)


def watts_strogatz(
    count: int, nodes: int, neighbours: int, rewire: float, rng: np.random.Generator
) -> np.ndarray:
    """Small worlds: rings whose edges are moved to another end, each with a probability.

    Args:
        count: How many graphs.
        nodes: Nodes of each, above ``neighbours``.
        neighbours: Each node starts joined to ``neighbours // 2`` on either side; at least 2.
        rewire: Probability that an edge moves, in [0, 1].
        rng: Source of randomness.

    Returns:
        Boolean adjacency matrices ``[count, nodes, nodes]``.

    Raises:
        ValueError: If a size or probability is out of range.

    Source: Watts and Strogatz, Nature 1998.
    """
    _check_sizes(count, nodes)
    if checks.positive_int("neighbours", neighbours, 2) >= nodes:
        raise ValueError(
            f"neighbours must be below the number of nodes ({nodes}), got {neighbours}"
        )
    checks.in_range("rewire", rewire, 0, 1)
    joined = np.zeros((count, nodes, nodes), dtype=bool)
    each = np.arange(nodes)
    far = range(1, neighbours // 2 + 1)
    for distance in far:
        other = (each + distance) % nodes
        joined[:, each, other] = joined[:, other, each] = True
    for distance in far:
        for node in range(nodes):
            (graph,) = (rng.random(count) < rewire).nonzero()
            key = rng.random((len(graph), nodes))
            key[joined[graph, node]] = -1
            key[:, node] = -1
            free = key.max(axis=1) >= 0
            graph, to = graph[free], key[free].argmax(axis=1)
            old = (node + distance) % nodes
            joined[graph, node, old] = joined[graph, old, node] = False
            joined[graph, node, to] = joined[graph, to, node] = True
    return joined


def erdos_renyi(count: int, nodes: int, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Graphs in which each pair of nodes is joined with the same probability.

    Args:
        count: How many graphs.
        nodes: Nodes of each, at least 2.
        probability: Of an edge, in [0, 1].
        rng: Source of randomness.

    Returns:
        Boolean adjacency matrices ``[count, nodes, nodes]``.

    Raises:
        ValueError: If a size or probability is out of range.
    """
    return stochastic_block(count, [nodes], [probability], 0.0, rng)


def stochastic_block(
    count: int,
    sizes: Sequence[int],
    inside: Sequence[float],
    outside: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Communities: pairs inside a block are joined more often than pairs of different blocks.

    Args:
        count: How many graphs.
        sizes: Nodes of each block.
        inside: Probability of an edge inside each block, in [0, 1].
        outside: Probability of an edge between blocks, in [0, 1].
        rng: Source of randomness.

    Returns:
        Boolean adjacency matrices ``[count, nodes, nodes]``, block after block.

    Raises:
        ValueError: If a size or probability is out of range.

    Source: Holland, Laskey and Leinhardt, Social Networks 1983.
    """
    if len(sizes) != len(inside):
        raise ValueError(f"inside must hold {len(sizes)} values, one for each block, got {inside}")
    for name, value in [("outside", outside), *(("inside", value) for value in inside)]:
        checks.in_range(name, value, 0, 1)
    for size in sizes:
        checks.positive_int("sizes", size)
    nodes = sum(sizes)
    _check_sizes(count, nodes)
    block = np.repeat(np.arange(len(sizes)), sizes)
    same = block[:, None] == block
    probability = np.where(same, np.asarray(inside)[block], outside)
    joined = np.triu(rng.random((count, nodes, nodes)) < probability, 1)
    return joined | joined.swapaxes(1, 2)


def relabelled(joined: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same graphs with their nodes numbered at random, each in its own order."""
    order = rng.permuted(np.broadcast_to(np.arange(joined.shape[1]), joined.shape[:2]), axis=1)
    graph = np.arange(len(joined))[:, None, None]
    return joined[graph, order[:, :, None], order[:, None, :]]


def lognormal_weights(joined: np.ndarray, rng: np.random.Generator, spread: float = 0.1) -> Tensor:
    r"""Weigh edges by the mean of two log-normal numbers, scaled so that :math:`1^\top W1=m`.

    Args:
        joined: Boolean adjacency matrices ``[count, m, m]``.
        rng: Source of randomness.
        spread: Standard deviation of the logarithm, at least 0 (default: 0.1).

    Returns:
        Half vectors ``[count, m (m - 1) / 2]``, float64.

    Raises:
        ValueError: If a graph has no edge.
    """
    checks.in_range("spread", spread, 0)
    if not joined.any(axis=(1, 2)).all():
        raise ValueError("joined must have an edge in every graph; make edges likelier")
    weight = rng.lognormal(0, spread, joined.shape)
    weight = joined * (weight + weight.swapaxes(1, 2)) / 2
    weight *= joined.shape[1] / weight.sum(axis=(1, 2), keepdims=True)
    return from_matrix(torch.from_numpy(weight))


def sample_distances(
    weight: Tensor, signals: int, rng: np.random.Generator, ridge: float = 1e-4
) -> Tensor:
    r"""Squared distances of ``signals`` random signals on each graph, smooth on it.

    Signals are :math:`x\sim\mathcal N(0,(L+\epsilon I)^{-1})`. Their distances depend only on the
    matrix of their second moments, which has the Wishart distribution, and that is what is drawn
    (by Bartlett's decomposition): the cost does not depend on the number of signals.

    Args:
        weight: Half vectors ``[count, m (m - 1) / 2]``.
        signals: Signals on each graph, at least 1.
        rng: Source of randomness.
        ridge: ε, positive (default: 1e-4).

    Returns:
        As ``weight``; see :func:`.pairwise_distances`.

    Source: Bartlett, Proc. R. Soc. Edinburgh 1934.
    """
    checks.shape("weight", weight, ["count", "m (m - 1) / 2"])
    checks.positive_int("signals", signals)
    checks.in_range("ridge", ridge, 0, open_low=True)
    count, m = len(weight), num_nodes(weight)
    laplacian = laplacian_matrix(to_matrix(weight.double()))
    eye = torch.eye(m, dtype=torch.float64)
    if signals < m:
        factor = rng.standard_normal((count, m, signals))
    else:
        factor = np.tril(rng.standard_normal((count, m, m)), -1)
        each = np.arange(m)
        factor[:, each, each] = np.sqrt(rng.chisquare(signals - each, (count, m)))
    # With the Cholesky factor R of the precision, R'x is white.
    root = torch.linalg.cholesky(laplacian + ridge * eye)
    root = torch.linalg.solve_triangular(root.mT, torch.from_numpy(factor), upper=True)
    return distances_from_covariance(root @ root.mT / signals).to(weight.dtype)


def _check_sizes(count: int, nodes: int) -> None:
    checks.positive_int("count", count)
    checks.positive_int("nodes", nodes, 2)
