"""PyG data -> topology: images run on their grid, everything else on its graph."""

import pytest
import torch
from helpers import random_edges, ring
from torch_geometric.data import Batch, Data

from gsp_unroll.graphs import image_to_data
from gsp_unroll.topology import Graph, Grid, Topology
from gsp_unroll.topology.from_data import from_planar, to_planar


def image(height=3, width=4):
    return image_to_data(torch.rand(2, height, width), window=3)


def test_an_image_gives_its_grid():
    topology = Topology.from_data(image())
    assert isinstance(topology, Grid)
    assert (topology.height, topology.width, topology.window) == (3, 4, 3)


def test_a_batch_of_equal_images_gives_one_grid():
    topology = Topology.from_data(Batch.from_data_list([image(), image(), image()]))
    assert isinstance(topology, Grid)
    assert topology.num_nodes == 12


def test_images_of_different_sizes_give_a_batch_of_graphs():
    batch = Batch.from_data_list([image(3, 4), image(2, 2)])
    topology = Topology.from_data(batch)
    assert isinstance(topology, Graph)
    assert (topology.num_nodes, topology.num_graphs) == (16, 2)


@pytest.mark.parametrize("copies", [1, 3])
def test_an_image_with_other_edges_is_a_general_graph(copies):
    batch = Batch.from_data_list([image() for _ in range(copies)])
    for edges in (
        batch.edge_index[:, torch.randperm(batch.num_edges)],  # the same set, another order
        random_edges(12 * copies),
    ):
        changed = batch.clone()
        changed.edge_index = edges
        changed.batch = None
        topology = Topology.from_data(changed)
        assert isinstance(topology, Graph)
        assert torch.equal(topology.edge_index, edges)


def test_a_general_graph_and_a_batch_of_them():
    data = Data(edge_index=ring(5), num_nodes=6)
    topology = Topology.from_data(data, backend="gather_scatter")
    assert isinstance(topology, Graph)
    assert (topology.num_nodes, topology.num_graphs, topology.backend) == (6, 1, "gather_scatter")
    topology = Topology.from_data(Batch.from_data_list([data, data]))
    assert (topology.num_nodes, topology.num_graphs) == (12, 2)


def test_planar_layout_and_back():
    grid = Grid(2, 3, 3)
    x = torch.rand(12, 4)
    planar = to_planar(grid, x)
    assert planar.shape == (2, 4, 6)
    assert torch.equal(planar[1, 2], x[6:, 2])
    assert torch.equal(from_planar(planar), x)
    with pytest.raises(ValueError, match=r"x must have a multiple of 6 rows .* got 13"):
        to_planar(grid, torch.rand(13, 4))
    with pytest.raises(ValueError, match=r"x must have shape \[nodes, channels\], got \[12\]"):
        to_planar(grid, torch.rand(12))


def test_what_cannot_be_a_topology_is_named():
    with pytest.raises(TypeError, match=r"data must be a torch_geometric.data.Data, got Tensor"):
        Topology.from_data(torch.ones(2))
    with pytest.raises(ValueError, match=r"data.edge_index is missing; build one.*knn_edge_index"):
        Topology.from_data(Data(x=torch.ones(3, 1)))
    with pytest.raises(ValueError, match="self-loops"):
        Topology.from_data(Data(edge_index=torch.zeros(2, 1, dtype=torch.int64), num_nodes=1))
