from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from gsp_unroll.training import checkpoint
from gsp_unroll.training.checkpoint import (
    StateError,
    check_same_experiment,
    load_state,
    rng_state,
    save_state,
    set_rng_state,
)


def test_round_trip(tmp_path):
    state = {"a": torch.arange(3), "b": {"c": [1, 2.5, None, "x"]}, "d": (True, -1)}
    save_state(tmp_path / "state.pt", state)
    loaded = load_state(tmp_path / "state.pt")
    assert torch.equal(loaded["a"], state["a"])
    assert loaded["b"] == state["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_a_failed_save_leaves_the_old_state_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_state(path, {"a": 1})

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_state(path, {"a": 2})
    monkeypatch.undo()
    assert load_state(path)["a"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped"])
def test_corrupt_files_are_named(tmp_path, damage):
    path = tmp_path / "state.pt"
    save_state(path, {"a": torch.randn(1000)})
    data = path.read_bytes()
    broken = {
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "text": b"hello",
        "flipped": b"\0" * 64 + data[64:],
    }
    path.write_bytes(broken[damage])
    with pytest.raises(StateError, match=r"state\.pt cannot be read, it is truncated or corr"):
        load_state(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(StateError, match=r"no training state at .*nothing\.pt"):
        load_state(tmp_path / "nothing.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(StateError, match=r"other\.pt is no training state of format 1"):
        load_state(tmp_path / "other.pt")


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def test_loading_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "x": _Evil()}, tmp_path / "state.pt")
    with pytest.raises(StateError, match="cannot be read"):
        load_state(tmp_path / "state.pt")
    assert not (tmp_path / "owned").exists()


def test_generators_continue_where_they_were(tmp_path):
    legacy = np.random.mtrand._rand  # what `np.random.seed` and its kin act on
    random.seed(1)
    legacy.seed(2)
    torch.manual_seed(3)
    legacy.randn()  # leaves a cached Gaussian behind
    save_state(tmp_path / "s.pt", {"rng": rng_state()})

    def draw():
        drawn = legacy.randn(), legacy.randint(10**9)
        return random.random(), *drawn, torch.rand(2).tolist()

    expected = draw()
    draw()
    set_rng_state(load_state(tmp_path / "s.pt")["rng"])
    assert draw() == expected


def test_another_experiment_is_refused_by_key():
    saved = {"train": {"lr": 0.1, "save_every": 5}, "data": {"patch": 32}, "demo": {"a": 1}}
    same = {"train": {"lr": 0.1, "save_every": 9}, "data": {"patch": 32}, "demo": {}}
    check_same_experiment(saved, same, "state.pt")
    other = {"train": {"lr": 0.2, "save_every": 9}, "data": {"patch": 64}, "demo": {}}
    message = r"state\.pt.*patch: saved 32, now 64.*train\.lr: saved 0\.1, now 0\.2"
    with pytest.raises(StateError, match=message):
        check_same_experiment(saved, other, "state.pt")


def test_a_key_that_is_new_counts_as_its_default():
    now = {"train": {"lr": 0.1, "init": None}}
    check_same_experiment({"train": {"lr": 0.1}}, now, "state.pt")
    with pytest.raises(StateError, match=r"train\.init: saved None, now 'a'"):
        check_same_experiment({"train": {"lr": 0.1}}, {"train": {"lr": 0.1, "init": "a"}}, "s")
