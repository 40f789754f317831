"""In pieces the result is that of the whole graph."""

import dataclasses

import pytest
import torch
from helpers import ring
from torch_geometric.data import Data

from gsp_unroll import GraphSignalModel
from gsp_unroll.graph_signal_model import SMALL
from gsp_unroll.graphs import knn_edge_index
from gsp_unroll.inference import restore_in_pieces
from gsp_unroll.models import ModelConfig, build
from gsp_unroll.topology import Graph

NODES = 600
POS = torch.rand(NODES, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
# A strip: many edges long.
GRAPH = Graph(knn_edge_index(POS * torch.tensor([20.0, 1.0]), 4), NODES)


def network(name, features_from="gnn", **options):
    torch.manual_seed(0)
    config = ModelConfig(
        name, in_channels=2, blocks=2, layers=1, cg_steps=3, heads=2, features=3, maps=6,
        node_channels=1, features_from=features_from, **options,
    )  # fmt: skip
    made = build(config).double()
    with torch.no_grad():  # what starts at zero would hide that it sees too little
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made.eval()


def observation():
    rng = torch.Generator().manual_seed(1)
    y = torch.rand(1, 2, NODES, generator=rng, dtype=torch.float64)
    mask = torch.rand(1, 2, NODES, generator=rng) < 0.4
    label = GRAPH.components()
    for component in range(int(label.max()) + 1):
        mask[..., (label == component).nonzero()[0]] = True
    return y, mask, GRAPH, torch.rand(1, 1, NODES, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize(
    "made",
    [
        network("uglr"),
        network("ugtv", "mlp"),
        network("uglr", norm="directed"),
        network("uglr-plus", mean=True, sees_mask=True, carry=True),
        network("uglr-plus", mean=True, carry=True, repeats=1),
        network("uglr-plus", carry=True, carry_mix=True, residual_pairs=1),
    ],
    ids=["uglr", "ugtv-mlp", "directed", "plus-carry", "plus-again", "plus-deep"],
)
def test_pieces_with_their_halo_give_the_whole(made):
    seen = observation()
    with torch.no_grad():
        whole = made(*seen)
    out = restore_in_pieces(made, *seen, pieces=4)
    torch.testing.assert_close(out, whole, atol=1e-10, rtol=1e-10)
    assert torch.equal(out[seen[1]], seen[0][seen[1]])


def test_a_smaller_halo_is_nearer_the_larger_it_is():
    made, seen = network("uglr-plus", mean=True, carry=True), observation()
    exact = restore_in_pieces(made, *seen, pieces=4)
    errors = [
        float((restore_in_pieces(made, *seen, pieces=4, halo=h) - exact).abs().max())
        for h in (0, 2, 4)
    ]
    assert errors[0] > errors[1] > errors[2] > 1e-9


def test_a_model_predicts_the_same_in_pieces():
    rng = torch.Generator().manual_seed(0)
    x = torch.sin(6 * POS.float()[:, 0])
    data = Data(x=x, mask=torch.rand(NODES, generator=rng) < 0.5, edge_index=GRAPH.edge_index)
    tiny = dataclasses.replace(SMALL, blocks=2, cg_steps=3, heads=2, features=3, maps=8)
    model = GraphSignalModel(tiny, steps=3, batch=1, progress=False).fit(data)
    torch.testing.assert_close(
        model.predict(data, pieces=3).x, model.predict(data).x, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pieces": 0}, ValueError, "pieces must be at least 1"),
        ({"pieces": 601}, ValueError, r"pieces must be at most the number of nodes \(600\)"),
        ({"halo": -1}, ValueError, "halo must be at least 0"),
        ({"attributes": None}, ValueError, "attributes must be given"),
        ({"y": torch.ones(1, 2, NODES)}, TypeError, "y must be torch.float64"),
        ({"topology": Graph(ring(5), 5)}, ValueError, r"y must have shape \[B, 2, 5\]"),
    ],
)
def test_what_cannot_be_is_named(changes, error, message):
    names = ("y", "mask", "topology", "attributes")
    arguments = {**dict(zip(names, observation(), strict=True)), "pieces": 2, **changes}
    with pytest.raises(error, match=message):
        restore_in_pieces(network("uglr"), **arguments)
