"""Signals are grouped by their graph, whatever order they come in."""

import pytest
import torch
from helpers import both_ways, ring
from torch_geometric.data import Batch, Data

from gsp_unroll.graphs import image_to_data
from gsp_unroll.signals import collect
from gsp_unroll.topology import Grid

NAN = float("nan")


def test_equal_graphs_are_one_group_in_the_order_of_appearance():
    first, second = ring(5), ring(6)
    data = [
        Data(x=torch.arange(5.0), edge_index=first),
        Data(x=torch.arange(6.0), edge_index=second),
        Data(x=torch.arange(5.0) + 10, edge_index=first.clone()),
    ]
    five, six = collect(data)
    assert (len(five), len(six)) == (2, 1)
    assert five.signal.shape == (2, 1, 5)
    assert five.signal[1, 0].tolist() == [10, 11, 12, 13, 14]
    assert six.topology.num_nodes == 6
    assert five.attributes is None


def test_unknown_values_are_zero_and_masked():
    x = torch.tensor([[1.0, NAN], [2.0, 5.0], [NAN, 6.0]])
    (group,) = collect(Data(x=x, edge_index=ring(3)))
    assert group.signal.tolist() == [[[1, 2, 0], [0, 5, 6]]]
    assert group.known.tolist() == [[[True, True, False], [False, True, True]]]
    mask = torch.tensor([True, False, True])
    (group,) = collect(Data(x=torch.ones(3), mask=mask, edge_index=ring(3)))
    assert group.known[0, 0].tolist() == mask.tolist()


def test_isolated_nodes_make_another_graph():
    edges = both_ways([(0, 1)])
    data = [Data(x=torch.ones(n), edge_index=edges) for n in (2, 3)]
    assert [group.topology.num_nodes for group in collect(data)] == [2, 3]


def test_batches_and_images_stay_what_they_are():
    batch = Batch.from_data_list([Data(x=torch.ones(n), edge_index=ring(n)) for n in (3, 4)])
    (group,) = collect(batch)
    assert group.topology.num_graphs == 2
    images = [image_to_data(torch.rand(3, 4, 5), window=3) for _ in range(2)]
    (group,) = collect(images)
    assert isinstance(group.topology, Grid)
    assert group.signal.shape == (2, 3, 20)


def test_attributes_are_planar():
    attributes = torch.rand(4, 2, dtype=torch.float64)
    (group,) = collect(Data(x=torch.ones(4), attributes=attributes, edge_index=ring(4)))
    assert torch.equal(group.attributes[0], attributes.T)


def test_any_iterable_of_data_will_do():
    data = [Data(x=torch.ones(3), edge_index=EDGES)] * 2
    (group,) = collect(item for item in data)
    assert len(group) == 2


def test_inner_nodes_are_those_that_count():
    inner = torch.tensor([True, False, True])
    (group,) = collect([Data(x=torch.ones(3), edge_index=EDGES, inner=inner)])
    assert group.inner.tolist() == [[[True, False, True]]]
    (group,) = collect([Data(x=torch.ones(3), edge_index=EDGES)])
    assert bool(group.inner.all())


EDGES = ring(3)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], ValueError, "at least one graph signal"),
        (torch.ones(3), TypeError, "data must be a .*Data or a list of them, got Tensor"),
        ([Data(x=torch.ones(3), edge_index=EDGES), 1], TypeError, "got int"),
        (None, TypeError, "got NoneType"),
        (Data(x=torch.ones(3)), ValueError, "edge_index is missing"),
        (Data(x=torch.ones(3), edge_index=[[0, 1], [1, 0]]), TypeError, "edge_index"),
        (Data(x=torch.ones(3, dtype=torch.int64), edge_index=EDGES), TypeError, "float32 or"),
        (Data(x=torch.tensor([1.0, float("inf"), 2.0]), edge_index=EDGES), ValueError,
         r"data.x must be finite where observed, got inf"),
        (Data(x=torch.ones(3), edge_index=EDGES, inner=torch.ones(3)), TypeError,
         r"data.inner must be a bool tensor"),
        (Data(x=torch.ones(3), edge_index=EDGES, inner=torch.ones(2, dtype=torch.bool)), ValueError,
         r"data.inner must have shape \[3\]"),
        ([Data(x=torch.ones(3, c), edge_index=EDGES) for c in (1, 2)], ValueError,
         r"data\[1\] must have 1 channels and 0 attributes as the first, got 2 and 0"),
        (Data(x=torch.ones(3), attributes=torch.ones(3), edge_index=EDGES), ValueError,
         r"data.attributes must have shape \[3, A\]"),
        (Data(x=torch.ones(3), attributes=torch.full((3, 1), NAN), edge_index=EDGES), ValueError,
         r"data.attributes must be finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(data, error, message):
    with pytest.raises(error, match=message):
        collect(data)
