"""Random graphs: their counts and probabilities, and the law of the distances drawn on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gsp_unroll.graph_learning import GraphsConfig, pairwise_distances
from gsp_unroll.graph_learning.half_vector import from_matrix, to_matrix
from gsp_unroll.graph_learning.random_graphs import (
    barabasi_albert,
    erdos_renyi,
    lognormal_weights,
    relabelled,
    sample_distances,
    stochastic_block,
    watts_strogatz,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def is_simple(joined: np.ndarray) -> bool:
    symmetric = np.array_equal(joined, joined.swapaxes(1, 2))
    return symmetric and not joined[:, np.arange(joined.shape[1]), np.arange(joined.shape[1])].any()


def test_scale_free_graphs():
    joined = barabasi_albert(200, 20, 3, rng())
    assert is_simple(joined)
    assert (joined.sum((1, 2)) == 2 * 3 * 17).all()
    # Each node has at least the edges that it came with.
    assert joined[:, 4:].sum(2).min() == 3
    # A path of three nodes: the middle one has two of four ends, so every second newcomer.
    joined = barabasi_albert(4000, 4, 1, rng())
    degree = joined[:, :3, :3].sum(2)
    share = joined[np.arange(4000), 3, degree.argmax(1)].mean()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)


def test_small_worlds():
    ring = watts_strogatz(2, 9, 5, 0.0, rng())
    apart = (np.arange(9)[:, None] - np.arange(9)) % 9
    assert np.array_equal(ring[1], np.isin(apart, [1, 2, 7, 8]))
    joined = watts_strogatz(300, 20, 4, 0.3, rng())
    assert is_simple(joined)
    assert (joined.sum((1, 2)) == 2 * 40).all()
    ring = watts_strogatz(1, 20, 4, 0.0, rng())
    # An edge moves with probability 0.3; moved ones rarely come back to a place on the ring.
    assert (joined & ring).sum() / (300 * 80) == pytest.approx(0.7, abs=0.03)


def test_communities_and_uniform_graphs():
    joined = stochastic_block(400, [5, 8], [0.9, 0.4], 0.1, rng())
    assert is_simple(joined)
    shares = [joined[:, :5, :5].sum() / (400 * 20), joined[:, 5:, 5:].sum() / (400 * 56),
              joined[:, :5, 5:].mean()]  # fmt: skip
    assert shares == pytest.approx([0.9, 0.4, 0.1], abs=0.02)
    assert erdos_renyi(400, 10, 0.3, rng()).sum() / (400 * 90) == pytest.approx(0.3, abs=0.02)


def test_relabelling_keeps_the_graph():
    joined = barabasi_albert(50, 8, 2, rng())
    other = relabelled(joined, rng(1))
    assert not np.array_equal(joined, other)
    for a, b in zip(joined, other, strict=True):
        np.testing.assert_allclose(np.linalg.eigvalsh(a), np.linalg.eigvalsh(b), atol=1e-10)


def test_weights():
    joined = erdos_renyi(30, 12, 0.4, rng())
    weight = lognormal_weights(joined, rng())
    assert torch.equal(weight > 0, from_matrix(torch.from_numpy(joined)))
    torch.testing.assert_close(2 * weight.sum(1), torch.full((30,), 12.0, dtype=torch.float64))
    relative = weight / (weight.sum(1) / (weight > 0).sum(1))[:, None]
    # The mean of two numbers of deviation 0.1.
    assert float(relative[weight > 0].std()) == pytest.approx(0.1 / 2**0.5, rel=0.1)


@pytest.mark.parametrize("signals", [4, 50])
def test_distances_have_the_law_of_those_of_signals(signals):
    weight = lognormal_weights(erdos_renyi(1, 6, 0.7, rng()), rng())
    adjacency = to_matrix(weight)[0]
    precision = torch.diag(adjacency.sum(0)) - adjacency + 0.1 * torch.eye(6)
    covariance = torch.linalg.inv(precision).numpy()
    count = 4000
    z = sample_distances(weight.expand(count, -1), signals, rng(), ridge=0.1)
    power = np.diag(covariance)
    mean = power[:, None] + power - 2 * covariance
    mean = from_matrix(torch.from_numpy(mean))
    # Each is a mean of squares: z n / E z is chi-squared with n degrees of freedom.
    torch.testing.assert_close(z.mean(0), mean, rtol=5 * (2 / signals / count) ** 0.5, atol=0)
    torch.testing.assert_close(z.var(0), 2 / signals * mean**2, rtol=0.2, atol=0)
    drawn = rng(1).multivariate_normal(np.zeros(6), covariance, (count, signals))
    direct = pairwise_distances(torch.from_numpy(drawn))
    torch.testing.assert_close(z.T.corrcoef(), direct.T.corrcoef(), rtol=0, atol=0.09)


def test_parts_are_drawn_again_alike_and_differ():
    config = GraphsConfig(nodes=6, attach=2, signals=20, train=5, validation=5, test=5)
    first, again, other = config.draw("train"), config.draw("train"), config.draw("test")
    assert torch.equal(first.z, again.z)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert first.z.dtype == torch.float32
    for kind in ("ws", "er"):
        assert GraphsConfig(kind, nodes=6, neighbours=4, train=3).draw("train").z.shape == (3, 15)


def test_the_random_numbers_of_the_caller_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    GraphsConfig(nodes=6, test=2).draw("test")
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: barabasi_albert(1, 4, 4, rng()), "attach must be below the number of nodes"),
        (lambda: watts_strogatz(1, 4, 4, 0.1, rng()), "neighbours must be below"),
        (lambda: watts_strogatz(1, 8, 4, 1.5, rng()), "rewire must"),
        (lambda: erdos_renyi(0, 4, 0.5, rng()), "count must be at least 1"),
        (lambda: stochastic_block(1, [3], [0.5, 0.5], 0.1, rng()), "inside must hold 1 values"),
        (lambda: stochastic_block(1, [3], [0.5], -0.1, rng()), "outside must"),
        (lambda: lognormal_weights(erdos_renyi(1, 4, 0.0, rng()), rng()), "an edge in every graph"),
        (lambda: sample_distances(torch.ones(1, 3), 0, rng()), "signals must be at least 1"),
        (lambda: sample_distances(torch.ones(3), 5, rng()), "weight must have shape"),
        (lambda: GraphsConfig("sbm", sizes=(3,), inside=(0.5,)), r"sizes must sum to nodes \(20\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
