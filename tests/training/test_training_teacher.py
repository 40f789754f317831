"""Learning from another method beside the truth."""

from __future__ import annotations

import csv

import pytest
import torch
from training_helpers import tiny_config

from gsp_unroll.data.images import find_images
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.evaluation.classical import MethodError
from gsp_unroll.evaluation.methods import resolve_method
from gsp_unroll.models import build, save_pretrained
from gsp_unroll.observe import Task
from gsp_unroll.training import StateError, load_state, train
from gsp_unroll.training.teacher import Teacher

BAYER = Task.from_name("demosaic")


def batch(photos, config):
    dataset = PatchDataset(find_images(photos), BAYER, patch=config.data.patch, seed=0)
    items = [dataset[k] for k in range(config.train.batch)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def first_row(folder):
    with (folder / "train.csv").open(newline="") as file:
        return {key: float(value) for key, value in next(csv.DictReader(file)).items()}


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_teacher_draws_the_truth_to_its_estimate(photos, share):
    found = batch(photos, tiny_config(photos))
    y, mask, truth = found["y"], found["mask"], found["truth"]
    correction = Teacher("menon", share, BAYER, torch.device("cpu")).correction(y, mask, truth)
    menon = resolve_method("menon", BAYER)
    for k in range(len(y)):
        estimate = menon.restore(y[k], mask[k]).float()
        expected = (1 - share) * truth[k] + share * estimate
        free = ~mask[k]
        torch.testing.assert_close((truth[k] + correction[k])[free], expected[free])
        assert not correction[k][mask[k]].any()
        assert correction[k][free].abs().max() > 1e-4


def test_weights_in_a_file_may_teach(photos, tmp_path):
    config = tiny_config(photos)
    network = build(config.model).eval()
    path = save_pretrained(network, tmp_path / "net.safetensors")
    found = batch(photos, config)
    y, mask, truth = found["y"], found["mask"], found["truth"]
    correction = Teacher(str(path), 1.0, BAYER, torch.device("cpu")).correction(y, mask, truth)
    with torch.no_grad():
        torch.testing.assert_close(truth + correction, network(y, mask))


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_the_loss_is_of_the_drawn_truth_and_the_psnr_of_the_truth(photos, tmp_path, loss):
    options = {"steps": 1, "log_every": 1, "loss": loss}
    data = {"holdout": 0}
    plain = tiny_config(photos, data=data, train=options)
    taught = {**options, "teacher": "bilinear", "teacher_share": 0.5}
    config = tiny_config(photos, data=data, train=taught)
    train(plain, tmp_path / "plain")
    train(config, tmp_path / "taught")
    before, after = first_row(tmp_path / "plain"), first_row(tmp_path / "taught")
    assert after["psnr"] == before["psnr"]
    found = batch(photos, config)
    torch.manual_seed(0)
    with torch.no_grad():
        out = build(config.model).train()(found["y"], found["mask"])
    bilinear = resolve_method("bilinear", BAYER)
    estimate = torch.stack(
        [bilinear.restore(y, m) for y, m in zip(found["y"], found["mask"], strict=True)]
    )
    # The samples are what they are, whatever the teacher makes of them.
    estimate = torch.where(found["mask"], found["truth"], estimate.float())
    error = out - 0.5 * (found["truth"] + estimate)
    expected = error.square().mean() if loss == "mse" else error.abs().mean()
    assert after["loss"] == pytest.approx(float(expected), rel=1e-4)
    assert after["loss"] != before["loss"]


def test_a_run_with_a_teacher_resumes_with_it_only(photos, tmp_path):
    options = {"steps": 4, "teacher": "bilinear", "teacher_share": 0.5}
    train(tiny_config(photos, train=options), tmp_path / "run")
    longer = {**options, "teacher_share": 0.25}
    with pytest.raises(StateError, match=r"train\.teacher_share: saved 0\.5, now 0\.25"):
        train(tiny_config(photos, train=longer), tmp_path / "run", resume=True)
    history = load_state(tmp_path / "run" / "state.pt")["config"]["train"]
    assert history["teacher"] == "bilinear"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": "menon"}, "teacher and teacher_share must be given together"),
        ({"teacher_share": 0.5}, "teacher and teacher_share must be given together"),
        ({"teacher": "menon", "teacher_share": 1.5}, r"teacher_share must .*1\.5"),
    ],
)
def test_half_a_teacher_is_refused(photos, options, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(photos, train=options)


def test_a_teacher_that_is_not_there_is_named_before_anything_is_written(photos, tmp_path):
    config = tiny_config(photos, train={"teacher": "mennon", "teacher_share": 0.5})
    with pytest.raises(MethodError, match="did you mean 'menon'"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
