"""Pieces are what an independent subgraph of the k-hop neighbourhood is."""

import pytest
import torch
from helpers import both_ways, random_edges, ring
from torch_geometric.utils import k_hop_subgraph, subgraph

from gsp_unroll.graphs import partition
from gsp_unroll.graphs.cut import GraphCut

EDGES = random_edges(40, extra=12, isolated=2)
PART = partition(EDGES, 40, 5)


@pytest.mark.parametrize("halo", [0, 1, 3, 50])
def test_a_piece_is_the_neighbourhood_of_its_part(halo):
    cut = GraphCut(EDGES, PART)
    assert cut.num_parts == 5
    for number in range(5):
        piece = cut.piece(number, halo)
        inner = (number == PART).nonzero().squeeze(1)
        nodes = k_hop_subgraph(inner, halo, EDGES, num_nodes=40)[0]
        assert torch.equal(piece.nodes, nodes)
        assert torch.equal(piece.nodes[piece.inner], inner)
        expected = subgraph(nodes, EDGES, num_nodes=40)[0]
        assert torch.equal(piece.nodes[piece.edge_index], EDGES[:, piece.edges])
        assert set(map(tuple, EDGES[:, piece.edges].T.tolist())) == set(
            map(tuple, expected.T.tolist())
        )
        assert piece.edges.unique().numel() == expected.shape[1]


def test_every_node_is_inner_once():
    cut = GraphCut(EDGES, PART)
    inner = [(p := cut.piece(k, 2)).nodes[p.inner] for k in range(5)]
    assert torch.cat(inner).sort().values.tolist() == list(range(40))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GraphCut(EDGES, PART.float()), TypeError, "part must be an int64 tensor"),
        (lambda: GraphCut(EDGES[0], PART), ValueError, r"edge_index must have shape \[2, E\]"),
        (lambda: GraphCut(ring(3), torch.tensor([0, 2, 2])), ValueError, "got none in part 1"),
        (lambda: GraphCut(ring(3), torch.tensor([0, -1, 0])), ValueError, "numbers from 0"),
        (lambda: GraphCut(both_ways([]), torch.zeros(0).long()), ValueError, "at least one"),
        (lambda: GraphCut(EDGES.repeat(1, 2), PART), ValueError, "each edge once"),
        (
            lambda: GraphCut(ring(3) + 1, torch.tensor([0, 1, 0])),
            ValueError,
            "edge_index must lie in",
        ),
        (lambda: GraphCut(EDGES, PART).piece(5), ValueError, "number must be below 5, got 5"),
        (lambda: GraphCut(EDGES, PART).piece(0, -1), ValueError, "halo must be at least 0"),
    ],
)
def test_what_cannot_be_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
