from __future__ import annotations

import csv
import logging
import math
import os
import signal
import sys

import pytest
import torch
from training_helpers import tiny_config

from gsp_unroll.data.images import find_images
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.models import load_pretrained
from gsp_unroll.models.build import build
from gsp_unroll.training import (
    StateError,
    TrainingDiverged,
    TrainingInterrupted,
    load_config,
    load_state,
    train,
)
from gsp_unroll.training import loop as loop_module


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _weights(folder):
    state = load_state(folder / "state.pt")
    return {**state["model"], **{f"ema.{k}": v for k, v in state["ema"]["weights"].items()}}


def _same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_learns_and_leaves_everything(photos, tmp_path):
    options = {"steps": 40, "batch": 4, "lr": 5e-3, "warmup": 1, "ema": 0.5}
    config = tiny_config(photos, model={"name": "uglr"}, train=options)
    out = tmp_path / "run"
    result = train(config, out)
    assert result.steps == 40
    assert result.bad_steps == 0
    assert result.skipped_images == {}
    assert result.is_main
    names = {path.name for path in out.iterdir()}
    assert names == {
        "config.yaml",
        "state.pt",
        "best.safetensors",
        "last.safetensors",
        "train.csv",
        "validation.csv",
    }
    assert load_config(out / "config.yaml") == config
    rows = _rows(out / "train.csv")
    assert [int(row["step"]) for row in rows] == list(range(2, 41, 2))
    validations = _rows(out / "validation.csv")
    assert [int(row["step"]) for row in validations] == [*range(3, 40, 3), 40]
    assert {row["protocol"] for row in validations} == {"usual"}
    assert float(validations[-1]["psnr"]) > float(validations[0]["psnr"]) + 0.2
    best = max(validations, key=lambda row: float(row["psnr"]))
    assert result.best_psnr == pytest.approx(float(best["psnr"]), abs=1e-5)
    assert result.best_step == int(best["step"])


def test_the_saved_weights_are_the_average_and_usable(photos, tmp_path):
    train(tiny_config(photos), tmp_path / "run")
    model = load_pretrained(tmp_path / "run" / "last.safetensors")
    average = load_state(tmp_path / "run" / "state.pt")["ema"]["weights"]
    assert _same({k: v.data for k, v in model.named_parameters()}, average)
    y = torch.rand(1, 3, 9, 11)
    mask = torch.rand(1, 3, 9, 11) > 0.5
    restored = model(y, mask)
    assert torch.equal(restored[mask], y[mask])


def test_two_runs_and_any_number_of_workers_agree_bit_for_bit(photos, tmp_path):
    for workers in (0, 1, 3):
        train(tiny_config(photos, data={"workers": workers}), tmp_path / str(workers))
    first = _weights(tmp_path / "0")
    assert _same(first, _weights(tmp_path / "1"))
    assert _same(first, _weights(tmp_path / "3"))
    train(tiny_config(photos, train={"seed": 1}), tmp_path / "seed")
    assert not _same(first, _weights(tmp_path / "seed"))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(
    photos, tmp_path, monkeypatch, optimizer
):
    def make(keep_directions=False, **changes):
        model = {"maps": 8, "keep_directions": keep_directions}
        return tiny_config(photos, train={"optimizer": optimizer}, model=model, **changes)

    train(make(), tmp_path / "whole")
    for step in (1, 3, 4):
        out = tmp_path / f"cut{step}"
        _interrupt_after(step, monkeypatch)
        with pytest.raises(TrainingInterrupted, match=f"SIGTERM after step {step}.*state.pt") as e:
            train(make(), out)
        assert e.value.exit_code == 143
        monkeypatch.undo()
        # How a run is carried out may change at a resume.
        result = train(make(True, data={"workers": 0}), out, resume=True)
        assert result.steps == 6
        assert _same(_weights(tmp_path / "whole"), _weights(out))
        for name in ("train.csv", "validation.csv"):
            whole, cut = _rows(tmp_path / "whole" / name), _rows(out / name)
            for row in (*whole, *cut):
                row.pop("seconds")
            assert whole == cut
        for name in ("best", "last"):
            a = load_pretrained(tmp_path / "whole" / f"{name}.safetensors").state_dict()
            assert _same(a, load_pretrained(out / f"{name}.safetensors").state_dict())


def _interrupt_after(step, monkeypatch):
    original = loop_module._Trainer._step

    def interrupting(self, batch, done):
        original(self, batch, done)
        if self.now.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop_module._Trainer, "_step", interrupting)


def test_a_signal_during_validation_postpones_the_validation(photos, tmp_path, monkeypatch):
    train(tiny_config(photos), tmp_path / "whole")
    original = loop_module.squared_errors

    def interrupting(model, items, device, stop):
        os.kill(os.getpid(), signal.SIGINT)
        return original(model, items, device, stop)

    monkeypatch.setattr(loop_module, "squared_errors", interrupting)
    with pytest.raises(TrainingInterrupted, match="SIGINT after step 3") as caught:
        train(tiny_config(photos), tmp_path / "cut")
    assert caught.value.exit_code == 130
    assert _rows(tmp_path / "cut" / "validation.csv") == []
    monkeypatch.undo()
    train(tiny_config(photos), tmp_path / "cut", resume=True)
    psnrs = [[r["psnr"] for r in _rows(tmp_path / n / "validation.csv")] for n in ("whole", "cut")]
    assert psnrs[0] == psnrs[1]
    assert len(psnrs[0]) == 2


