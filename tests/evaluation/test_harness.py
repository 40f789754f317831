from __future__ import annotations

import csv
import json
import math

import pytest
import torch

from gsp_unroll.data import write_image
from gsp_unroll.evaluation import (
    PROTOCOLS,
    EvaluationError,
    Method,
    Source,
    builtin_sources,
    evaluate,
    folder_sources,
    format_report,
    resolve_methods,
    write_report,
)
from gsp_unroll.observe import Task, fill_in

TASK = Task("demosaic")
BOTH = list(PROTOCOLS.values())


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name, size in (("a.png", (12, 13)), ("b.webp", (9, 8)), ("sub/c.tif", (16, 16))):
        write_image(tmp_path / name, torch.rand(3, *size, generator=generator))
    return tmp_path


def run(folder, task=TASK, names=("bilinear", "malvar"), **options):
    return evaluate(folder_sources(folder), task, resolve_methods([*names], task), BOTH, **options)


def fill(name="fill"):
    return Method(name, lambda y, mask: fill_in(y, mask))


def values(report):
    return {
        (r.image, r.method): (r.scores["paper"].mse, r.scores["paper"].ssim) for r in report.rows
    }


def test_every_image_meets_every_method(folder):
    report = run(folder)
    assert [(r.image, r.method) for r in report.rows] == [
        (image, method)
        for image in ("a.png", "b.webp", "sub/c.tif")
        for method in ("bilinear", "malvar")
    ]
    assert report.images == 3
    assert report.megapixels == pytest.approx((12 * 13 + 9 * 8 + 16 * 16) / 1e6)
    assert all(r.seconds > 0 for r in report.rows)


def test_summaries_follow_the_protocols(folder):
    report = run(folder)
    by_key = {(s.method, s.protocol): s for s in report.summaries()}
    assert len(by_key) == 4
    errors = [r.scores["paper"].mse for r in report.rows if r.method == "malvar"]
    paper, usual = by_key["malvar", "paper"], by_key["malvar", "usual"]
    assert paper.psnr == pytest.approx(-10 * math.log10(sum(errors) / 3))
    assert usual.psnr == pytest.approx(sum(-10 * math.log10(e) for e in errors) / 3)
    assert paper.psnr < usual.psnr
    assert paper.images == 3


def test_bad_files_are_skipped_named_and_counted(folder):
    good = values(run(folder))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (folder / "cut.jpg").write_bytes(
        write_image(folder / "x.jpg", torch.rand(3, 64, 64)).read_bytes()[:300]
    )
    (folder / "x.jpg").unlink()
    write_image(folder / "one.png", torch.rand(3, 1, 1))
    report = run(folder)
    assert values(report) == good
    assert [s.image for s in report.skipped] == ["broken.png", "cut.jpg", "one.png"]
    text = format_report(report)
    assert "skipped 3 of 6 images" in text
    for name in ("broken.png", "cut.jpg", "one.png"):
        assert name in text
    assert "1 x 1" in report.skipped[2].reason


def test_grey_alpha_and_16_bit_files_are_evaluated(tmp_path):
    write_image(tmp_path / "grey.png", torch.rand(1, 9, 9))
    write_image(tmp_path / "deep.png", torch.rand(3, 9, 9), bits=16)
    report = run(tmp_path, Task("interpolate"), ["bilinear", "bicubic"])
    assert report.images == 2
    assert not report.skipped


def test_an_image_one_method_fails_on_is_left_out_for_all(folder):
    def picky(y, mask):
        if y.shape[-1] == 8:
            raise ValueError("width 8\nis unlucky")
        return fill_in(y, mask)

    report = evaluate(folder_sources(folder), TASK, [fill(), Method("picky", picky)], BOTH)
    assert {r.image for r in report.rows} == {"a.png", "sub/c.tif"}
    assert report.skipped[0].image == "b.webp"
    assert report.skipped[0].reason == "picky: width 8 is unlucky"


def test_a_wrong_result_shape_is_an_error_with_its_reason(folder):
    crop = Method("crop", lambda y, mask: y[..., 1:])
    with pytest.raises(EvaluationError, match=r"none of the 3 images.*a\.png: crop: estimate"):
        evaluate(folder_sources(folder), TASK, [crop], BOTH)


def test_a_bug_in_a_method_is_not_swallowed(folder):
    def bug(y, mask):
        raise KeyError("bug")

    with pytest.raises(KeyError):
        evaluate(folder_sources(folder), TASK, [Method("bug", bug)], BOTH)


def test_a_diverged_method_stays_in_the_table(folder, tmp_path):
    nan = Method("nan", lambda y, mask: y * math.nan)
    report = evaluate(folder_sources(folder), TASK, [fill(), nan], BOTH)
    assert report.images == 3
    assert math.isnan(report.summaries()[-1].psnr)
    assert "nan" in format_report(report)
    paths = write_report(report, tmp_path / "out")
    summary = json.loads(paths[-1].read_text())["summary"]  # strict JSON
    assert summary[-1]["psnr"] == "nan"


