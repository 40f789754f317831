"""A large signal as a dataset of pieces that PyG's loader batches."""

import pytest
import torch
from helpers import both_ways, random_edges, ring
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from gsp_unroll.data import GraphPieces
from gsp_unroll.graphs import partition

NAN = float("nan")


def whole(nodes=30):
    rng = torch.Generator().manual_seed(0)
    edges = random_edges(nodes, extra=20)
    return Data(
        x=torch.rand(nodes, 2, generator=rng),
        attributes=torch.rand(nodes, 3, generator=rng),
        edge_index=edges,
        edge_weight=torch.rand(edges.shape[1], generator=rng),
    )


@pytest.mark.parametrize("halo", [0, 2])
def test_a_piece_has_the_values_of_its_nodes_and_edges(halo):
    data = whole()
    part = partition(data.edge_index, 30, 3)
    pieces = GraphPieces(data, part, halo)
    assert len(pieces) == 3
    for k, piece in enumerate(pieces):
        assert torch.equal(piece.node[piece.inner], (part == k).nonzero().squeeze(1))
        assert torch.equal(piece.x, data.x[piece.node])
        assert torch.equal(piece.attributes, data.attributes[piece.node])
        number = {tuple(ends): e for e, ends in enumerate(data.edge_index.T.tolist())}
        ends = piece.node[piece.edge_index].T.tolist()
        columns = [number[tuple(pair)] for pair in ends]
        assert torch.equal(piece.edge_weight, data.edge_weight[columns])


def test_a_loader_puts_pieces_side_by_side():
    data = whole()
    pieces = GraphPieces(data, partition(data.edge_index, 30, 4), halo=1)
    batches = list(DataLoader(pieces, batch_size=2))
    assert len(batches) == 2
    assert torch.cat([b.node[b.inner] for b in batches]).sort().values.tolist() == list(range(30))
    assert batches[0].num_graphs == 2


def test_components_where_a_channel_is_unknown_are_left_out():
    path = both_ways([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])
    x = torch.tensor([[1.0, 2], [NAN, NAN], [NAN, 4], [NAN, 5], [6, NAN], [NAN, 7]])
    # Part 0 is {0, 1} and {3}: there the first channel is unknown.
    data, part = Data(x=x, edge_index=path), torch.tensor([0, 0, 1, 0, 1, 1])
    pieces = GraphPieces(data, part)
    assert pieces[0].node.tolist() == [0, 1]
    assert pieces[0].edge_index.tolist() == [[0, 1], [1, 0]]
    assert pieces[1].node.tolist() == [4, 5]
    # With a halo everything hangs together.
    assert (
        len(GraphPieces(Data(x=x, edge_index=path), torch.tensor([0, 0, 1, 0, 1, 1]), 1)[0].x) > 3
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d, p: GraphPieces([d], p), TypeError, "data must be a .*Data, got list"),
        (lambda d, p: GraphPieces(d, p[:2]), ValueError, r"part must have shape \[3\]"),
        (lambda d, p: GraphPieces(Data(x=d.x), p), ValueError, "edge_index is missing"),
        (lambda d, p: GraphPieces(d.clone().update({"node": p}), p), ValueError,
         "data.node must be renamed"),
        (lambda d, p: GraphPieces(d, p, halo=-1), ValueError, "halo must be at least 0"),
        (lambda d, p: GraphPieces(d, p)[2], IndexError, r"number must be in \[0, 2\), got 2"),
        (lambda d, p: GraphPieces(d, p)[1], ValueError,
         "piece 1 must have a connected component with a known value .* 1 nodes with 0 known"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(call, error, message):
    data = Data(x=torch.tensor([1.0, 2.0, NAN]), edge_index=ring(3))
    with pytest.raises(error, match=message):
        call(data, torch.tensor([0, 0, 1]))