def test_resuming_a_finished_run_changes_nothing(photos, tmp_path):
    first = train(tiny_config(photos), tmp_path / "run")
    before = _weights(tmp_path / "run")
    again = train(tiny_config(photos), tmp_path / "run", resume=True)
    assert again.steps == first.steps
    assert again.best_psnr == first.best_psnr
    assert _same(before, _weights(tmp_path / "run"))
    assert len(_rows(tmp_path / "run" / "validation.csv")) == 2


def test_resume_without_a_state_starts(photos, tmp_path):
    assert train(tiny_config(photos), tmp_path / "new", resume=True).steps == 6


def test_a_run_is_not_overwritten(photos, tmp_path):
    train(tiny_config(photos), tmp_path / "run")
    with pytest.raises(StateError, match="already holds a run"):
        train(tiny_config(photos), tmp_path / "run")


def test_another_configuration_is_refused_at_resume(photos, tmp_path):
    train(tiny_config(photos), tmp_path / "run")
    other = tiny_config(photos, train={"lr": 0.5}, model={"maps": 8})
    with pytest.raises(StateError, match=r"model\.maps: saved 4, now 8; train\.lr: saved 0\.001"):
        train(other, tmp_path / "run", resume=True)


def test_the_saved_configuration_is_the_one_that_the_run_goes_on_with(photos, tmp_path):
    train(tiny_config(photos), tmp_path / "run")
    later = tiny_config(photos, train={"save_minutes": 5.0})
    train(later, tmp_path / "run", resume=True)
    assert load_config(tmp_path / "run" / "config.yaml") == later


def test_other_images_are_refused_at_resume(photos, tmp_path):
    train(tiny_config(photos), tmp_path / "run")
    (photos / "3.png").rename(photos / "4.png")
    with pytest.raises(StateError, match=r"training images are others.*3 then, 3 now"):
        train(tiny_config(photos), tmp_path / "run", resume=True)


def test_a_corrupt_state_is_named(photos, tmp_path):
    train(tiny_config(photos), tmp_path / "run")
    state = tmp_path / "run" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(StateError, match=r"run/state\.pt cannot be read"):
        train(tiny_config(photos), tmp_path / "run", resume=True)


def test_steps_that_are_not_finite_are_skipped_and_counted(photos, tmp_path, monkeypatch, caplog):
    _poison({2, 3, 5}, monkeypatch)
    result = train(tiny_config(photos), tmp_path / "run")
    assert result.bad_steps == 3
    assert all(torch.isfinite(value).all() for value in _weights(tmp_path / "run").values())
    assert _rows(tmp_path / "run" / "train.csv")[-1]["bad_steps"] == "3"
    assert "step 2 skipped: its gradient is not finite" in caplog.text


def test_too_many_of_them_in_a_row_end_the_run(photos, tmp_path, monkeypatch):
    _poison(set(range(2, 100)), monkeypatch)
    config = tiny_config(photos, train={"max_bad_steps": 2})
    with pytest.raises(TrainingDiverged, match=r"3 steps in a row, up to step 4.*max_bad_steps"):
        train(config, tmp_path / "run")


def _poison(steps, monkeypatch):
    original = loop_module._Trainer._step

    def poisoned(self, batch, done):
        if self.now.step + 1 in steps:
            batch = {**batch, "truth": batch["truth"] * float("nan")}
        original(self, batch, done)

    monkeypatch.setattr(loop_module._Trainer, "_step", poisoned)


def test_a_bad_image_never_ends_a_run(photos, tmp_path, caplog):
    victim = photos / "1.png"
    victim.write_bytes(victim.read_bytes()[:-300])
    with caplog.at_level(logging.INFO):
        result = train(tiny_config(photos), tmp_path / "run")
    assert result.steps == 6
    assert list(result.skipped_images) == [str(victim)]
    assert str(victim) in caplog.text
    assert "0 steps and 1 images skipped" in caplog.text


def test_time_budget_ends_the_run_and_is_spent_only_once(photos, tmp_path):
    # What is loaded at the first step must not spend the budget.
    train(tiny_config(photos, train={"steps": 1}), tmp_path / "first")
    config = tiny_config(photos, train={"steps": 10**6, "max_minutes": 0.02})
    result = train(config, tmp_path / "run")
    assert 0 < result.steps < 10**5
    assert result.seconds >= 1.2
    rates = [float(row["lr"]) for row in _rows(tmp_path / "run" / "train.csv")]
    assert rates[-1] < 0.1 * max(rates)
    again = train(config, tmp_path / "run", resume=True)
    assert again.steps == result.steps


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_and_keeps_samples_exact(photos, tmp_path, precision):
    config = tiny_config(photos, train={"precision": precision, "loss": "l1"})
    result = train(config, tmp_path / "run")
    assert result.steps == 6
    assert all(torch.isfinite(value).all() for value in _weights(tmp_path / "run").values())
    # The image itself must not be rounded to bfloat16: bilinear alone would lose decibels.
    plain = train(tiny_config(photos, train={"loss": "l1"}), tmp_path / "plain")
    assert result.best_psnr == pytest.approx(plain.best_psnr, abs=0.2)


