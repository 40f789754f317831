"""Networks in a file: round trip, and a clear word about every damaged file."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gsp_unroll.models import (
    UGLR,
    UGTV,
    CheckpointError,
    UGLRPlus,
    load_pretrained,
    pretrained_metadata,
    save_pretrained,
    shipped,
    shipped_weights,
)
from gsp_unroll.tensor_file import checksum

SMALL = {"blocks": 1, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4, "window": 3}


@pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus])
def test_round_trip(network, tmp_path):
    model = network(2, **SMALL)
    path = save_pretrained(model, tmp_path / "new" / "folder" / "net.safetensors", {"note": "ü"})
    loaded = load_pretrained(path)
    assert type(loaded) is network
    assert loaded.config == model.config
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    y, mask = torch.rand(1, 2, 5, 5), torch.rand(2, 5, 5) < 2
    assert torch.equal(loaded(y, mask), model.eval()(y, mask))
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["note"] == "ü"


def test_nothing_but_the_file_is_left(tmp_path):
    for _ in range(2):  # the second time over the first file
        save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_the_file_can_be_read_by_others_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        path = save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["os.fdopen", "Path.replace"])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(step, tmp_path, monkeypatch):
    path = save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors")
    before = path.read_bytes()

    def fail(*arguments, **named):
        raise OSError("no space left on device")

    monkeypatch.setattr(f"gsp_unroll.files.{step}", fail)
    with pytest.raises(OSError, match="no space"):
        save_pretrained(UGTV(1, **SMALL), path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_wrong_suffix_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .safetensors, got 'net.pt'"):
        save_pretrained(UGLR(1, **SMALL), tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())


def test_missing_file_and_folder(tmp_path):
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    for path in (tmp_path / "none.safetensors", folder):
        with pytest.raises(CheckpointError, match=f"no weight file at {path}"):
            load_pretrained(path)


@pytest.mark.parametrize("size", [0, 5, 200, -40])
def test_truncated_file_is_named(size, tmp_path):
    path = save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=f"{path} is not a readable safetensors file"):
        load_pretrained(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "net.safetensors"
    torch.save({"a": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match=f"{path} is not a readable safetensors file"):
        load_pretrained(path)
    save_file({"a": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match=f"{path} holds no gsp_unroll configuration"):
        load_pretrained(path)


def rewrite(path, change_tensors=None, change_config=None, text=None):
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["gsp_unroll_config"])
    tensors = load_file(path)
    if change_tensors:
        change_tensors(tensors)
    if change_config:
        change_config(config)
    metadata = {"gsp_unroll_config": text or json.dumps(config)}
    metadata["gsp_unroll_sha256"] = checksum(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"change_config": lambda c: c.update(maps=5)}, "weights in {} do not fit"),
        ({"change_config": lambda c: c.update(name="ugtv")}, "weights in {} do not fit"),
        (
            {"change_tensors": lambda t: t.pop("blocks.0.skip")},
            "weights in {} do not fit(?s:.*)skip",
        ),
        ({"change_tensors": lambda t: t.update(extra=torch.ones(1))}, "weights in {} (?s:.*)extra"),
        ({"change_config": lambda c: c.update(window=4)}, "{} holds a configuration .*window must"),
        ({"change_config": lambda c: c.update(colour=1)}, "{} holds a configuration .*colour"),
        ({"text": "{not json"}, "{} holds a configuration that does not fit"),
        ({"text": "[1, 2]"}, "{} holds a configuration that does not fit"),
    ],
)
def test_weights_and_configurations_that_do_not_fit_are_named(changes, message, tmp_path):
    path = save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors")
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=message.format(path)):
        load_pretrained(path)


def test_an_option_of_another_version_that_is_off_changes_nothing(tmp_path):
    model = UGLR(1, **SMALL)
    path = save_pretrained(model, tmp_path / "net.safetensors")
    rewrite(path, change_config=lambda c: c.update(colour=0, shape=None, tilt=False))
    assert load_pretrained(path).config == model.config


def test_methods_of_the_network_are_the_functions(tmp_path):
    model = UGTV(1, **SMALL)
    path = model.save_pretrained(tmp_path / "net.safetensors", {"note": "1"})
    loaded = UGTV.from_pretrained(path)
    assert isinstance(loaded, UGTV)
    assert torch.equal(loaded.blocks[0].skip, model.blocks[0].skip)
    assert pretrained_metadata(path) == {"note": "1"}
    with pytest.raises(ValueError, match=r"are of a UGTV, not of a UGLR; use UGTV.from_pretrained"):
        UGLR.from_pretrained(path)


def test_a_changed_weight_is_refused(tmp_path):
    path = save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors", {"note": "old"})
    intact = path.read_bytes()
    changed = bytearray(intact)
    changed[-1] ^= 1  # one bit of the last number
    for content in (bytes(changed), intact.replace(b'"old"', b'"new"')):
        assert content != intact
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{path} is not what was saved: its checksum"):
            load_pretrained(path)
    path.write_bytes(intact)
    load_pretrained(path)


def test_a_file_without_a_checksum_is_refused(tmp_path):
    path = save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors")
    with safe_open(path, framework="pt") as file:
        config = file.metadata()["gsp_unroll_config"]
    save_file(load_file(path), path, metadata={"gsp_unroll_config": config})
    with pytest.raises(CheckpointError, match="checksum"):
        load_pretrained(path)


def test_a_device_that_is_not_there_is_named(tmp_path):
    path = save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"device 'cuda:99' is not there: this machine offers"):
        load_pretrained(path, "cuda:99")


def test_arguments_of_the_wrong_type_are_named(tmp_path):
    with pytest.raises(TypeError, match="weights must be a name or a path, got NoneType None"):
        load_pretrained(None)
    with pytest.raises(ValueError, match=r"device must be cpu, cuda, .* got None"):
        load_pretrained("uglr-demosaic", device=None)
    with pytest.raises(TypeError, match=r"metadata\['step'\] must be a str, got int 3"):
        save_pretrained(UGLR(1, **SMALL), tmp_path / "net.safetensors", {"step": 3})


def test_an_unknown_name_is_named():
    with pytest.raises(ValueError, match=r"weights must be one of .*, got 'ugtv-demosaick'"):
        load_pretrained("ugtv-demosaick")


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_weights_load_and_say_where_they_come_from(name):
    model = load_pretrained(name)
    history = json.loads(pretrained_metadata(name)["history"])
    assert sum(part["steps"] for part in history) > 0
    card = (shipped.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    parameters = sum(p.numel() for p in model.parameters())
    assert f"{parameters:,}" in card
    assert parameters <= 323_435


def test_names_of_shipped_weights_end_with_their_task():
    for name in shipped_weights():
        assert pretrained_metadata(name)["task"].startswith(name.rpartition("-")[2])
    colour, luma = shipped_weights("demosaic"), shipped_weights("interpolate")
    assert colour
    assert luma
    assert sorted([*colour, *luma]) == shipped_weights()
    with pytest.raises(ValueError, match=r"task must be one of .* did you mean 'interpolate'"):
        shipped_weights("interpolation")


def test_shipped_weights_are_small():
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < 12_000_000
