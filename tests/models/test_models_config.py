"""Config -> network -> config."""

import dataclasses

import pytest
import torch

from gsp_unroll.models import UGLR, UGTV, ModelConfig, UGLRPlus, build

SMALL = {"blocks": 1, "layers": 2, "cg_steps": 3, "heads": 2, "features": 3, "maps": 5, "window": 7}

PLUS = {"name": "uglr-plus"}


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig("uglr", 2, **SMALL, norm="directed", laplacian="normalized"),
        ModelConfig("ugtv", 1, **SMALL, norm="symmetric", checkpointing=True),
        ModelConfig("uglr", 1, **SMALL, keep_directions=True),
        ModelConfig("uglr-plus", 1, **SMALL, keep_directions=True),
        ModelConfig("uglr-plus", 1, **SMALL, mean=True, sees_mask=True, carry=True),
        ModelConfig("uglr-plus", 1, **SMALL, repeats=1),
        ModelConfig("uglr-plus", 1, **SMALL, carry=True, carry_mix=True, residual_pairs=2),
        ModelConfig("uglr", 1, **SMALL, features_from="gnn", node_channels=2),
        ModelConfig("uglr-plus", 3, **SMALL, norm="symmetric"),
        ModelConfig("uglr-plus", 3, **SMALL, bounds=[0, 1.5]),
        ModelConfig("uglr-plus", 3, **SMALL, offset_scores=True),
    ],
)
def test_build_round_trip(config):
    model = build(config)
    assert type(model) is {"uglr": UGLR, "ugtv": UGTV, "uglr-plus": UGLRPlus}[config.name]
    assert model.config == config
    assert ModelConfig(**config.as_dict()) == config
    assert build(ModelConfig(**model.config.as_dict())).state_dict().keys() == (
        model.state_dict().keys()
    )


def test_defaults_are_the_published_network():
    config = ModelConfig()
    assert config.as_dict() == {
        "name": "ugtv", "in_channels": 3, "blocks": 5, "layers": 5, "cg_steps": 10, "heads": 4,
        "features": 12, "maps": 48, "window": 5, "norm": "softmax", "laplacian": "combinatorial",
        "features_from": "cnn", "node_channels": 0, "checkpointing": False,
        "mean": False, "sees_mask": False, "carry": False, "bounds": None,
        "keep_directions": False, "offset_scores": False, "repeats": 0,
        "carry_mix": False, "residual_pairs": 0, "cell": None,
    }  # fmt: skip
    assert build(config).config == UGTV().config == config
    assert UGLR().config == dataclasses.replace(config, name="uglr")


def test_initial_values_are_those_stated():
    model = build(ModelConfig(**SMALL))
    block = model.blocks[0]
    assert block.head_weight.tolist() == [0.5, 0.5]
    assert float(block.skip.detach()) == pytest.approx(0.95)
    assert bool((block.layers[0].cg.alpha == 0.5).all())
    assert bool((block.layers[0].cg.beta == 0.1).all())
    assert torch.equal(block.graph.metric_root[1], torch.eye(3))


