"""What is hidden: a part of what is known, never all of a component."""

import pytest
import torch
from helpers import both_ways, ring

from gsp_unroll.signals import hide
from gsp_unroll.topology import Graph, Grid


@pytest.mark.parametrize("topology", [Graph(ring(400), 400), Grid(20, 20, 3)])
def test_the_share_is_kept_of_each_signal(topology):
    known = torch.ones(3, 2, 400, dtype=torch.bool)
    share = torch.tensor([0.1, 0.5, 0.9])
    kept = hide(topology, known, share, torch.Generator().manual_seed(0))
    assert torch.equal(kept[:, 0], kept[:, 1])  # all channels of a node
    torch.testing.assert_close(kept[:, 0].float().mean(1), share, atol=0.07, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_every_channel_keeps_a_sample_of_every_component(share):
    pairs = [(0, 1), (1, 2), (3, 4), (5, 6), (6, 7)]
    graph = Graph(both_ways(pairs), 8)
    known = torch.rand(50, 2, 8) < 0.5
    known[..., [0, 3, 5]] = True
    kept = hide(graph, known, torch.full((50,), share))
    assert not bool((kept & ~known).any())
    for component in ([0, 1, 2], [3, 4], [5, 6, 7]):
        assert bool(kept[..., component].any(-1).all())
    if share == 0:
        assert bool((kept.sum(-1) == 3).all())


def test_nothing_known_stays_nothing():
    kept = hide(Graph(ring(4), 4), torch.zeros(1, 1, 4, dtype=torch.bool), torch.tensor([0.5]))
    assert not bool(kept.any())


def test_draws_come_from_the_generator():
    graph, known = Graph(ring(30), 30), torch.ones(2, 1, 30, dtype=torch.bool)
    a, b, c = (
        hide(graph, known, torch.tensor([0.5, 0.5]), torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
