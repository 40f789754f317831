"""The scripts that train, evaluate and write pages, on images of a few pixels."""

from __future__ import annotations

import json
import math
import re
import sys

import numpy as np
import pytest
import torch

from gsp_unroll.data.images import builtin_images, read_image, write_image
from gsp_unroll.data.scale import scale_down
from gsp_unroll.models import (
    UGLR,
    UGLRPlus,
    build,
    load_pretrained,
    pretrained_metadata,
    save_pretrained,
    shipped_weights,
)
from gsp_unroll.models.shipped import FOLDER
from gsp_unroll.training import config_from_mapping, load_config, save_config, train
from gsp_unroll.training.sources import central_square


@pytest.fixture
def photos(tmp_path):
    """``mcm`` and ``kodak`` with one image each."""
    torch.manual_seed(0)
    resize = torch.nn.functional.interpolate
    for name in ("mcm", "kodak"):
        smooth = resize(torch.rand(1, 3, 4, 4), size=(24, 26), mode="bicubic")[0].clamp(0, 1)
        write_image(tmp_path / "photos" / name / "one.png", smooth)
    return tmp_path / "photos"


@pytest.mark.filterwarnings("ignore")
def test_ablations_go_on_where_they_stopped_and_are_drawn(load, tmp_path, monkeypatch, capsys):
    out = tmp_path / "ablations.json"
    ablations = load("ablations")
    arguments = ["--quick", "--threads", "1", "--out", str(out), "--seeds", "1"]
    ablations.main([*arguments, "--groups", "prior"])
    first = json.loads(out.read_text())
    assert first["rows"][0]["changes"] == []
    assert len(first["rows"]) == 3
    capsys.readouterr()
    ablations.main([*arguments, "--groups", "prior", "loss"])
    second = json.loads(out.read_text())
    assert second["rows"][:3] == first["rows"]
    assert capsys.readouterr().out.count("seed 0") == 1  # the base is a row of both groups
    row = second["rows"][0]
    assert row["parameters"] > 0
    assert len(row["graph"]) == len(row["by_image"]) > 0
    page = load("experiments_page")
    assert page.group_table(second, "prior").count("\n") == 4
    # One seed has no spread; the base is a row of other groups, too, but compares nothing there.
    assert "±" not in page.group_table(second, "prior")
    again = {**second, "rows": [*second["rows"], {**row, "seed": 1, "psnr": row["psnr"] + 1}]}
    assert "± 0.50" in page.group_table(again, "prior")
    assert page.group_table(second, "blocks") == "Not measured yet."
    assert page.group_table(None, "blocks") == "Not measured yet."
    plots = pytest.importorskip("matplotlib") and load("plots")
    plots.ablations(second).savefig(tmp_path / "figure.png")
    plots.plt.close("all")


@pytest.mark.filterwarnings("ignore")
def test_weather_goes_on_where_it_stopped_and_is_compared(load, tmp_path, capsys):
    out = tmp_path / "weather.json"
    weather, page = load("weather"), load("weather_page")
    arguments = ["--quick", "--threads", "1", "--out", str(out), "--only"]
    weather.main([*arguments, "nearest", "mean"])
    first = json.loads(out.read_text())
    weather.main([*arguments, "kriging: position", "uGLR, elsewhere"])
    second = json.loads(out.read_text())
    assert all(second["runs"][name] == first["runs"][name] for name in first["runs"])
    row = second["rows"]["us winter 30%"]
    assert first["rows"]["us winter 30%"].items() < row.items()
    assert len(row["uGLR, elsewhere"]) == 2
    name, best = page.best_baseline(row)
    assert name.startswith("kriging")
    assert best == min(sum(errors) / 2 for kind, errors in row.items() if kind != "uGLR, elsewhere")
    assert page.country_table(second["rows"], "australia").count("\n") == len(row) + 1
    assert "%" in page.summary(second["rows"])
    assert page.country_table({}, "us") == page.summary({}) == "Not measured yet."