@pytest.mark.parametrize("cell", [None, 2])
def test_uglr_plus_starts_at_equal_gates_on_colours_and_on_their_differences(cell):
    model = build(ModelConfig("uglr-plus", **{**SMALL, "heads": 4}, cell=cell))
    block = model.blocks[0]
    difference = torch.eye(3) - 1 / 3
    assert torch.equal(block.transform[[0, 2]], torch.eye(3).expand(2, 3, 3))
    assert torch.equal(block.transform[[1, 3]], difference.expand(2, 3, 3))
    last = block.features.net[-1]
    # Features and a gate for each head, and for each pixel of a cell.
    weight = last.weight.unflatten(0, (4, SMALL["features"] + 1, -1))
    assert weight.shape[2] == (1 if cell is None else 4)
    assert not weight[:, -1].any()
    assert weight[:, :-1].any()
    # Nothing but one channel: there are no differences.
    assert torch.equal(UGLRPlus(1, **SMALL).blocks[0].transform, torch.ones(2, 1, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "uglv"}, ValueError, "name must be one of 'uglr', 'ugtv', 'uglr-plus', got 'u"),
        ({"blocks": 0}, ValueError, "blocks must be at least 1, got 0"),
        ({"heads": 2.0}, TypeError, "heads must be an int, got float 2.0"),
        ({"node_channels": -1}, ValueError, "node_channels must be at least 0, got -1"),
        ({"window": 4}, ValueError, "window must be odd, got 4; use 3 or 5"),
        ({"norm": "row"}, ValueError, "norm must be one of"),
        ({"laplacian": "comb"}, ValueError, "laplacian must be one of"),
        ({"features_from": "cnnn"}, ValueError, "features_from .*did you mean 'cnn'"),
        (
            {"node_channels": 2},
            ValueError,
            "node_channels must be 0 with features_from='cnn', got 2",
        ),
        ({"norm": "directed"}, ValueError, "norm='directed' needs name='uglr'"),
        (
            {"name": "uglr-plus", "laplacian": "normalized"},
            ValueError,
            "laplacian must be 'combinatorial' with name='uglr-plus'",
        ),
        ({"carry": 1}, TypeError, "carry must be True or False, got int 1"),
        ({"repeats": 1}, ValueError, "repeats must be 0 with name='ugtv', .* got 1"),
        ({**PLUS, "repeats": -1}, ValueError, "repeats must be at least 0, got -1"),
        ({**PLUS, "repeats": True}, TypeError, "repeats must be an int"),
        ({"residual_pairs": 1}, ValueError, "residual_pairs must be 0 with name='ugtv', .* got 1"),
        ({**PLUS, "residual_pairs": -1}, ValueError, "residual_pairs must be at least 0, got -1"),
        ({"cell": 2}, ValueError, "cell must be None with name='ugtv', the published form, got 2"),
        ({**PLUS, "cell": 1}, ValueError, "cell must be at least 2, got 1"),
        ({**PLUS, "cell": 2.0}, TypeError, "cell must be an int, got float 2.0"),
        (
            {**PLUS, "cell": 2, "features_from": "mlp"},
            ValueError,
            "cell must be None unless features_from='cnn', got 2 with features_from='mlp'",
        ),
        ({**PLUS, "carry_mix": True}, ValueError, "carry_mix must be False without carry"),
        ({"carry_mix": True}, ValueError, "carry_mix must be False with name='ugtv'"),
        ({"bounds": (0, 1)}, ValueError, "bounds must be None with name='ugtv', the published f"),
        ({**PLUS, "bounds": (1, 1)}, ValueError, "bounds must rise, got 1.0 and 1.0"),
        ({**PLUS, "bounds": [0, 1, 2]}, ValueError, r"bounds must be two numbers, got \[0, 1, 2"),
        ({**PLUS, "bounds": 1}, ValueError, "bounds must be two numbers, got 1"),
        ({**PLUS, "bounds": (0, "1")}, TypeError, "bounds must be a number, got str '1'"),
        ({**PLUS, "bounds": (0, float("inf"))}, ValueError, "bounds must be finite, got inf"),
        ({"mean": True}, ValueError, "mean must be False with name='ugtv', the published form"),
        (
            {**PLUS, "offset_scores": True, "features_from": "gnn"},
            ValueError,
            "offset_scores must be False unless features_from='cnn'",
        ),
        ({"keep_directions": 1}, TypeError, "keep_directions must be True or False, got int 1"),
        ({"checkpointing": "yes"}, TypeError, "checkpointing must be True or False, got str 'yes'"),
    ],
)
def test_wrong_values_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ModelConfig(**arguments)


def test_build_wants_a_config():
    with pytest.raises(TypeError, match="config must be a ModelConfig, got dict"):
        build({"name": "uglr"})


@pytest.mark.parametrize("network", [UGLR, UGTV])
def test_constructors_make_the_same_checks(network):
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        network(3, layers=0)
    with pytest.raises(TypeError):
        network(3, 5)  # sizes are named
