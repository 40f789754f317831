"""Restoring inside a PyG pipeline equals restoring by itself."""

import pytest
import torch
from helpers import random_edges
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

from gsp_unroll import GraphSignalModel, interpolate
from gsp_unroll.models import UGLR
from gsp_unroll.transforms import RestoreMissing

NAN = float("nan")


def features(channels=3):
    torch.manual_seed(0)
    x = torch.randn(10, channels)
    x[4:, 0], x[:3, 1] = NAN, NAN
    return Data(x=x, edge_index=random_edges(10), y=torch.arange(10))


class Double(BaseTransform):
    def forward(self, data):
        data.x = 2 * data.x
        return data


def test_priors_inside_a_pipeline():
    data = features()
    out = Compose([RestoreMissing(), Double()])(data)
    torch.testing.assert_close(out.x, 2 * interpolate(data).x)
    assert out.y is data.y
    assert bool(torch.isnan(data.x).any())
    smooth = RestoreMissing("glr", mu=1.0)(data).x
    torch.testing.assert_close(smooth, interpolate(data, mu=1.0).x)


def test_learned_methods():
    data = features()
    model = GraphSignalModel(steps=1, progress=False).fit(data)
    assert torch.equal(RestoreMissing(model)(data).x, model.predict(data).x)
    small = {"blocks": 1, "layers": 1, "cg_steps": 2, "features_from": "mlp"}
    network = UGLR(3, **small).eval()
    out = RestoreMissing(network)(data).x
    assert torch.equal(out, network.restore(data).x)
    assert not out.requires_grad
    in_pieces = RestoreMissing(model, pieces=2, halo=0)(data).x
    assert torch.equal(in_pieces, model.predict(data, pieces=2, halo=0).x)
    assert not torch.equal(in_pieces, model.predict(data).x)
    assert repr(RestoreMissing(model)) == "RestoreMissing('GraphSignalModel')"
    assert repr(RestoreMissing("gtv", mu=2)) == "RestoreMissing('gtv', mu=2)"


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"method must be one of .*glr.*gtv.*, got 'mean'"):
        RestoreMissing("mean")
    with pytest.raises(TypeError, match=r"method must be a prior, .* got int"):
        RestoreMissing(3)
    with pytest.raises(TypeError, match=r"options of UGLR are: none; got mu"):
        RestoreMissing(UGLR(1, features_from="mlp"), mu=1.0)
    with pytest.raises(TypeError, match=r"options of glr are: mu, tolerance, .*; got pieces"):
        RestoreMissing(pieces=2)


@pytest.mark.parametrize(("mu", "error"), [(-1.0, ValueError), ("a", TypeError)])
def test_a_weight_that_cannot_be_is_refused_when_built(mu, error):
    with pytest.raises(error, match="mu"):
        RestoreMissing(mu=mu)