@pytest.mark.parametrize("task", [TASK, Task("inpaint")])
def test_noise_and_masks_belong_to_the_image_not_to_its_position(folder, task):
    whole = values(run(folder, task, ["bilinear"], noise_sigma=0.1, seed=3))
    methods = resolve_methods(["bilinear"], task)
    last = folder_sources(folder)[-1:]
    alone = evaluate(last, task, methods, BOTH, noise_sigma=0.1, seed=3)
    assert values(alone).items() <= whole.items()
    other = evaluate(last, task, methods, BOTH, noise_sigma=0.1, seed=4)
    assert values(other) != values(alone)


def test_a_method_cannot_change_what_the_next_one_sees(folder):
    def vandal(y, mask):
        result = fill_in(y, mask)
        y.zero_()
        mask.fill_(True)
        return result

    both = evaluate(folder_sources(folder), TASK, [Method("vandal", vandal), fill()], BOTH)
    alone = evaluate(folder_sources(folder), TASK, [fill()], BOTH)
    assert values(alone).items() <= values(both).items()


def test_methods_run_without_autograd(folder):
    weight = torch.nn.Parameter(torch.ones(()))
    seen = []

    def watch(y, mask):
        result = fill_in(y, mask) * weight
        seen.append(result.requires_grad or not torch.is_inference_mode_enabled())
        return result

    evaluate(folder_sources(folder), TASK, [Method("watch", watch)], BOTH)
    assert seen
    assert not any(seen)


def test_bad_truth_is_named():
    bad = torch.rand(3, 9, 9)
    bad[0, 4, 4] = math.nan
    sources = [Source("bad", lambda: bad), Source("grey", lambda: torch.rand(1, 9, 9))]
    with pytest.raises(EvaluationError, match=r"none of the 2 images.*bad: truth must be finite"):
        evaluate(sources, TASK, [fill()], BOTH)
    good = Source("good", lambda: torch.rand(3, 9, 9))
    report = evaluate([*sources, good], TASK, [fill()], BOTH)
    assert [s.image for s in report.skipped] == ["bad", "grey"]


def test_wrong_arguments_are_named(folder):
    sources = folder_sources(folder)
    with pytest.raises(ValueError, match=r"distinct names, got 'a.png' more than once"):
        evaluate([*sources, sources[0]], TASK, [fill()], BOTH)
    with pytest.raises(EvaluationError, match="at least one image"):
        evaluate([], TASK, [fill()], BOTH)
    with pytest.raises(ValueError, match="at least one entry"):
        evaluate(sources, TASK, [], BOTH)
    with pytest.raises(ValueError, match="noise_sigma"):
        evaluate(sources, TASK, [fill()], BOTH, noise_sigma=25)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        folder_sources(folder, limit=0)
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no image file"):
        folder_sources(folder / "empty")


def test_builtin_sources_are_the_held_out_photographs():
    sources = builtin_sources("test", limit=1)
    assert [s.name for s in sources] == ["chelsea"]
    assert sources[0].load().shape[0] == 3


def test_text_table_is_aligned_and_states_the_protocols(folder):
    text = format_report(run(folder))
    for protocol in BOTH:
        assert f"protocol {protocol.name}: {protocol.describe()}" in text
    table = [line for line in text.splitlines() if line.startswith(("method", "---", "bil", "mal"))]
    assert len(table) == 4
    assert len({len(line) for line in table}) == 1
    assert "PSNR paper [dB]" in table[0]
    assert "SSIM usual" in table[0]


def test_markdown_table_has_equal_columns(folder):
    text = format_report(run(folder), "markdown")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
    with pytest.raises(ValueError, match="layout"):
        format_report(run(folder), "latex")


def test_files_hold_all_numbers_and_how_to_repeat_them(folder, tmp_path):
    report = run(folder, noise_sigma=0.05, data="my set")
    out = tmp_path / "results" / "deep"
    paths = write_report(report, out, command="the command")
    stem = "demosaic_RGGB_my-set_noise0.05"
    assert [p.name for p in paths] == [f"{stem}_images.csv", f"{stem}_summary.csv", f"{stem}.json"]
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in paths)
    with paths[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2
    first = report.rows[0]
    assert rows[0]["image"] == first.image
    assert rows[0]["protocol"] == "paper"
    assert float(rows[0]["psnr_db"]) == pytest.approx(first.scores["paper"].psnr, abs=1e-6)
    with paths[1].open(newline="") as file:
        summary = list(csv.DictReader(file))
    assert [(s["method"], s["protocol"]) for s in summary] == [
        (m, p) for m in ("bilinear", "malvar") for p in ("paper", "usual")
    ]
    content = json.loads(paths[2].read_text())
    assert content["command"] == "the command"
    assert content["machine"]["packages"]["torch"] == torch.__version__
    assert content["protocols"]["paper"]["psnr_of"] == "mean MSE"
    assert content["task"] == {
        "name": "demosaic",
        "text": "demosaic (CFA RGGB)",
        "noise_sigma": 0.05,
        "seed": 0,
    }
    assert len(content["rows"]) == 6
    assert content["date"]
