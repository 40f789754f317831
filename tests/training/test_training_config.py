from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gsp_unroll.models import build
from gsp_unroll.training import ConfigError, config_from_mapping, load_config, save_config
from gsp_unroll.training.config import differing_keys, read_yaml
from gsp_unroll.training.init import start_from

CONFIGS = Path(__file__).parents[2] / "configs"
# Those of graph learning are experiments of another kind.
FILES = sorted(path for path in CONFIGS.glob("*.yaml") if not path.name.startswith("l2g_"))
PARAMETERS = {
    "uglr.yaml": 323_410,
    "ugtv.yaml": 323_435,
    "uglr_interpolate.yaml": 319_090,
    "ugtv_interpolate.yaml": 319_115,
    "uglr_plus.yaml": 323_323,
    "finetune.yaml": 323_323,
    "uglr_plus_interpolate.yaml": 311_395,
    "uglr_interpolate_small.yaml": 40_203,
    "ablation.yaml": 128_684,
}
TEXT = """
task: {name: demosaic}
train:
  lr: 1e-4
  steps: 1e3
demo:
  model.blocks: 2
  train.batch: 4
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "e.yaml").write_text(TEXT)
    return tmp_path / "e.yaml"


def size(config):
    return sum(p.numel() for p in build(config.model).parameters())


def test_every_shipped_configuration_is_listed():
    assert {path.name for path in FILES} == set(PARAMETERS)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_shipped_configurations_have_the_size_that_they_state(file):
    assert size(load_config(file)) == PARAMETERS[file.name]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_demo_sections_shrink_and_change_nothing_else(file):
    full = load_config(file)
    if file.name in ("finetune.yaml", "ablation.yaml"):  # small, or short, as they are
        assert not full.demo
        return
    demo = load_config(file, demo=True)
    assert load_config(file) == full
    assert size(demo) < size(full)
    assert demo.task == full.task
    changed = differing_keys(vars(full.model), vars(demo.model))
    assert set(changed) <= {"blocks", "layers", "cg_steps", "checkpointing", "residual_pairs"}


def test_values_and_types(path):
    config = load_config(path)
    assert config.train.lr == 1e-4
    assert isinstance(config.train.lr, float)
    assert config.train.steps == 1000
    assert isinstance(config.train.steps, int)
    assert config.model.blocks == 5


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "+1e-4", "0.0001", ".1e-3", "'1e-4'"])
def test_every_spelling_of_a_small_number(path, text):
    path.write_text(f"train: {{lr: {text}}}")
    assert load_config(path).train.lr == pytest.approx(1e-4)
    assert load_config(path, [f"train.lr={text}"]).train.lr == pytest.approx(1e-4)


@pytest.mark.parametrize("text", ["1e", "e5", "1.2.3", "0x", "abc1e5"])
def test_texts_stay_texts(path, text):
    path.write_text(f"data: {{folder: {text}}}")
    assert load_config(path).data.folder == text


def test_order_is_file_then_demo_then_overrides_and_all_are_logged(path, caplog):
    with caplog.at_level(logging.INFO):
        config = load_config(path, ["train.batch=2", "data.folder=null"], demo=True)
    assert config.model.blocks == 2
    assert config.train.batch == 2
    assert "override (demo): model.blocks = 2 (was 5)" in caplog.messages
    assert "override (demo): train.batch = 4 (was 16)" in caplog.messages
    assert "override (set): train.batch = 2 (was 4)" in caplog.messages
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert load_config(path).model.blocks == 5
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr", "must read section.key=value, got 'train.lr'"),
        ("train.lrr=1", "unknown key 'train.lrr' in an override.*did you mean 'train.lr'"),
        ("train=1", "unknown key 'train' in an override"),
        ("train.lr=fast", r"train\.lr must be a number, got str 'fast'"),
        ("train.lr=-1", r"in section 'train': lr must be .*> 0"),
        ("train.lr=[", "override 'train.lr=.*is not valid YAML"),
        ("demo.x=1", "unknown key 'demo.x'"),
        ("model.window=4", "in section 'model': window"),
        ("task.name=interpolate", "model.in_channels must be 1 for task.name 'interpolate', got 3"),
        ("task.cfa=RGBX", "RGBX"),
        ("train.ema=1", r"ema must be finite and >= 0.0 and < 1.0, got 1"),
        ("train.loss=huber", "train.loss must be one of 'mse', 'l1'"),
        ("model.features_from=mlp", None),
        ("model.node_channels=2", "node_channels"),
    ],
)
def test_bad_overrides_are_named(path, override, message):
    if message is None:
        load_config(path, [override])
        return
    with pytest.raises(ConfigError, match=message):
        load_config(path, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lr: 1, lr: 2}", r"key 'lr' stands twice \(line 1\)"),
        ("trian: {}", "unknown key 'trian' in the top level; did you mean 'train'"),
        ("train: {stpes: 5}", "unknown key 'stpes' in section 'train'; did you mean 'steps'"),
        ("- 1", "must hold sections of keys, got list"),
        ("a: [", "is not valid YAML"),
        ("demo: {model.block: 2}", "unknown key 'model.block' in an override .demo.*model.blocks"),
        ("demo: {model.blocks: 0}", "blocks must be at least 1"),
    ],
)
def test_bad_files_are_named_with_their_path(path, text, message):
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_missing_demo(tmp_path, path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*none\.yaml"):
        load_config(tmp_path / "none.yaml")
    path.write_text("task: {}")
    with pytest.raises(ConfigError, match="there is no demo section"):
        load_config(path, demo=True)


def test_the_resolved_configuration_reads_back_equal(tmp_path, path):
    config = load_config(path, ["data.folder='a b: c'", "train.clip=null"], demo=True)
    save_config(tmp_path / "resolved.yaml", config)
    assert load_config(tmp_path / "resolved.yaml") == config
    assert config_from_mapping(read_yaml(tmp_path / "resolved.yaml")) == config


def test_an_empty_file_is_the_default_experiment(path):
    path.write_text("")
    assert load_config(path) == config_from_mapping({})


def test_finetuning_goes_on_with_weights_that_ship_and_fit():
    config = load_config(CONFIGS / "finetune.yaml")
    assert start_from(build(config.model), config.train.init)