def test_the_held_out_months_are_never_learned_from(load):
    weather, data = load("weather"), load("weather_data")
    stations = weather.load_stations("us")
    poisoned = weather.dataclasses.replace(stations, days=stations.days.clone())
    poisoned.days[torch.isin(stations.month, torch.tensor([1, 7]))] = float("inf")
    assert all(torch.from_numpy(y).nan_to_num().isfinite().all() for y in data.training(poisoned))
    assert all(
        (a == b).all() for a, b in zip(data.climate(poisoned), data.climate(stations), strict=True)
    )


def test_a_blurred_image_falls_off_as_its_gaussian(load):
    softness = load("softness")
    noise = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
    sharp, soft = (softness.roll_off(image) for image in (noise, softness.blur(noise, 0.6)))
    assert abs(sharp) < 0.3
    point = torch.zeros(3, 256, 256)
    point[:, 128, 128] = 1
    response = torch.fft.fft2(softness.blur(point, 0.6)[0].double()).abs().square()
    frequency = torch.fft.fftfreq(256).abs()
    frequency = torch.maximum(frequency[:, None], frequency)
    middle = response[(frequency >= 0.125) & (frequency < 0.25)].mean()
    expected = 10 * math.log10(middle / response[frequency >= 0.375].mean())
    assert soft == pytest.approx(expected, abs=0.3)


def test_softness_is_measured_and_shown(load, photos, tmp_path):
    out = tmp_path / "softness.json"
    options = ["--quick", "--threads", "1", "--tasks", "interpolate", "--out", str(out)]
    options += ["--folders", str(photos)]
    load("softness").main([*options, "--methods", "bicubic", "demosaicnet"])
    result = json.loads(out.read_text())
    assert [row["method"] for row in result["rows"]] == ["bicubic"]  # the other knows mosaics only
    with pytest.raises(ValueError, match="did you mean 'bicubic'"):
        load("softness").main([*options, "--methods", "bicubbic"])
    assert list(result["roll_off"]) == [photos.name]
    sharp, soft = result["rows"][0]["psnr"]
    assert sharp + 2 < soft
    text = load("experiments_page").softness_table(result, "interpolate")
    assert f"| bicubic | {sharp:.2f} | {soft:.2f} |" in text
    assert "bicubic" not in load("experiments_page").softness_table(result, "demosaic")


def test_the_error_of_each_border_is_a_share_of_all(load):
    error = torch.full((3, 8, 10), 1.0)
    error[:, -1] = 3.0
    found = load("border").errors(error, 2)
    total = 3 * (7 * 10 + 9 * 10)
    assert found["all"] == pytest.approx(total / 240)
    assert found["within"] == pytest.approx(1.0)
    assert found["top"] == pytest.approx(3 * 20 / 240)
    assert found["bottom"] == pytest.approx(3 * (10 + 90) / 240)
    assert found["left"] == found["right"] == pytest.approx(3 * 2 * (7 + 9) / 240)


def test_the_border_is_measured_and_shown(load, tmp_path):
    out = tmp_path / "border.json"
    options = ["--quick", "--threads", "1", "--tasks", "interpolate", "--out", str(out)]
    load("border").main([*options, "--methods", "bicubic", "demosaicnet"])
    result = json.loads(out.read_text())
    [row] = result["rows"]
    task = load("softness").Task.from_name("interpolate")
    images = [image[:, -32:, -32:] for image in list(builtin_images().values())[:2]]
    restore = load("softness").resolve_method("bicubic", task).restore
    assert row["psnr"] == pytest.approx(load("softness").psnr(restore, task, images), abs=1e-4)
    text = load("experiments_page").border_table(result, "interpolate")
    assert f"| bicubic | {row['psnr']:.2f} | {row['psnr_within']:.2f} |" in text
    assert f" {100 * row['share']['bottom']:.1f} % |" in text
    with pytest.raises(SystemExit):
        load("border").main([*options, "--lines", "16"])


