"""What a caller may do around a fit, and data that is far from float32."""

import pytest
import torch
from test_graph_signal_model import NAN, make, signals, with_gaps
from torch.utils.data import IterableDataset
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import DataLoader

from gsp_unroll import GraphSignalModel


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_a_fit_learns_the_same_where_gradients_are_off(switched_off):
    data = signals()
    expected = make().fit(data).predict(with_gaps(data[0])).x
    with switched_off():
        model = make().fit(data)
    assert torch.equal(model.predict(with_gaps(data[0])).x, expected)


def test_signals_and_attributes_that_need_gradients_are_learned_from():
    data = signals(attributes=2)
    expected = make(trend="kernel").fit(data).predict(with_gaps(data[0])).x
    for item in data:
        item.x.requires_grad_()
        item.attributes.requires_grad_()
    found = make(trend="kernel").fit(data).predict(with_gaps(data[0].detach().clone())).x
    assert torch.equal(found, expected)


def test_a_default_dtype_of_double_changes_no_type(tmp_path):
    data = signals(attributes=2)
    path = make(trend="kernel").fit(data).save(tmp_path / "model.safetensors")
    part = with_gaps(data[0])
    expected = GraphSignalModel.load(path).predict(part).x
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(GraphSignalModel.load(path).predict(part).x, expected)
        assert make(trend="kernel").fit(data).predict(part).x.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_attributes_far_from_zero_lose_nothing():
    near = signals(attributes=2)
    far = [item.clone() for item in near]
    for item in (*near, *far):
        item.attributes = item.attributes.double()
    for item in far:
        item.attributes = item.attributes + 2.0**29
    found = [
        make(trend="linear", seed=1).fit(data).predict(with_gaps(data[0])).x for data in (near, far)
    ]
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-100, 1e100])
def test_signals_out_of_the_range_of_single_precision_are_refused(factor):
    data = [Data(x=item.x.double() * factor, edge_index=item.edge_index) for item in signals()]
    with pytest.raises(ValueError, match=r"data\.x must lie between 1e-30 and 1e\+30.*scale it"):
        make().fit(data)


class Once(IterableDataset):
    """Data that can be gone through a single time."""

    def __init__(self, data):
        self.left = list(data)

    def __iter__(self):
        while self.left:
            yield self.left.pop()


def test_a_loader_that_runs_dry_is_named():
    with pytest.raises(ValueError, match="gone through again and again, got nothing in a later"):
        make().fit(DataLoader(Once(signals()), batch_size=2))


def test_nothing_to_hide_is_nothing_to_learn():
    lone = torch.full((12,), NAN)
    lone[3] = 1.0
    with pytest.raises(ValueError, match="two values or more in some connected component"):
        make().fit(Data(x=lone, edge_index=signals()[0].edge_index))


def refused(data, error, message):
    with pytest.raises(error, match=message):
        make().fit(data)


def test_what_does_not_fit_is_named_as_the_caller_knows_it():
    x, edges = signals()[0].x, signals()[0].edge_index
    refused(HeteroData(), TypeError, "data must be a torch_geometric.data.Data.*HeteroData")
    lone = Data(x=x, edge_index=edges, num_nodes=6)
    refused(lone, ValueError, r"data\.num_nodes = 6 nodes, got 12")
    refused([lone], ValueError, r"data\[0\]\.num_nodes = 6 nodes, got 12")
    refused(Data(x=x / 0, edge_index=edges), ValueError, r"data\.x must be finite.*\(0, 0\)")
    elsewhere = Data(x=x, edge_index=edges.to("meta"))
    refused(elsewhere, ValueError, "data.x on cpu, data.edge_index on meta")


def test_attributes_without_columns_are_none():
    data = signals()
    expected = make().fit(data).predict(with_gaps(data[0])).x
    for item in data:
        item.attributes = torch.ones(12, 0)
    assert torch.equal(make().fit(data).predict(with_gaps(data[0])).x, expected)
