"""Fit, predict and score on graphs, with what can go wrong."""

import dataclasses
import warnings

import pytest
import torch
from helpers import both_ways, random_edges, ring
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from gsp_unroll import GraphSignalModel, graph_signal_model, interpolate
from gsp_unroll.data import GraphPieces
from gsp_unroll.graph_signal_model import SMALL
from gsp_unroll.graphs import knn_edge_index, partition
from gsp_unroll.models import ModelConfig
from gsp_unroll.nn import KernelTrend
from gsp_unroll.topology import Graph
from gsp_unroll.training.log import Progress

NAN = float("nan")
TINY = dataclasses.replace(SMALL, blocks=1, cg_steps=3, heads=2, features=3, maps=8)


def make(network=TINY, **changes):
    return GraphSignalModel(network, **{"steps": 3, "batch": 4, "progress": False, **changes})


def signals(count=6, nodes=12, channels=1, attributes=0, seed=0, edges=None):
    torch.manual_seed(seed)
    edges = random_edges(nodes) if edges is None else edges
    found = []
    for _ in range(count):
        data = Data(x=torch.randn(nodes, channels), edge_index=edges)
        if attributes:
            data.attributes = torch.randn(nodes, attributes)
        found.append(data)
    return found


def with_gaps(data, share=0.5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    part = data.clone()
    gaps = torch.rand(part.x.shape, generator=rng) < share
    gaps[0] = False
    part.x[gaps] = NAN
    return part


@pytest.fixture(scope="module")
def waves():
    """Smooth signals over points of the plane: much to learn, and an easy baseline to beat."""
    torch.manual_seed(0)
    pos = torch.rand(80, 2)
    edges = knn_edge_index(pos, k=6)

    def one():
        a, p = torch.randn(4), 6 * pos
        x = a[0] * torch.sin(p[:, 0] + a[1]) + a[2] * torch.cos(p[:, 1] + a[3])
        return Data(x=x + 5, edge_index=edges, attributes=pos)

    return [one() for _ in range(40)]


def test_it_learns_more_than_smoothness(waves):
    model = GraphSignalModel(steps=120, lr=5e-3, progress=False).fit(waves[:32])
    errors = torch.zeros(2)
    for k, truth in enumerate(waves[32:]):
        part = with_gaps(truth, 0.7, seed=k)
        for m, result in enumerate((model.predict(part), interpolate(part))):
            errors[m] += (result.x - truth.x).square().mean()
    assert errors[0] < 0.8 * errors[1]
    assert len(model.history) == 120
    assert sum(model.history[-40:]) < sum(model.history[:40])


@pytest.mark.parametrize("name", ["uglr", "ugtv", "uglr-plus"])
@pytest.mark.parametrize("features_from", ["mlp", "gnn"])
def test_every_network_fits_and_keeps_its_samples(name, features_from):
    network = ModelConfig(
        name, blocks=1, layers=1, cg_steps=3, heads=2, features=3, maps=8,
        features_from=features_from,
    )  # fmt: skip
    data = signals(channels=2, attributes=3)
    model = make(network).fit(data)
    part = with_gaps(data[0])
    out = model.predict(part)
    seen = ~torch.isnan(part.x)
    assert torch.equal(out.x[seen], part.x[seen])
    assert bool(out.x.isfinite().all())
    assert out.edge_index is part.edge_index
    assert bool(torch.isnan(part.x).any())  # the argument is left alone
    assert model.network.config.node_channels == 3


def test_many_graphs_gaps_and_a_graph_never_seen():
    data = [with_gaps(d, 0.3) for d in signals(3, nodes=9) + signals(3, nodes=14)]
    model = make().fit(data)
    other = with_gaps(signals(1, nodes=20, seed=5)[0])
    assert bool(model.predict(other).x.isfinite().all())


@pytest.mark.parametrize("trend", ["mean", "linear", "kernel"])
def test_a_batch_is_its_graphs(trend):
    data = signals(2, nodes=9, attributes=2) + signals(1, nodes=14, attributes=2)
    model = make(trend=trend).fit(data)
    parts = [with_gaps(d) for d in data]
    together = model.predict(Batch.from_data_list(parts)).x
    alone = torch.cat([model.predict(part).x for part in parts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_an_offset_passes_through_and_the_dtype_stays():
    data = signals()
    model = make().fit(data)
    part = with_gaps(data[0])
    before = model.predict(part).x
    part.x += 100
    torch.testing.assert_close(model.predict(part).x, before + 100, atol=1e-3, rtol=0)
    part.x = part.x.double()
    assert model.predict(part).x.dtype == torch.float64


def test_a_linear_trend_is_found_and_kept():
    data = signals(attributes=2, nodes=30)
    slope = torch.tensor([3.0, -2.0])
    for d in data:
        d.x = (d.attributes @ slope)[:, None] * (1 + torch.rand(1))
    model = make(trend="linear", steps=1).fit(data)
    truth = data[0]
    out = model.predict(with_gaps(truth, 0.4)).x
    missing = torch.isnan(with_gaps(truth, 0.4).x)
    error = (out - truth.x)[missing].square().mean().sqrt() / truth.x.std()
    plain = make(steps=1).fit(data).predict(with_gaps(truth, 0.4)).x
    assert error < 0.1 < (plain - truth.x)[missing].square().mean().sqrt() / truth.x.std()


def test_a_kernel_trend_learns_with_the_network_and_finds_what_is_smooth():
    torch.manual_seed(0)
    pos = torch.rand(60, 2)
    edges = knn_edge_index(pos, k=4)

    def wave():
        a = torch.randn(3)
        x = a[0] * torch.sin(3 * pos[:, 0] + a[1]) + a[2] * torch.cos(3 * pos[:, 1])
        return Data(x=x, edge_index=edges, attributes=pos)

    data, truth = [wave() for _ in range(8)], wave()
    part = with_gaps(truth, 0.7)
    error = {}
    for trend in ("mean", "kernel"):
        model = make(trend=trend, steps=20).fit(data)
        error[trend] = (model.predict(part).x - truth.x).square().mean()
    assert error["kernel"] < 0.2 * error["mean"]
    start = KernelTrend(2).state_dict()
    learned = model._model.trend.state_dict()
    assert all(not torch.equal(learned[name], start[name]) for name in start)


def test_turned_coordinates_change_what_is_learned_and_not_what_is_predicted():
    data = signals(attributes=3)
    part = with_gaps(data[0])
    plain, turned = make().fit(data), make(rotate=(0, 2)).fit(data)
    assert plain.history != turned.history
    assert torch.equal(turned.predict(part).x, turned.predict(part).x)
    spread = turned._model.scale.spread
    assert spread[0] == spread[2] != spread[1]


def test_units_do_not_matter():
    data = signals()
    large = [Data(x=1000 * d.x, edge_index=d.edge_index) for d in data]
    a, b = make().fit(data), make().fit(large)
    part = with_gaps(data[0])
    there = Data(x=1000 * part.x, edge_index=part.edge_index)
    torch.testing.assert_close(1000 * a.predict(part).x, b.predict(there).x, rtol=1e-3, atol=1e-1)


def test_the_same_seed_gives_the_same_model():
    data = signals()
    part = with_gaps(data[0])
    a, b, c = (make(seed=seed).fit(data).predict(part).x for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("value", [3.0, 0.0, 0.1, 21.3])
def test_a_constant_is_no_signal(value):
    # 80 times 0.1 does not sum to 8 in single precision: rounding must not become the unit.
    edges = random_edges(80)
    data = [
        Data(x=torch.stack([torch.full((80,), value), torch.randn(80)], 1), edge_index=edges)
        for _ in range(4)
    ]
    model = make().fit(data)
    assert max(model.history) < 10
    part = with_gaps(data[0])
    part.x[3, 0] = value + 1
    assert bool((model.predict(part).x[:, 0] - value).abs().max() < 10)


def test_small_variations_on_a_large_offset():
    data = signals()
    far = [Data(x=d.x.double() + 1e7, edge_index=d.edge_index) for d in data]
    near = [Data(x=d.x.double(), edge_index=d.edge_index) for d in data]
    part = with_gaps(near[0])
    expected = make().fit(near).predict(part).x
    part.x = part.x + 1e7
    torch.testing.assert_close(make().fit(far).predict(part).x - 1e7, expected, atol=1e-4, rtol=0)


def test_a_fit_leaves_the_random_numbers_of_the_caller_alone():
    data = signals()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    # This one seeds the generators of all CUDA devices, too, as soon as there are some.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("seeds CUDA"))
        make().fit(data)
    assert torch.equal(torch.rand(4), expected)


def test_the_signal_that_cannot_be_learned_from_is_named():
    data = signals()
    empty = data[0].clone()
    empty.x = torch.full_like(empty.x, torch.nan)
    # Whatever graph the others lie on.
    other = Data(x=torch.rand(3), edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
    with pytest.raises(ValueError, match=r"channel 0 of data\[2\] has no sample"):
        make().fit([other, data[0], empty])


def test_what_nobody_knows_is_not_scored():
    model, part = make().fit(signals()), with_gaps(signals()[0])
    truth = signals()[0].x.clone()
    missing = part.x.isnan().nonzero()[:, 0]
    expected = truth[missing[1:]]
    truth[missing[0]] = torch.nan
    wrong = (model.predict(part).x[missing[1:]] - expected).double().square().sum()
    spread = (expected - expected.mean()).double().square().sum()
    assert model.score(part, truth) == pytest.approx(float(1 - wrong / spread), rel=1e-5)
    truth[missing] = torch.nan
    with pytest.raises(ValueError, match="at least one value that is known in truth"):
        model.score(part, truth)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"device must be cpu, cuda, .* got 'gpu'"):
        make(device="gpu")
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=f"device '{missing}' is not there"):
        make(device=missing)


def test_a_fit_that_fails_keeps_what_was_fitted_before(monkeypatch):
    data = signals()
    model = make().fit(data)
    part = with_gaps(data[0])
    before = model.predict(part).x
    with pytest.raises(ValueError, match="at least one node"):
        model.fit(ALONE)
    monkeypatch.setattr(
        "gsp_unroll.graph_signal_model._loss",
        lambda model, *rest: model.network.blocks[0].skip * NAN,
    )
    model.steps = 30
    with pytest.raises(FloatingPointError, match="not finite in 21 steps in a row, up to step 20"):
        model.fit(data)
    assert torch.equal(model.predict(part).x, before)
    assert len(model.history) == 3


def test_every_graph_has_batches_of_the_stated_size(monkeypatch):
    seen = []
    original = graph_signal_model._loss

    def loss(model, part, kept):
        seen.append(part.signal.numel())
        return original(model, part, kept)

    monkeypatch.setattr(graph_signal_model, "_loss", loss)
    make(batch=5).fit(signals(1, nodes=9))
    assert seen == [45, 45, 45]


@pytest.mark.parametrize("trend", ["linear", "kernel", "none"])
def test_saved_and_loaded_it_predicts_the_same(tmp_path, trend):
    data = signals(channels=2, attributes=1)
    model = make(trend=trend).fit(data)
    path = model.save(tmp_path / "model.safetensors")
    part = with_gaps(data[1])
    assert torch.equal(GraphSignalModel.load(path).predict(part).x, model.predict(part).x)
    model.network.save_pretrained(tmp_path / "network.safetensors")
    with pytest.raises(ValueError, match=r"path must end in \.safetensors, .* got 'nope\.pt'"):
        GraphSignalModel.load("nope.pt")
    with pytest.raises(ValueError, match=r"was not written by GraphSignalModel\.save"):
        GraphSignalModel.load(tmp_path / "network.safetensors")


def test_score_is_one_for_the_truth_and_zero_for_its_mean(monkeypatch):
    data = signals(channels=2)
    model = make().fit(data)
    part = with_gaps(data[0])
    missing = torch.isnan(part.x)
    perfect = model.predict(part).x
    assert model.score(part, perfect) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="data must miss at least one value"):
        model.score(data[0], data[0].x)
    with pytest.raises(ValueError, match=r"truth must have shape \[12, 2\]"):
        model.score(part, perfect[:, 0])
    with pytest.raises(ValueError, match="truth must be finite"):
        model.score(part, torch.where(missing, torch.inf, perfect))
    truth = torch.randn(12, 2) * torch.tensor([1.0, 1000.0])

    def predict(values):
        monkeypatch.setattr(model, "predict", lambda data: Data(x=values))
        return model.score(part, truth)

    mean = torch.stack([truth[missing[:, c], c].mean() for c in range(2)]).expand(12, 2)
    assert predict(mean) == pytest.approx(0.0, abs=1e-6)
    # Channels count alike, whatever their units.
    assert predict(torch.stack([truth[:, 0], mean[:, 1]], 1)) == pytest.approx(0.5)
    truth = torch.full((12, 2), 7.0)
    assert predict(truth) == 1
    assert predict(truth + 1) == 0


def test_a_stop_keeps_what_was_learned(monkeypatch):
    original = Progress.update

    def update(self, step, *rest):
        original(self, step, *rest)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "update", update)
    data = signals()
    with pytest.warns(UserWarning, match="stopped after 2 of 3 steps"):
        model = make().fit(data)
    stopped = model.predict(with_gaps(data[0])).x
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finished = make().fit(data).predict(with_gaps(data[0])).x
    assert not torch.equal(stopped, finished)


def test_fully_observed_comes_back_unchanged():
    data = signals()
    assert torch.equal(make().fit(data).predict(data[0]).x, data[0].x)


ALONE = Data(x=torch.tensor([1.0, NAN, NAN, NAN]), edge_index=both_ways([(0, 1), (2, 3)]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.predict(ALONE), ValueError,
         "at least one node of every connected component, but channel 0"),
        (lambda m: m.fit(ALONE), ValueError, "at least one node of every connected component"),
        (lambda m: m.predict(Data(x=torch.full((12,), NAN), edge_index=ring(12))), ValueError,
         "at least one node"),
        (lambda m: m.predict(signals(channels=2)[0]), ValueError,
         "data must have 1 channels and 0 attributes as in fit, got 2 and 0"),
        (lambda m: m.predict(signals(attributes=2)[0]), ValueError, "got 1 and 2"),
        (lambda m: m.predict(Data(x=torch.ones(3, dtype=torch.int64), edge_index=ring(3))),
         TypeError, r"data.x must be float32 or float64, got torch.int64"),
        (lambda m: m.fit([]), ValueError, "at least one graph signal"),
        (lambda m: make().predict(ALONE), RuntimeError, "not fitted yet"),
        (lambda m: make().save("x.safetensors"), RuntimeError, "not fitted yet"),
        (lambda m: m.predict(signals()), TypeError, "data must be a .*Data, got list"),
        (lambda m: make(trend="linear").fit(signals()), ValueError,
         "trend must be 'mean' or 'none' for data without attributes, got 'linear'"),
        (lambda m: make(rotate=(0, 2)).fit(signals(attributes=2)), ValueError,
         r"rotate must name attributes of the data, which has 2, got \(0, 2\)"),
        (lambda m: make(rotate=(1,)), ValueError, "rotate must be two or more different"),
        (lambda m: make(rotate=(1, -1)), ValueError, "rotate must be at least 0, got -1"),
        (lambda m: make(ema=1.0), ValueError, "ema must be finite and >= 0.0 and < 1.0, got 1.0"),
        (lambda m: make(observed=0.5), TypeError, "observed must be two numbers"),
        (lambda m: make(observed=(0.5, 0.2)), ValueError, "observed must be"),
        (lambda m: make(steps=0), ValueError, "steps must be at least 1"),
        (lambda m: make(lr=0.0), ValueError, "lr must"),
        (lambda m: make(trend="cubic"), ValueError, "trend must"),
        (lambda m: make(optimizer="sgd"), ValueError, "optimizer must"),
        (lambda m: make(ModelConfig()), ValueError, "features_from='gnn' or 'mlp', got 'cnn'"),
        (
            lambda m: make(ModelConfig("uglr-plus", features_from="gnn", bounds=(0, 1))),
            ValueError,
            r"config must have bounds=None, .*got \(0.0, 1.0\)",
        ),
        (lambda m: make("uglr"), TypeError, "config must be a ModelConfig, got str"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(call, error, message):
    model = make(steps=1).fit(signals())
    with pytest.raises(error, match=message):
        call(model)


def pieces_of(data, parts=3, halo=1):
    return GraphPieces(data, partition(data.edge_index, len(data.x), parts), halo)


def test_a_loader_of_pieces_is_learned_from():
    whole = with_gaps(signals(1, nodes=60, attributes=2)[0], 0.3)
    loader = DataLoader(pieces_of(whole), batch_size=2, shuffle=True)
    a, b = (make(trend="none", steps=5).fit(loader) for _ in range(2))
    out = a.predict(whole).x
    assert torch.equal(out, b.predict(whole).x)
    assert len(a.history) == 5
    seen = ~torch.isnan(whole.x)
    assert torch.equal(out[seen], whole.x[seen])
    assert bool(out.isfinite().all())


def test_a_loader_and_a_list_measure_in_the_same_units():
    whole = signals(1, nodes=60, attributes=2)[0]
    pieces = pieces_of(whole)
    a = make(trend="none", steps=1).fit(list(pieces))
    b = make(trend="none", steps=1).fit(DataLoader(pieces, batch_size=2))
    for one, other in zip(
        vars(a._model.scale).values(), vars(b._model.scale).values(), strict=True
    ):
        torch.testing.assert_close(one, other)
    values = torch.cat([p.attributes for p in pieces]).double()
    torch.testing.assert_close(a._model.scale.mean, values.mean(0))
    torch.testing.assert_close(a._model.scale.spread, values.std(0, correction=0))


def test_a_loader_holds_no_more_than_a_step(monkeypatch):
    made = []
    original = GraphPieces.__getitem__
    monkeypatch.setattr(
        GraphPieces, "__getitem__", lambda self, k: made.append(k) or original(self, k)
    )
    whole = signals(1, nodes=60)[0]
    make(trend="none", steps=2).fit(DataLoader(pieces_of(whole, parts=6)))
    # Once for the units, then one a step.
    assert made == [*range(6), 0, 1]


def test_errors_in_the_halo_do_not_count():
    data = signals(1)[0]
    data.inner = torch.zeros(12, dtype=torch.bool)
    with pytest.raises(ValueError, match="two values or more"):
        make().fit(data)
    # Where the one node that counts is not hidden, nothing is wrong.
    data.inner[0] = True
    history = make(steps=12, batch=1).fit(data).history
    assert 0.0 in history
    assert max(history) > 0
    data.inner[:6] = True
    assert min(make().fit(data).history) > 0


def test_without_a_trend_a_constant_is_part_of_the_signal():
    data = signals()
    model = make(trend="none").fit(data)
    assert model._model.scale.signal.item() == pytest.approx(
        float(torch.cat([d.x for d in data]).square().mean().sqrt()), rel=1e-5
    )
    part = with_gaps(data[0])
    before = model.predict(part).x
    part.x += 3
    assert float((model.predict(part).x - before - 3).abs().max()) > 1e-3


def test_nodes_far_from_their_neighbours_in_memory_are_restored_the_same(monkeypatch):
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(0))[ring(60)]
    data = signals(1, nodes=60, attributes=1, edges=shuffled)[0]
    model = make(batch=1).fit(data)
    part = with_gaps(data)
    expected = model.predict(part).x
    monkeypatch.setattr("gsp_unroll.topology.graph._FAR", 1)
    assert Graph(part.edge_index, 60).node_order is not None
    torch.testing.assert_close(model.predict(part).x, expected, atol=1e-5, rtol=1e-5)