def test_blocks_are_left_out_one_by_one(load, tmp_path):
    size = {"blocks": 3, "layers": 1, "cg_steps": 2, "heads": 1, "features": 2, "maps": 4}
    torch.manual_seed(0)
    model = UGLRPlus(3, **size, carry=True, repeats=1)
    path = save_pretrained(model, tmp_path / "net.safetensors", {"task": "demosaic (CFA RGGB)"})
    out = tmp_path / "left_out.json"
    options = ["--quick", "--threads", "1", "--out", str(out), "--weights", str(path)]
    script = load("left_out")
    script.main(options)
    result = json.loads(out.read_text())
    [row] = result["rows"]
    assert list(row["without"]) == ["1", "2", "3"]
    images = script.squares(None, 16)
    task = script.Task.from_name("demosaic")

    def whole():
        return script.psnr(lambda y, mask: model(y[None], mask[None])[0], task, images)

    assert row["psnr"] == pytest.approx(whole(), abs=1e-6)
    with torch.no_grad():
        model.blocks[2].skip.zero_()
        model.blocks[2].skips_again.zero_()
    assert row["without"]["3"] == pytest.approx(whole(), abs=1e-6)
    assert row["without"]["3"] != row["psnr"] != row["without"]["2"]
    assert list(row["without_maps"]) == ["1", "2"]
    model.load_state_dict(load_pretrained(path).state_dict())
    with torch.no_grad():
        model.blocks[1].features.carry.zero_()
    assert row["without_maps"]["1"] == pytest.approx(whole(), abs=1e-6)
    text = load("experiments_page").left_out_table(result)
    assert "central squares of 16 x 16" in text
    losses = (f"{row['psnr'] - row['without'][number]:.2f}" for number in "123")
    assert f"| {row['psnr']:.2f} | {' | '.join(losses)} |" in text
    maps = load("experiments_page").left_out_table({**result, "rows": [row]}, "maps of block")
    assert "| lost without maps of block 1 | lost without maps of block 2 |" in maps


def test_the_pages_have_a_place_for_every_table(load):
    page = load("experiments_page")
    text = page.PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- table: {group} -->" in text for group in load("ablations").GROUPS)
    tables = [f"{name}, {task}" for name in ("softness", "border") for task in page.TASKS]
    assert all(f"<!-- table: {name} -->" in text for name in tables)
    assert all(f"<!-- table: {what} left out -->" in text for what in ("blocks", "maps"))
    page = load("results_page")
    text = page.PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- table: {name} -->" in text for name in page.tables())


@pytest.mark.filterwarnings("ignore")
def test_evaluations_become_tables_and_name_no_folder(load, photos, tmp_path, monkeypatch, capsys):
    pytest.importorskip("colour_demosaicing")
    script, page = load("evaluate_all"), load("results_page")
    methods = ["--methods", ",".join(["bilinear", "menon", *shipped_weights("demosaic")])]
    # Without those that not every machine has.
    noisy = [*methods, "--noise", "10/255"]
    monkeypatch.setattr(script, "experiments", lambda: {"demosaic": methods, "noise10": noisy})
    out = tmp_path / "results"
    arguments = ["evaluate_all.py", "--data", str(photos), "--out", str(out), "--threads", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    assert script.main() == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "demosaic_kodak.json",
        "demosaic_mcm.json",
        "noise10_kodak.json",
        "noise10_mcm.json",
    ]
    text = (out / "demosaic_mcm.json").read_text()
    assert str(tmp_path) not in text
    (run,) = json.loads(text)["runs"]
    assert run["command"].startswith("python -m gsp_unroll evaluate --data DIR/mcm")
    assert run["methods"]["menon"] is None
    assert all(run["methods"][name] for name in shipped_weights("demosaic"))
    capsys.readouterr()
    assert script.main() == 0  # nothing is measured twice
    assert capsys.readouterr().err.count("is there") == 4
    # Other weights under a name: only what uses them is measured again.
    name = shipped_weights("demosaic")[0]
    fingerprint = script.fingerprint
    monkeypatch.setattr(
        script, "fingerprint", lambda method: "new" if method == name else fingerprint(method)
    )
    monkeypatch.setattr(page, "RESULTS", out)
    monkeypatch.setattr(page, "to_measure", script.to_measure)
    assert f"**{name}**" not in page.main_table("demosaic")
    assert script.main() == 0
    assert f"**{name}**" in page.main_table("demosaic")
    first, second = json.loads((out / "demosaic_mcm.json").read_text())["runs"]
    assert name not in first["methods"]
    assert second["methods"] == {name: "new"}
    again = json.loads((out / "demosaic_mcm.json").read_text())
    for part in ("summary", "rows"):
        names = [[row["method"] for row in found[part]] for found in (json.loads(text), again)]
        assert names[0] == names[1]
    table = page.main_table("demosaic")
    assert "Menon 2007" in table
    assert "36.59" in table  # the published row
    assert all(name in table for name in shipped_weights("demosaic"))
    shifted = page.shift_table({"demosaic": "no noise", "noise10": "sigma 10/255"})
    assert "1 images | no noise | sigma 10/255 |" in shifted
    clean, noisy = shifted.splitlines()[2].split("|")[2:4]
    assert float(clean) > float(noisy) > 0
    assert page.main_table("interpolate").count("Not measured yet.") == 2