@pytest.mark.parametrize(
    ("precision", "capability", "warns"),
    [("bf16-mixed", "AVX2", True), ("bf16-mixed", "AVX512", False), ("32-true", "AVX2", False)],
)
def test_half_precision_that_is_emulated_is_warned_of(
    photos, tmp_path, monkeypatch, caplog, precision, capability, warns
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    train(tiny_config(photos, train={"precision": precision, "steps": 1}), tmp_path / "run")
    assert ("use train.precision=32-true" in caplog.text) == warns


def test_scaler_state_survives_a_resume(photos, tmp_path, monkeypatch):
    config = tiny_config(photos, train={"precision": "16-mixed"})
    train(config, tmp_path / "whole")
    _interrupt_after(3, monkeypatch)
    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "cut")
    monkeypatch.undo()
    train(config, tmp_path / "cut", resume=True)
    assert _same(_weights(tmp_path / "whole"), _weights(tmp_path / "cut"))
    assert load_state(tmp_path / "cut" / "state.pt")["scaler"]["scale"] > 0


def test_built_in_photographs_and_the_other_tasks(tmp_path):
    for task, channels in [({"name": "interpolate"}, 1), ({"name": "inpaint"}, 3)]:
        config = tiny_config(
            None,
            task={**task, "noise_sigma": 0.02},
            model={"in_channels": channels, "name": "uglr"},
            train={"steps": 2},
        )
        assert train(config, tmp_path / task["name"]).steps == 2


def test_the_number_of_threads_is_set(photos, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(loop_module.torch, "set_num_threads", asked.append)
    train(tiny_config(photos), tmp_path / "default")
    assert asked == []
    train(tiny_config(photos, train={"threads": 3}), tmp_path / "three")
    assert asked == [3]


def test_without_validation_the_last_weights_are_the_best(photos, tmp_path):
    result = train(tiny_config(photos, data={"holdout": 0}), tmp_path / "run")
    assert result.best_psnr is None
    assert result.best_step == 6
    assert load_pretrained(result.weights) is not None


def test_missing_engine_names_the_extra(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    with pytest.raises(ImportError, match=r"gsp-unroll\[train\]"):
        train(tiny_config(photos), tmp_path / "run")


def test_tensorboard_is_optional(photos, tmp_path):
    config = tiny_config(photos, train={"tensorboard": True})
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"gsp-unroll\[tensorboard\]"):
            train(config, tmp_path / "run")
    else:
        train(config, tmp_path / "run")
        assert list((tmp_path / "run" / "tensorboard").glob("events*"))


@pytest.mark.parametrize(
    "option",
    [
        {"augment": False},
        {"distinct": 1},
        {"saturation": 2.0},
        {"recolour": 1.0},
        {"shrink": 1.0},
        {"blur": 1.0},
        {"framed": 1.0},
        {"candidates": 3},
        {"patch": 14},
    ],
)
def test_what_the_configuration_says_of_the_patches_is_done(photos, tmp_path, option):
    train(tiny_config(photos, train={"steps": 2}), tmp_path / "plain")
    train(tiny_config(photos, data=option, train={"steps": 2}), tmp_path / "other")
    assert not _same(_weights(tmp_path / "plain"), _weights(tmp_path / "other"))


@pytest.mark.parametrize("loss", ["mse", "l1", "rmse"])
def test_the_loss_of_a_patch_is_weighted(photos, tmp_path, loss):
    config = tiny_config(
        photos,
        data={"candidates": 4, "holdout": 0},
        train={"steps": 1, "log_every": 1, "loss": loss},
    )
    train(config, tmp_path / "run")
    torch.manual_seed(config.train.seed)
    network = build(config.model)
    patches = PatchDataset(
        find_images(photos), config.task.build(), patch=12, length=2, candidates=4
    )
    expected, squared, weights = 0.0, 0.0, set()
    for item in (patches[0], patches[1]):
        with torch.no_grad():
            error = network(item["y"][None], item["mask"][None]) - item["truth"]
        mse = error.square().mean()
        size = {"mse": mse, "l1": error.abs().mean(), "rmse": (mse + 1e-6).sqrt()}[loss]
        expected += 0.5 * float(item["weight"] * size)
        squared += 0.5 * float(item["weight"] * error.square().mean())
        weights.add(float(item["weight"]))
    assert 1.0 not in weights
    row = _rows(tmp_path / "run" / "train.csv")[0]
    assert float(row["loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(row["psnr"]) == pytest.approx(-10 * math.log10(squared), abs=1e-3)
