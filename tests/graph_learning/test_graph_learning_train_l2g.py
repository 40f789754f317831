"""Training: it learns, is reproducible, stops, fails, and its networks come back from files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from gsp_unroll.graph_learning import (
    L2G,
    FitConfig,
    GraphsConfig,
    L2GConfig,
    Pairs,
    UnrolledPDS,
    estimate_topologies,
    fit_topologies,
    gmse,
    load_topology_network,
    save_topology_network,
)
from gsp_unroll.models import UGLR, CheckpointError, save_pretrained
from gsp_unroll.training import ConfigError, load_config_as
from gsp_unroll.training.checkpoint import StateError
from gsp_unroll.training.log import Progress

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("l2g_*.yaml"))
GRAPHS = GraphsConfig(nodes=8, attach=2, signals=500, train=96, validation=32, test=32)
RECIPE = FitConfig(epochs=4, batch=16)
TRAIN, VALIDATION, TEST = (GRAPHS.draw(part) for part in ("train", "validation", "test"))


def fit(network: UnrolledPDS, recipe: FitConfig = RECIPE, **options: object):
    return fit_topologies(network, TRAIN, VALIDATION, recipe, progress=False, **options)


def l2g() -> L2G:
    torch.manual_seed(0)
    return L2G(8, layers=5, hidden=4, latent=3, features=3)


@pytest.mark.parametrize("make", [l2g, lambda: UnrolledPDS(5)])
def test_it_learns_and_gives_nonnegative_weights(make):
    network = make()
    before = float(gmse(estimate_topologies(network, TEST.z)[-1], TEST.weight).mean())
    history = fit(network)
    weight = estimate_topologies(network, TEST.z)
    assert len(history) == 4
    assert history[-1].loss < history[0].loss
    assert float(gmse(weight[-1], TEST.weight).mean()) < before
    assert bool((weight >= 0).all())
    again = make()
    assert fit(again) == history
    assert torch.equal(estimate_topologies(again, TEST.z), weight)


def test_a_stop_keeps_what_was_learned(monkeypatch):
    original = Progress.update

    def update(self, step, *rest):
        original(self, step, *rest)
        if step == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "update", update)
    network = l2g()
    with pytest.warns(UserWarning, match="stopped in epoch 2 of 4"):
        history = fit(network)
    assert len(history) == 1
    assert not network.training
    assert not torch.equal(network.alpha, l2g().alpha)


@pytest.mark.parametrize("make", [l2g, lambda: UnrolledPDS(5)])
def test_a_stopped_fit_goes_on_and_ends_as_if_it_had_not_been_stopped(make, monkeypatch, tmp_path):
    expected = make()
    history = fit(expected)
    original = Progress.update

    def update(self, step, *rest):
        original(self, step, *rest)
        if step == 15:
            raise KeyboardInterrupt

    state = tmp_path / "fit.pt"
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", update)
        with pytest.warns(UserWarning, match="stopped in epoch 3 of 4"):
            fit(make(), state=state)
    network = make()
    assert fit(network, state=state) == history
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    # Nothing is left to do, whatever the network has.
    torch.nn.init.zeros_(network.alpha)
    assert fit(network, state=state) == history
    assert torch.equal(network.alpha, expected.alpha)


def test_a_state_of_another_fit_is_refused(tmp_path):
    state = tmp_path / "fit.pt"
    fit(UnrolledPDS(5), dataclasses.replace(RECIPE, epochs=1), state=state)
    with pytest.raises(StateError, match=r"cannot go on from .*fit.pt.*'epochs': 1.*'epochs': 4"):
        fit(UnrolledPDS(5), state=state)
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(StateError, match="truncated or corrupt"):
        fit(UnrolledPDS(5), state=state)


def test_a_loss_that_is_not_finite_is_an_error():
    network = UnrolledPDS(4)
    with torch.no_grad():
        network.step.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"in epoch 1, step 1; try a smaller lr than 0.01"):
        fit(network)


def test_weights_come_back_from_a_file(tmp_path):
    network = l2g()
    path = save_topology_network(network, tmp_path / "net.safetensors", {"graphs": "ba"})
    torch.manual_seed(5)
    other = L2G(8, layers=5, hidden=4, latent=3, features=3)
    assert load_topology_network(other, path) == {"graphs": "ba"}
    assert torch.equal(estimate_topologies(other, TEST.z), estimate_topologies(network, TEST.z))
    with pytest.raises(ValueError, match=r"(?s)net\.safetensors holds L2G\(.*\), not L2G\("):
        load_topology_network(L2G(9, layers=5), path)
    with pytest.raises(ValueError, match="no weight file at"):
        load_topology_network(network, tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="residual=False"):
        load_topology_network(L2G(8, layers=5, hidden=4, latent=3, features=3, residual=True), path)
    with pytest.raises(ValueError, match=r"path must end in \.safetensors"):
        save_topology_network(network, tmp_path / "net.pt")
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(bytes(changed))
    with pytest.raises(CheckpointError, match="is not what was saved"):
        load_topology_network(other, path)
    other = save_pretrained(UGLR(1, blocks=1, maps=4), tmp_path / "restores.safetensors")
    with pytest.raises(CheckpointError, match="holds no network that infers topologies"):
        load_topology_network(network, other)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_are_of_the_published_network(path):
    config = load_config_as(L2GConfig, path)
    assert config.model == dataclasses.replace(config.model, layers=20, hidden=32, latent=16)
    assert (config.train.batch, config.train.lr, config.train.decay) == (32, 1e-2, 0.95)
    small = load_config_as(L2GConfig, path, ["graphs.test=2", "graphs.relabel=true"]).graphs
    assert small.relabel
    assert small.draw("test").z.shape == (2, config.graphs.nodes * (config.graphs.nodes - 1) // 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "did you mean 'train.epochs'"),
        ("graphs.kind=star", "graphs.kind must be one of 'ba', 'ws', 'er', 'sbm'"),
        ("train.decay=0", "decay must"),
        ("train.lr=fast", "train.lr must be a number"),
    ],
)
def test_a_wrong_override_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config_as(L2GConfig, CONFIGS[0], [override])


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        (TRAIN[:2], TypeError, "train must be Pairs, got tuple"),
        (Pairs(TRAIN.z[:5], TRAIN.weight), ValueError, r"train.weight must have shape \[5, 28\]"),
        (Pairs(TRAIN.z[:0], TRAIN.weight[:0]), ValueError, "train must hold at least one graph"),
        (Pairs(TRAIN.z * torch.nan, TRAIN.weight), ValueError, "z must be finite"),
        (Pairs(TRAIN.z, 0 * TRAIN.weight), ValueError, "must have an edge in every graph"),
        (Pairs(TRAIN.z.double(), TRAIN.weight.double()), TypeError, "torch.float32 as the network"),
    ],
)
def test_graphs_that_cannot_be_learned_from_are_named(pairs, error, message):
    pairs = tuple(pairs) if error is TypeError and "tuple" in message else pairs
    with pytest.raises(error, match=message):
        fit_topologies(l2g(), pairs, VALIDATION, RECIPE, progress=False)


def test_an_estimate_leaves_the_mode_of_the_network():
    network = l2g().train()
    estimate_topologies(network, TEST.z)
    assert network.training
    with pytest.raises(ValueError, match=r"z must have shape \[count, "):
        estimate_topologies(network, TEST.z[0])
    assert network.training
