"""The loop as a whole: it descends, keeps the samples, learns graphs, and can be trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import gsp_unroll
from gsp_unroll.graph_learning import (
    INPAINTING_DRIVEN_PUBLISHED,
    InpaintingDrivenConfig,
    InpaintingDrivenGraph,
    InpaintingDrivenNetwork,
    f_score,
    inpaint,
    nearest_rows,
)
from gsp_unroll.graph_learning.space_time_prior import laplacian_matrix
from gsp_unroll.training.log import Progress

# Small, and free of what breaks descent: steps that end early, and weights that are taken away.
EXACT = InpaintingDrivenConfig(cg_steps=60, neighbours=4, sparsity=0.0, p1=0.8, p2=0.4)
FORMS = {
    "ours": InpaintingDrivenConfig(),
    "published": INPAINTING_DRIVEN_PUBLISHED,
    "offdiagonal": InpaintingDrivenConfig(gradient="offdiagonal"),
    "free": InpaintingDrivenConfig(mean_degree=None, step=0.02, sparsity=0.1),
}


def smooth_signal(nodes=8, times=60, memory=0.8, seed=0, missing=0.2):
    """Drawn from the precision of a random graph and an autoregression in time."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((nodes, nodes)) < 0.25, 1).astype(float)
    upper[np.arange(nodes - 1), np.arange(1, nodes)] = 1
    truth = torch.tensor(upper + upper.T)
    values, vectors = np.linalg.eigh(laplacian_matrix(truth).numpy())
    shocks = vectors[:, 1:] / np.sqrt(values[1:]) @ rng.standard_normal((nodes - 1, times))
    x = shocks.copy()
    for t in range(1, times):
        x[:, t] = memory * x[:, t - 1] + np.sqrt(1 - memory**2) * shocks[:, t]
    return torch.tensor(x), torch.tensor(rng.random(x.shape) >= missing), truth


def gaps(x, mask):
    return torch.where(mask, x, torch.nan)


def make(network=None, **options):
    return InpaintingDrivenGraph(network, **{"steps": 2, "progress": False, **options})


@pytest.mark.parametrize("form", FORMS)
def test_what_comes_out_is_a_graph_and_a_signal_with_its_samples(form):
    x, mask, _ = smooth_signal()
    with torch.no_grad():
        out = InpaintingDrivenNetwork(FORMS[form])(gaps(x, mask), mask)
    adjacency = out.adjacency
    assert torch.equal(adjacency, adjacency.T)
    assert (adjacency >= 0).all()
    assert (adjacency.diagonal() == 0).all()
    assert (adjacency > 0).any()
    ones = laplacian_matrix(adjacency) @ torch.ones(len(x), dtype=torch.float64)
    torch.testing.assert_close(ones, torch.zeros_like(ones), rtol=0, atol=1e-12)
    assert torch.equal(out.restored[mask], x[mask])
    assert out.restored.isfinite().all()
    assert out.energy.shape == (2 * FORMS[form].rounds + 1,)


def test_the_energy_does_not_rise():
    x, mask, _ = smooth_signal()
    with torch.no_grad():
        kept = InpaintingDrivenNetwork(replace(EXACT, rounds=6))(x, mask).energy
        noisy = InpaintingDrivenNetwork(replace(EXACT, rounds=6, mu=0.1))(x, mask).energy
    assert (kept.diff() <= 1e-12).all()
    assert kept[-1] < kept[0] - 0.01
    # Filling comes before the graph step, and only the inpainting is sure to descend.
    assert (noisy[2::2] <= noisy[1::2] + 1e-12).all()


def test_without_a_mean_degree_the_objective_ends_without_edges():
    x, mask, _ = smooth_signal()
    config = replace(EXACT, mean_degree=None, graph_steps=200)
    with torch.no_grad():
        assert (InpaintingDrivenNetwork(config)(x, mask).adjacency == 0).all()


def test_the_energy_is_the_objective():
    x, mask, _ = smooth_signal()
    config = replace(EXACT, mu=0.3, relative=False, centred=False, temporal_penalty=0.2, rounds=1)
    config = replace(config, graph_steps=1, step=1e-12, mean_degree=None)
    network = InpaintingDrivenNetwork(config)
    with torch.no_grad():
        out = network(x, mask)
    lap = laplacian_matrix(nearest_rows(x, mask, 4)).numpy()
    difference = np.diff(np.eye(60), axis=0).T
    path = difference @ difference.T
    z = np.eye(60) + 0.8 * path + 0.4 * path @ path
    adjacency = torch.tensor(np.diag(np.diag(lap)) - lap)
    raw = inpaint(adjacency, x, mask, 0.8, 0.4, mu=0.3, ridge=0.1, steps=60).numpy()
    expected = (
        np.sum((raw - x.numpy())[mask.numpy()] ** 2) / 0.3
        + np.trace(raw.T @ (lap + 0.1 * np.eye(8)) @ raw @ z)
        + 0.3 * np.sum(lap**2)
        + 0.2 * np.sum(z**2) / 60
    )
    assert out.energy[0].item() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("form", ["ours", "published"])
