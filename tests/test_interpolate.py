"""The public function for signals on any graph."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch, Data

import gsp_unroll
from gsp_unroll import NotConvergedWarning, interpolate
from gsp_unroll.graphs import image_to_data, knn_edge_index
from gsp_unroll.priors import GTV
from gsp_unroll.solvers import SolverError
from gsp_unroll.topology import Topology

NAN = float("nan")
PATH = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])


def sensors(n: int = 60, dtype: torch.dtype = torch.float64) -> Data:
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(n, 2, generator=generator, dtype=dtype)
    edge_index = knn_edge_index(pos, 5)
    weight = torch.exp(-10 * (pos[edge_index[0]] - pos[edge_index[1]]).square().sum(1))
    x = torch.stack([pos[:, 0] + 280, (pos[:, 1] > 0.5).to(dtype)], dim=1)
    mask = torch.rand(n, 2, generator=generator) < 0.4
    return Data(x=x, mask=mask, edge_index=edge_index, edge_weight=weight, pos=pos)


def dense_laplacian(data: Data) -> torch.Tensor:
    w = torch.zeros(data.num_nodes, data.num_nodes, dtype=data.x.dtype)
    w[data.edge_index[1], data.edge_index[0]] = data.edge_weight
    return torch.diag(w.sum(1)) - w


def test_glr_equals_the_dense_harmonic_solution():
    data = sensors()
    laplacian = dense_laplacian(data)
    out = interpolate(data)
    for c in range(2):
        seen = data.mask[:, c]
        expected = data.x[:, c].clone()
        expected[~seen] = torch.linalg.solve(
            laplacian[~seen][:, ~seen], -laplacian[~seen][:, seen] @ expected[seen]
        )
        assert torch.allclose(out.x[:, c], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mu", [0.01, 1.0])
def test_glr_with_noise_equals_the_dense_penalty_solution(mu):
    data = sensors()
    laplacian = dense_laplacian(data)
    out = interpolate(data, mu=mu)
    for c in range(2):
        keep = torch.diag(data.mask[:, c].to(data.x.dtype))
        expected = torch.linalg.solve(keep + mu * laplacian, keep @ data.x[:, c])
        assert torch.allclose(out.x[:, c], expected, rtol=0, atol=1e-8)


def test_gtv_has_less_total_variation_and_keeps_a_jump():
    data = sensors()
    topology = Topology.from_data(data)
    weight = topology.pack_edges(data.edge_weight.unsqueeze(1)).mean(-2)
    prior = GTV(topology, weight)
    smooth, jumpy = (interpolate(data, prior=name, tolerance=1e-6).x for name in ("glr", "gtv"))
    energy = [float(prior.energy(x.T[None])[0, 1]) for x in (smooth, jumpy)]
    assert energy[1] < energy[0]
    step = data.x[:, 1]
    assert (jumpy[:, 1] - step).abs().mean() < (smooth[:, 1] - step).abs().mean()


@pytest.mark.parametrize("prior", ["glr", "gtv"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_come_back_bit_for_bit_and_the_input_is_untouched(prior, dtype):
    data = sensors(dtype=dtype)
    before = data.x.clone()
    out = interpolate(data, prior=prior)
    assert out is not data
    assert torch.equal(data.x, before)
    assert out.x.dtype == dtype
    assert torch.equal(out.x[data.mask], data.x[data.mask])
    assert torch.isfinite(out.x).all()
    assert torch.equal(out.edge_index, data.edge_index)


def test_nan_marks_what_is_missing():
    data = Data(x=torch.tensor([0.0, NAN, NAN, 3.0]), edge_index=PATH)
    assert interpolate(data).x.tolist() == pytest.approx([0, 1, 2, 3], abs=1e-5)


def test_everything_observed_returns_the_signal():
    x = torch.tensor([1.0, 5.0, 2.0, 7.0])
    assert torch.equal(interpolate(Data(x=x, edge_index=PATH)).x, x)
    assert torch.equal(interpolate(Data(x=x, edge_index=PATH), prior="gtv").x, x)


@pytest.mark.parametrize("prior", ["glr", "gtv"])
def test_a_graph_of_a_batch_is_solved_as_if_alone(prior):
    alone = [sensors(30), sensors(45)]
    together = interpolate(Batch.from_data_list(alone), prior=prior).to_data_list()
    for one, joint in zip(alone, together, strict=True):
        assert torch.allclose(interpolate(one, prior=prior).x, joint.x, rtol=0, atol=1e-6)


def test_images_run_on_their_grid_and_lost_edges_make_a_general_graph():
    image = torch.rand(3, 5, 6, dtype=torch.float64)
    data = image_to_data(image, torch.rand(5, 6) < 0.6)
    data.mask[0] = True
    assert isinstance(Topology.from_data(data), gsp_unroll.Grid)
    on_grid = interpolate(data).x
    order = torch.randperm(data.edge_index.shape[1])
    data.edge_index = data.edge_index[:, order]
    assert isinstance(Topology.from_data(data), gsp_unroll.Graph)
    assert torch.allclose(interpolate(data).x, on_grid, rtol=0, atol=1e-9)


def test_unfinished_solves_are_reported():
    data = sensors()
    with pytest.warns(NotConvergedWarning, match="max_iterations"):
        interpolate(data, max_iterations=1)
    with pytest.raises(SolverError, match="max_iterations"):
        interpolate(data, max_iterations=1, on_failure="raise")
    interpolate(data, max_iterations=1, on_failure="ignore")


def bad(**changes) -> Data:
    data = Data(x=torch.tensor([0.0, NAN, NAN, 3.0]), edge_index=PATH)
    for name, value in changes.items():
        data[name] = value
    return data


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (bad(x=None), ValueError, r"data\.x is missing"),
        (bad(edge_index=None), ValueError, r"data\.edge_index is missing"),
        (bad(x=torch.arange(4)), TypeError, r"data\.x must be float32 or float64.*int64"),
        (bad(x=torch.ones(4).half()), TypeError, r"data\.x must be float32 or float64.*float\(\)"),
        (bad(x=torch.ones(4).cfloat()), TypeError, r"must be float32 or float64, got .*complex64$"),
        (bad(x=torch.ones(4, 1, 1)), ValueError, r"data\.x must have shape"),
        (bad(x=torch.full((4,), NAN)), ValueError, r"mask must observe at least one node"),
        (bad(mask=torch.ones(4)), TypeError, r"data\.mask must be a bool tensor"),
        (bad(mask=torch.ones(3, dtype=torch.bool)), ValueError, r"data\.mask must have shape"),
        (bad(mask=torch.ones(4, dtype=torch.bool)), ValueError, r"must be finite where observed"),
        (bad(x=torch.tensor([0.0, 1, NAN, torch.inf])), ValueError, r"must be finite.*inf"),
        (bad(edge_weight=-torch.ones(6)), ValueError, r"edge_weight must not be negative"),
        (bad(edge_weight=torch.ones(5)), ValueError, r"edge_weight must have shape \[6\]"),
        (bad(edge_weight=torch.arange(6.0)), ValueError, r"same in both directions"),
        (bad(edge_weight=torch.full((6,), NAN)), ValueError, r"edge_weight must be finite"),
        (bad(edge_index=PATH[:, :3]), ValueError, r"both directions"),
        (bad(edge_index=PATH + 2), ValueError, r"must lie in \[0, num_nodes\)"),
        (bad(edge_index=PATH[:, :2]), ValueError, r"channel 0 has no sample in the component"),
    ],
)
def test_bad_input_is_named(data, error, says):
    if data.x is not None and data.x.dim() and "component" in says:
        data.x = torch.tensor([0.0, NAN, NAN, NAN])
    with pytest.raises(error, match=says):
        interpolate(data)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prior": "glt"}, r"prior must be one of 'glr', 'gtv', got 'glt'; did you mean"),
        ({"mu": 0.0}, r"mu must be finite and > 0"),
        ({"mu": NAN, "prior": "gtv"}, r"mu must be"),
        ({"tolerance": -1.0}, r"tolerance must be"),
        ({"on_failure": "shout"}, r"on_failure must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        interpolate(sensors(), **arguments)


def test_not_data_is_named():
    with pytest.raises(TypeError, match=r"data must be a torch_geometric"):
        interpolate(torch.ones(3))


def test_an_edge_of_weight_zero_joins_nothing():
    x = torch.tensor([0.0, NAN, NAN, 3.0])
    cut = torch.tensor([1.0, 1, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"no sample in the component of nodes 2"):
        interpolate(Data(x=x, edge_index=PATH, edge_weight=cut))
    joined = torch.tensor([1.0, 1, 0, 0, 2, 2])
    out = interpolate(Data(x=x, edge_index=PATH, edge_weight=joined)).x
    assert out.tolist() == pytest.approx([0, 0, 3, 3], abs=1e-6)


def test_an_isolated_observed_node_keeps_its_sample():
    x = torch.tensor([0.0, NAN, NAN, 3.0, 5.0])
    assert float(interpolate(Data(x=x, edge_index=PATH)).x[4]) == 5.0


@pytest.mark.parametrize("prior", ["glr", "gtv"])
@pytest.mark.parametrize(("unit", "weight"), [(1.0, 1e-30), (1.0, 1e20), (1e-30, 1.0), (1e30, 1.0)])
def test_units_do_not_matter(prior, unit, weight):
    x = torch.tensor([0.0, NAN, NAN, 3.0]) * unit
    out = interpolate(
        Data(x=x, edge_index=PATH, edge_weight=torch.full((6,), weight)), prior=prior
    ).x
    assert torch.isfinite(out).all()
    if prior == "glr":
        assert (out / unit).tolist() == pytest.approx([0, 1, 2, 3], abs=1e-5)


@pytest.mark.parametrize("mu", [1e-2, 1e-4, 1e-6])
def test_small_mu_is_solved_in_float32_too(mu):
    data = sensors()
    single = data.clone()
    single.x, single.edge_weight = data.x.float(), data.edge_weight.float()
    # Away from the offset of 280, which float32 holds to 3e-5 only.
    error = (interpolate(single, mu=mu).x.double() - interpolate(data, mu=mu).x).abs()
    assert float(error[:, 1].max()) < 1e-5


@pytest.mark.parametrize("prior", ["glr", "gtv"])
@pytest.mark.parametrize("mu", [None, 0.3])
def test_gradients_equal_finite_differences(prior, mu):
    path = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4], [1, 0, 2, 1, 3, 2, 4, 3]])
    mask = torch.tensor([True, False, True, True, True])

    def restored(x, weight):
        both = weight.repeat_interleave(2)
        data = Data(x=x, mask=mask, edge_index=path, edge_weight=both)
        return interpolate(data, prior, mu=mu, tolerance=1e-12).x

    # The heaviest edge and the largest deviation are the units of the solver.
    x = torch.tensor([0.0, 0, 4, 1, 2], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1.0, 3, 2, 1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(restored, (x, weight), eps=1e-4, atol=1e-6, rtol=1e-4)


def test_weights_of_zero_are_named_where_they_cut_the_graph():
    x = torch.tensor([0.0, NAN, NAN, 3.0])
    data = Data(x=x, edge_index=PATH, edge_weight=torch.zeros(6))
    with pytest.raises(ValueError, match=r"nodes 1;.*edges of weight zero do not connect"):
        interpolate(data)


def test_networks_take_the_same_signals_as_interpolate():
    from gsp_unroll.models import UGTV

    data = sensors(dtype=torch.float32)
    model = UGTV(
        1, blocks=1, layers=1, cg_steps=2, heads=1, features=2, maps=4, features_from="gnn"
    )
    one = Data(x=data.x[:, 1], mask=data.mask[:, 1], edge_index=data.edge_index)
    marked = Data(x=torch.where(one.mask, one.x, NAN), edge_index=data.edge_index)
    out = model.restore(one).x
    assert out.shape == one.x.shape
    assert torch.equal(out[one.mask], one.x[one.mask])
    assert torch.equal(model.restore(marked).x, out)


@pytest.mark.parametrize("prior", ["glr", "gtv"])
@pytest.mark.parametrize("scale", [1e-50, 1e-300, 1e200])
def test_weights_far_from_single_precision_weigh_a_float32_signal(prior, scale):
    x = torch.tensor([0.0, NAN, NAN, 3.0, NAN])
    weight = torch.full((4,), scale, dtype=torch.float64)
    # A jump over the weakest edge costs GTV least, and one edge to a node decides alone.
    weight[1], weight[3] = weight[1] / 2, weight[3] / 1e6
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    data = Data(
        x=x,
        edge_index=torch.cat([edges, edges.flip(0)], dim=1),
        edge_weight=torch.cat([weight, weight]),
    )
    expected = [0.0, 0.75, 2.25, 3.0, 3.0] if prior == "glr" else [0.0, 0.0, 3.0, 3.0, 3.0]
    out = interpolate(data, prior, tolerance=1e-8).x
    torch.testing.assert_close(out, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_small_weights_are_held_against_each_other_too():
    edges = torch.tensor([[0, 1], [1, 0]])
    data = Data(
        x=torch.tensor([0.0, NAN]), edge_index=edges, edge_weight=torch.tensor([1e-9, 9e-9])
    )
    with pytest.raises(ValueError, match="must be the same in both directions"):
        interpolate(data)


def test_messages_speak_of_the_signal_of_the_caller():
    edges = torch.tensor([[0, 1], [1, 0]])
    given = {"x": torch.tensor([0.0, NAN]), "edge_index": edges}
    with pytest.raises(ValueError, match=r"data\.x must be finite where observed.*index \(1,\)"):
        interpolate(Data(**given, mask=torch.ones(2, dtype=torch.bool)))
    with pytest.raises(ValueError, match=r"data\.edge_index on cpu, data\.edge_weight on meta"):
        interpolate(Data(**given, edge_weight=torch.ones(2, device="meta")))
    with pytest.raises(ValueError, match=r"data\.num_nodes = 3 nodes, got 2"):
        interpolate(Data(**given, num_nodes=3))
