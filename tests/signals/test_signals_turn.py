"""Coordinates turned at random keep all distances, and nothing else is touched."""

import torch
from helpers import ring
from torch_geometric.data import Data

from gsp_unroll.signals import collect
from gsp_unroll.signals.scale import moments, origin_of, scale_of
from gsp_unroll.signals.turn import turn
from gsp_unroll.topology import Graph


def test_distances_stay_and_every_signal_and_graph_turns_in_its_own_way():
    torch.manual_seed(0)
    graphs = Graph(torch.cat([ring(4), ring(5) + 4], 1), 9, torch.tensor([0] * 4 + [1] * 5))
    attributes = torch.randn(3, 4, 9, dtype=torch.float64)
    attributes[:, :, 4:8] = attributes[:, :, :4]
    turned = turn(graphs, attributes, (0, 1, 3))
    assert torch.equal(turned[:, 2], attributes[:, 2])
    for part in (slice(0, 4), slice(4, 9)):
        before, after = (v[:, [0, 1, 3], part].mT for v in (attributes, turned))
        assert torch.allclose(torch.cdist(after, after), torch.cdist(before, before))
        assert not torch.allclose(after, before, atol=0.1)
    assert not torch.allclose(turned[:, :, :4], turned[:, :, 4:8], atol=0.1)
    one, other = (
        turned[k, [0, 1, 3], :4] @ attributes[k, [0, 1, 3], :4].pinverse() for k in (0, 1)
    )
    assert not torch.allclose(one, other, atol=0.1)


def test_a_constant_coordinate_does_not_spoil_the_unit_of_the_others():
    attributes = torch.stack([torch.full((5,), 3.0), 0.01 * torch.randn(5)], dim=1)
    (group,) = collect(Data(x=torch.randn(5), edge_index=ring(5), attributes=attributes))
    spread = scale_of(moments(group, origin_of(group)), group, origin_of(group), (0, 1)).spread
    expected = (attributes[:, 1].var(correction=0) / 2).sqrt()
    torch.testing.assert_close(spread, expected.double().expand(2), rtol=1e-3, atol=0)


def test_turns_mirror_half_of_the_time():
    torch.manual_seed(0)
    graph = Graph(ring(3), 3)
    plane = torch.eye(2, 3, dtype=torch.float64).expand(400, 2, 3)
    determinant = torch.linalg.det(turn(graph, plane, (0, 1))[..., :2])
    assert torch.allclose(determinant.abs(), torch.ones_like(determinant))
    assert abs(float(determinant.mean())) < 0.2