def test_gradients_of_the_temporal_prior_go_through_the_loop(form):
    x, mask, _ = smooth_signal(nodes=5, times=7)
    config = replace(FORMS[form], rounds=2, cg_steps=3, graph_steps=2, neighbours=2, p1=0.8, p2=0.5)
    network = InpaintingDrivenNetwork(replace(config, trainable=("decay", "sparsity")))
    names = list(network.log)

    def run(*values):
        parameters = {f"log.{name}": value for name, value in zip(names, values, strict=True)}
        out = torch.func.functional_call(network, parameters, (x, mask))
        return out.restored, out.adjacency, out.energy

    values = [network.log[name].detach().clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(run, values, fast_mode=True)
    energy = run(*values)[2][-1]
    assert all((g != 0).all() for g in torch.autograd.grad(energy, values[:2]))


def test_the_truth_restores_better_than_the_nearest_neighbours():
    errors = []
    for seed in range(3):
        x, mask, truth = smooth_signal(seed=seed, times=100)
        guess = nearest_rows(x, mask, 3)
        for adjacency in (truth, guess):
            restored = inpaint(adjacency, x, mask, 10.0, 0.1, steps=100)
            errors.append((restored - x)[~mask].square().mean())
    errors = torch.stack(errors).view(3, 2)
    assert (errors[:, 0] < errors[:, 1]).all()


def test_the_learned_graph_beats_the_nearest_neighbours():
    scores = []
    for seed in range(3):
        x, mask, truth = smooth_signal(nodes=16, seed=seed, times=300)
        with torch.no_grad():
            learned = InpaintingDrivenNetwork()(x, mask).adjacency
        nearest = max(f_score(nearest_rows(x, mask, k), truth) for k in (3, 5, 7))
        scores.append((f_score(learned, truth), nearest))
    learned, nearest = torch.tensor(scores).mean(0)
    assert learned > nearest + 0.05


def test_units_and_offsets_of_the_signal_do_not_matter():
    x, mask, _ = smooth_signal()
    network = InpaintingDrivenNetwork()
    shift = 50 * torch.arange(len(x)).double().unsqueeze(1)
    with torch.no_grad():
        one, other = network(x, mask), network(1000 * x + shift, mask)
    torch.testing.assert_close(other.adjacency, one.adjacency, rtol=0, atol=1e-9)
    torch.testing.assert_close(other.restored, 1000 * one.restored + shift, rtol=0, atol=1e-6)


def test_a_batch_is_signals_of_their_own():
    x, _, _ = smooth_signal()
    masks = torch.stack([smooth_signal(seed=seed)[1] for seed in range(2)])
    network = InpaintingDrivenNetwork()
    with torch.no_grad():
        together = network(x.expand_as(masks), masks)
        for k in range(2):
            alone = network(x, masks[k])
            torch.testing.assert_close(together.restored[k], alone.restored)
            torch.testing.assert_close(together.adjacency[k], alone.adjacency)
            torch.testing.assert_close(together.energy[k], alone.energy)


def test_fit_learns_that_the_signal_is_smooth_in_time():
    x, mask, _ = smooth_signal(memory=0.95, times=80)
    y = gaps(x, mask)
    start = InpaintingDrivenConfig(p1=0.1, p2=0.01, rounds=1)
    before, after = (make(start, steps=n, lr=0.4, batch=1).fit(y) for n in (0, 15))
    assert after.network.scalar("p1") > 1
    errors = [(m.predict(y).x - x)[~mask].square().mean() for m in (before, after)]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("loss", ["hidden", "objective"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_loss_trains_what_is_trainable(loss, optimizer):
    x, mask, _ = smooth_signal()
    config = InpaintingDrivenConfig(rounds=2, trainable=("ridge", "decay", "sparsity"))
    state = torch.random.get_rng_state()
    models = [make(config, loss=loss, optimizer=optimizer).fit(gaps(x, mask)) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert models[0].history == models[1].history
    assert len(models[0].history) == 2
    for name in ("p1", "p2", "ridge", "decay", "sparsity"):
        assert models[0].network.scalar(name) != getattr(config, name)


def test_prediction_is_a_graph_that_interpolate_takes():
    x, mask, _ = smooth_signal()
    y = gaps(x, mask).float()
    data = make(steps=0).fit(y).predict(y)
    assert data.x.dtype == data.edge_weight.dtype == torch.float32
    assert torch.equal(data.x[mask], y[mask])
    part = data.clone()
    part.x = torch.where(torch.arange(len(x)) < 5, data.x[:, 0], torch.nan)
    assert gsp_unroll.interpolate(part, on_failure="raise").x.isfinite().all()


def test_a_constant_signal_comes_back():
    y = torch.full((5, 12), 3.0)
    y[1, 4] = y[2, 9] = torch.nan
    assert torch.equal(make().fit(y).predict(y).x, torch.full((5, 12), 3.0))


def test_a_stop_keeps_what_was_learned(monkeypatch):
    original = Progress.update

    def update(self, step, *rest):
        original(self, step, *rest)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "update", update)
    x, mask, _ = smooth_signal()
    with pytest.warns(UserWarning, match="stopped after 2 of 5 steps"):
        model = make(steps=5).fit(gaps(x, mask))
    assert len(model.history) == 2
    assert model.network.scalar("p1") != model.config.p1


def test_a_fit_that_fails_keeps_what_was_fitted_before():
    x, mask, _ = smooth_signal()
    model = make().fit(gaps(x, mask))
    before = model.network
    model.config = InpaintingDrivenConfig(
        mean_degree=None, relative=False, gradient="offdiagonal", step=1e308, mu=1.0
    )
    with pytest.raises(FloatingPointError, match="the loss was nan in step 1; try smaller steps"):
        model.fit(gaps(x, mask))
    assert model.network is before


Y = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make().fit(Y[0]), ValueError, r"y must have shape \[N, T\], got \[4\]"),
        (lambda: make().fit(Y[:1]), ValueError, "y must have at least two rows"),
        (lambda: make().fit(Y.long()), TypeError, "y must be a floating-point tensor"),
        (lambda: make().fit(Y, Y > 3), ValueError, "entry of every row, but row 0 has none"),
        (lambda: make().fit(Y, Y > 2), ValueError, "at least two entries .* row 0 has 1"),
        (lambda: make().fit(Y / 0, Y > -1), ValueError, "y must be finite where observed"),
        (lambda: make().fit(Y, Y), TypeError, "mask must be a bool tensor"),
        (lambda: make().predict(Y), RuntimeError, "not fitted yet"),
        (lambda: make("ours"), TypeError, "config must be an InpaintingDrivenConfig, got str"),
        (lambda: make(loss="mse"), ValueError, "loss must be one of 'hidden', 'objective'"),
        (lambda: make(optimizer="muon"), ValueError, "optimizer must be one of"),
        (lambda: make(missing=0.5), TypeError, "missing must be two numbers"),
        (lambda: make(missing=(0.5, 0.2)), ValueError, r"missing must be \(low, high\)"),
        (lambda: make(steps=-1), ValueError, "steps must be at least 0"),
        (lambda: make(lr=0.0), ValueError, "lr must be finite and > 0.0"),
        (lambda: InpaintingDrivenConfig(p1=0.0), ValueError, "p1 must be finite and > 0"),
        (lambda: InpaintingDrivenConfig(ridge=-1.0), ValueError, "ridge must be finite"),
        (lambda: InpaintingDrivenConfig(sparsity=1.0), ValueError, "sparsity .* and < 1, got 1.0"),
        (lambda: InpaintingDrivenConfig(rounds=0), ValueError, "rounds must be at least 1"),
        (lambda: InpaintingDrivenConfig(gradient="full"), ValueError, "gradient must be one of"),
        (lambda: InpaintingDrivenConfig(trainable=("p3",)), ValueError, "trainable must be one of"),
        (lambda: InpaintingDrivenConfig(trainable=("mu",)), ValueError,
         "mu must be positive to be trainable, got None"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_signal_that_needs_gradients_is_learned_from_and_left_alone():
    torch.manual_seed(0)
    y = torch.randn(5, 40)
    expected = InpaintingDrivenGraph(steps=2, progress=False).fit(y).history
    y.requires_grad_()
    assert InpaintingDrivenGraph(steps=2, progress=False).fit(y).history == expected
    assert y.grad is None


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"p1": None}, TypeError), ({"sparsity": "a"}, TypeError), ({"sparsity": 1}, ValueError),
        ({"centred": 1}, TypeError), ({"trainable": "mu"}, TypeError), ({"decay": True}, TypeError),
    ],
)  # fmt: skip
def test_a_value_of_a_wrong_kind_is_named(wrong, error):
    with pytest.raises(error, match=next(iter(wrong))):
        InpaintingDrivenConfig(**wrong)