def test_the_share_of_a_run_is_chosen_by_validation(load, tmp_path, photos, capsys):
    script = load("choose_share")
    size = {"blocks": 1, "layers": 1, "cg_steps": 2, "heads": 1, "features": 2, "maps": 4}
    run, before = tmp_path / "run", tmp_path / "before.safetensors"
    data = {"folder": str(photos), "holdout": 1, "validation_crop": 16}
    config = config_from_mapping({"model": {"name": "uglr", **size}, "data": data})
    run.mkdir()
    save_config(run / "config.yaml", config)
    torch.manual_seed(1)
    save_pretrained(UGLR(3, **size), before)
    save_pretrained(UGLR(3, **size), run / "best.safetensors")
    others = ["--validation", str(photos / "kodak"), "--methods", "bilinear"]
    script.main([str(before), "--run", str(run), *others])
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header[-2:] == ["kodak", "mean"]
    assert rows[-1][0] == "bilinear"
    bilinear = [float(cell) for cell in rows.pop()[1:]]
    scores = [[float(cell) for cell in row] for row in rows]
    assert [row[0] for row in scores] == list(script.SHARES)
    assert all(row[7] == pytest.approx(sum(row[1:7]) / 6, abs=0.02) for row in scores)
    # The ends are the two networks.
    [item] = script.load_held_out([photos / "kodak" / "one.png"], config)
    for row, path in ((scores[0], before), (scores[-1], run / "best.safetensors")):
        with torch.no_grad():
            error = (load_pretrained(path)(item.y, item.mask) - item.truth).square().mean()
        assert row[6] == pytest.approx(-10 * math.log10(float(error)), abs=0.006)
    method = script.resolve_methods(["bilinear"], config.task.build())[0]
    error = (method.restore(item.y[0], item.mask[0]) - item.truth[0]).square().mean()
    assert bilinear[5] == pytest.approx(-10 * math.log10(float(error)), abs=0.006)
    strong = script.in_strong_colours(item, 0)
    assert torch.equal(strong.y, torch.where(item.mask, strong.truth, 0))
    assert not torch.equal(strong.truth, item.truth)
    framed = script.framed(item, 0)
    assert torch.equal(framed.y, torch.where(item.mask, framed.truth, 0))
    assert not torch.equal(framed.truth, item.truth)
    [small] = script.scaled_down([photos / "kodak" / "one.png"], config)
    whole = central_square(read_image(photos / "kodak" / "one.png"), 32)
    assert torch.equal(small.truth[0], scale_down(whole, *(side // 2 for side in whole.shape[1:])))
    assert torch.equal(small.mask, item.mask[..., : small.mask.shape[2], : small.mask.shape[3]])
    assert torch.equal(small.y, torch.where(small.mask, small.truth, 0))


def test_a_run_becomes_shipped_weights_with_a_card(load, tmp_path, monkeypatch):
    script = load("ship_weights")
    run = tmp_path / "run"
    part = {"images": "photos", "steps": 7, "minutes": 90.0}
    model = UGLR(3, blocks=1, layers=1, cg_steps=2, heads=1, features=2, maps=4)
    metadata = {"task": "demosaic (CFA RGGB)", "history": json.dumps([part])}
    save_pretrained(model, run / "best.safetensors", metadata)
    (run / "config.yaml").write_text("task:\n  name: demosaic\n")
    monkeypatch.setattr(script, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr("sys.argv", ["ship_weights.py", "uglr-tiny", "--run", str(run)])
    script.main()
    card = (tmp_path / "weights" / "uglr-tiny.md").read_text()
    parameters = sum(p.numel() for p in model.parameters())
    assert f"UGLR with {parameters:,} parameters" in card
    assert "1.5 hours" in card
    assert "  name: demosaic" in card
    shipped = tmp_path / "weights" / "uglr-tiny.safetensors"
    first = load_pretrained(shipped).state_dict()
    # Another run, which counts for a quarter.
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 2.0)
    save_pretrained(model, run / "best.safetensors", metadata)
    monkeypatch.setattr("sys.argv", [*sys.argv, "--share", "0.25"])
    script.main()
    for name, value in load_pretrained(shipped).state_dict().items():
        torch.testing.assert_close(value, 0.75 * first[name] + 0.5)
    [entry] = json.loads(pretrained_metadata(shipped)["history"])
    assert entry["share"] == 0.25
    assert "What ships is 0.25 of them" in (tmp_path / "weights" / "uglr-tiny.md").read_text()


def test_the_mean_of_several_runs_becomes_shipped_weights(load, tmp_path, monkeypatch):
    script = load("ship_weights")
    size = {"blocks": 2, "layers": 1, "cg_steps": 2, "heads": 1, "features": 2, "maps": 4}
    models, runs = [], [tmp_path / "a", tmp_path / "b"]
    for k, run in enumerate(runs):
        torch.manual_seed(k)
        models.append(UGLRPlus(3, **size, carry=True, repeats=1))
        history = [{"minutes": 6.0}, {"minutes": 30.0 * (k + 1)}]
        metadata = {
            "task": "demosaic (CFA RGGB)", "history": json.dumps(history), "validation": "30 dB",
        }  # fmt: skip
        save_pretrained(models[k], run / "best.safetensors", metadata)
        (run / "config.yaml").write_text("task:\n  name: demosaic\n")
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    # What shipped before did not repeat.
    before = UGLRPlus(3, **size, carry=True)
    save_pretrained(before, tmp_path / "uglr-plus-tiny.safetensors")
    arguments = ["ship_weights.py", "uglr-plus-tiny", "--run", *map(str, runs), "--share", "0.5"]
    monkeypatch.setattr("sys.argv", arguments)
    script.main()
    old, *new = (model.state_dict() for model in (before, *models))
    for name, value in load_pretrained(tmp_path / "uglr-plus-tiny.safetensors").named_parameters():
        first = old.get(name, torch.tensor([0.3]))
        torch.testing.assert_close(value, 0.5 * first + 0.25 * (new[0][name] + new[1][name]))
    metadata = pretrained_metadata(tmp_path / "uglr-plus-tiny.safetensors")
    assert [part["minutes"] for part in json.loads(metadata["history"])] == [6, 30, 60]
    assert [part.get("share") for part in json.loads(metadata["history"])] == [None, 0.5, 0.5]
    card = (tmp_path / "uglr-plus-tiny.md").read_text()
    assert "1.6 hours" in card
    assert "They are the mean of the last 2 runs, side by side. What ships is 0.5 of them" in card
    assert "30 dB" not in card
    assert [part.get("side_by_side") for part in json.loads(metadata["history"])] == [None, 2, 2]
    metadata = pretrained_metadata(runs[0] / "best.safetensors")
    other = UGLRPlus(3, **size, carry=True, repeats=1, window=3)
    save_pretrained(other, runs[1] / "best.safetensors", {**metadata})
    with pytest.raises(ValueError, match=r"networks of one form .* window=5.* window=3"):
        script.main()
    # Two runs from nothing have nothing in common.
    metadata = {"task": "demosaic (CFA RGGB)", "history": json.dumps([{"minutes": 1.0}])}
    for run in runs:
        save_pretrained(models[1], run / "best.safetensors", metadata)
    with pytest.raises(ValueError, match="runs must have begun with the same weights"):
        script.main()


def test_noise_of_gradients_under_importance_sampling(load, photos, tmp_path):
    script = load("gradient_noise")
    torch.manual_seed(0)
    model = UGLR(3, blocks=1, layers=1, cg_steps=2, heads=1, features=2, maps=4)
    dataset = script.PatchDataset(
        script.find_images(photos), script.Task.from_name("demosaic"), patch=12, length=5
    )
    squares, mean, hardness = script.gradients(model, dataset)
    losses = []
    for k in range(5):
        item = dataset[k]
        error = model(item["y"][None], item["mask"][None]) - item["truth"]
        losses.append(error.square().mean())
    single = [_flat_gradient(loss, model) for loss in losses]
    expected = sum(a @ b for i, a in enumerate(single) for b in single[:i]) / 10
    assert mean == pytest.approx(float(expected), rel=1e-3)
    assert squares == pytest.approx([float(g @ g) for g in single], rel=1e-3)
    assert (hardness > 0).all()
    # Taught by itself alone, a network has nothing to learn.
    path = save_pretrained(model.eval(), tmp_path / "net.safetensors")
    teacher = script.Teacher(str(path), 1.0, dataset.task, torch.device("cpu"))
    squares, mean, _ = script.gradients(model, dataset, teacher)
    assert max(squares) < 1e-12
    assert script.noise(np.ones(4), 0.25, np.ones(4), 3, draws=50) == pytest.approx(0.75)
    # One hard patch in ten, which has all of the gradient.
    squares = np.array([1.0] + 9 * [1e-6])
    hardness = np.array([1.0] + 9 * [1e-6])
    alone = script.noise(squares, 0.0, hardness, 1, draws=20_000)
    assert alone == pytest.approx(0.1, rel=0.1)
    # Drawn at every chance of 1 - 0.9 ** 8, with about one eighth of the weight.
    assert script.noise(squares, 0.0, hardness, 8, draws=20_000) < 0.4 * alone


def _flat_gradient(loss: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    parameters = list(model.parameters())
    pieces = torch.autograd.grad(loss, parameters)
    return torch.cat([piece.flatten() for piece in pieces]).double()


def test_a_run_is_begun_again_as_it_was(load, tmp_path):
    """With what was drawn at random, too, around which it has learned."""
    size = {"blocks": 2, "layers": 1, "cg_steps": 2, "heads": 1, "features": 2, "maps": 4}
    before = save_pretrained(UGLRPlus(3, **size), tmp_path / "before.safetensors")
    write_image(tmp_path / "photos" / "a.png", torch.rand(3, 16, 16))
    model = {**size, "name": "uglr-plus", "residual_pairs": 1}
    # A rate that changes nothing.
    options = {"steps": 1, "batch": 1, "seed": 3, "ema": 0, "lr": 1e-30, "init": str(before)}
    data = {"folder": str(tmp_path / "photos"), "holdout": 0, "patch": 12}
    config = config_from_mapping({"model": model, "data": data, "train": options})
    run = train(config, tmp_path / "run").weights
    again = load("ship_weights").begun_with(str(before), config.model, run.parent)
    for name, value in load_pretrained(run).state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-20, rtol=0)
    assert again.blocks[0].features.pairs[0][0].weight.any()


@pytest.mark.parametrize("name", shipped_weights())
def test_the_recipe_of_a_card_is_a_configuration(name, tmp_path):
    card = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(card.split("```yaml\n")[1].split("```")[0])
    config = load_config(path).model
    assert build(config).state_dict().keys() == load_pretrained(name).state_dict().keys()
    for link in re.findall(r"\]\(([^)#]+)\)", card):
        assert link.startswith("http") or (FOLDER / link).exists(), link


def test_a_recipe_leaves_out_what_was_off_and_is_no_more(load):
    lines = ["model:", "  colour: 0", "  blocks: 3", "  tilt: 1", "  bounds:", "  - 0.0", "  - 1.0"]
    lines += ["  repeats: 0", "demo:", "  model.colour: 0", "  train.batch: 4"]
    kept = [line for line in lines if "colour" not in line]
    assert load("ship_weights").recipe("\n".join(lines)).splitlines() == kept
