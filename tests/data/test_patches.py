from __future__ import annotations

import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from gsp_unroll.data.images import ImageError
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.data.scale import scale_down
from gsp_unroll.observe import Task

DEMOSAIC = Task.from_name("demosaic", cfa="RGGB")


def _photo(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for k, (height, width) in enumerate([(31, 45), (60, 37), (40, 40)]):
        Image.fromarray(_photo(height, width, k)).save(tmp_path / f"{k}.png")
    return tmp_path


def _paths(folder):
    return sorted(folder.glob("*.*"))


def _equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_item_is_a_function_of_seed_and_index(folder):
    first = PatchDataset(_paths(folder), DEMOSAIC, patch=16, seed=3, cache_bytes=10**6)
    again = PatchDataset(_paths(folder), DEMOSAIC, patch=16, seed=3)
    backwards = [again[i] for i in reversed(range(30))][::-1]
    assert all(_equal(first[i], backwards[i]) for i in range(30))
    other = PatchDataset(_paths(folder), DEMOSAIC, patch=16, seed=4)
    assert not any(_equal(first[i], other[i]) for i in range(30))
    assert len({first[i]["truth"].sum().item() for i in range(30)}) > 25


def test_threads_and_a_worker_process_change_nothing(folder):
    dataset = PatchDataset(_paths(folder), DEMOSAIC, patch=16, length=12, cache_bytes=5000)
    alone = [dataset[i] for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(dataset.__getitem__, range(12)))
    assert all(_equal(a, b) for a, b in zip(alone, threaded, strict=True))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=4, num_workers=1, multiprocessing_context="spawn"
    )
    batched = list(loader)
    for i, item in enumerate(alone):
        batch = {key: value[i % 4] for key, value in batched[i // 4].items()}
        assert _equal(item, batch)


def test_every_patch_is_a_reoriented_crop_and_all_eight_orientations_occur():
    ramp = torch.arange(12 * 12, dtype=torch.float32).view(1, 12, 12).expand(3, -1, -1) / 144
    dataset = PatchDataset({"ramp": ramp}, DEMOSAIC, patch=12, seed=0)
    corners = {tuple(dataset[i]["truth"][0, [0, 0, -1], [0, -1, 0]].tolist()) for i in range(100)}
    assert len(corners) == 8
    plain = PatchDataset({"ramp": ramp}, DEMOSAIC, patch=12, seed=0, augment=False)
    assert all(torch.equal(plain[i]["truth"], ramp) for i in range(10))


def test_crops_reach_every_position():
    image = torch.arange(9, dtype=torch.float32).view(1, 3, 3).expand(3, -1, -1) / 9
    dataset = PatchDataset({"a": image}, DEMOSAIC, patch=2, augment=False)
    firsts = {round(dataset[i]["truth"][0, 0, 0].item() * 9) for i in range(100)}
    assert firsts == {0, 1, 3, 4}


@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", "xtrans"])
def test_flips_and_transposes_keep_the_phase(folder, cfa):
    task = Task.from_name("demosaic", cfa=cfa)
    dataset = PatchDataset(_paths(folder), task, patch=18)
    expected = task.mask(18, 18)
    for i in range(20):
        item = dataset[i]
        assert torch.equal(item["mask"], expected)
        assert torch.equal(item["y"], torch.where(expected, item["truth"], 0))


def test_shapes_and_types_of_every_task(folder):
    for name, channels in [("demosaic", 3), ("interpolate", 1), ("inpaint", 3)]:
        item = PatchDataset(_paths(folder), Task.from_name(name), patch=16)[5]
        for key in ("truth", "mask", "y"):
            assert item[key].shape == (channels, 16, 16)
        assert item["truth"].dtype == item["y"].dtype == torch.float32
        assert item["mask"].dtype == torch.bool
        assert 0 <= item["truth"].min() < item["truth"].max() <= 1


def test_random_masks_and_noise_differ_between_items_and_repeat(folder):
    task = Task.from_name("inpaint", ratio=0.3)
    dataset = PatchDataset(_paths(folder), task, patch=16, noise_sigma=0.1)
    a, b = dataset[0], dataset[1]
    assert not torch.equal(a["mask"], b["mask"])
    assert _equal(a, dataset[0])
    noise = (a["y"] - a["truth"])[a["mask"]]
    assert 0.05 < noise.std() < 0.2
    assert (a["y"][~a["mask"]] == 0).all()


def test_images_are_drawn_by_area():
    images = {"small": torch.zeros(3, 20, 20), "large": torch.ones(3, 40, 60)}
    dataset = PatchDataset(images, DEMOSAIC, patch=8)
    share = np.mean([dataset[i]["truth"][0, 0, 0].item() for i in range(700)])
    assert abs(share - 2400 / 2800) < 0.05


def test_a_bad_file_is_skipped_named_counted_and_shifts_no_other_patch(folder, caplog):
    sound = PatchDataset(_paths(folder), DEMOSAIC, patch=16)
    before = [sound[i] for i in range(40)]
    bad = folder / "1.png"
    data = bad.read_bytes()
    bad.write_bytes(data[: len(data) // 2])
    dataset = PatchDataset(_paths(folder), DEMOSAIC, patch=16)
    with caplog.at_level(logging.WARNING):
        after = [dataset[i] for i in range(40)]
    assert list(dataset.skipped) == [str(bad)]
    assert sum(str(bad) in record.message for record in caplog.records) == 1
    same = [_equal(a, b) for a, b in zip(before, after, strict=True)]
    # The truncated image held 44 % of the area: its patches are replaced, the others stay.
    assert 8 < sum(same) < 32
    replaced = PatchDataset(_paths(folder), DEMOSAIC, patch=16)
    shuffled = [replaced[i] for i in reversed(range(40))][::-1]
    assert all(_equal(a, b) for a, b in zip(after, shuffled, strict=True))


def test_a_file_without_a_readable_header_is_skipped(folder, caplog):
    (folder / "0.png").write_bytes(b"no image at all")
    with caplog.at_level(logging.WARNING):
        dataset = PatchDataset(_paths(folder), DEMOSAIC, patch=16)
    assert list(dataset.skipped) == [str(folder / "0.png")]
    assert "0.png" in caplog.text
    dataset[0]


def test_images_smaller_than_the_patch_are_skipped_with_the_reason(folder, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = PatchDataset(_paths(folder), DEMOSAIC, patch=38)
    assert {os.path.basename(name) for name in dataset.skipped} == {"0.png", "1.png"}  # noqa: PTH119
    assert "0.png is 31 x 45 pixels, smaller than a patch of 38 x 38" in caplog.text
    assert dataset[0]["truth"].shape == (3, 38, 38)


def test_no_usable_image_is_an_error_that_names_one(folder):
    with pytest.raises(ImageError, match=r"none of the 3 images can be used.*0\.png"):
        PatchDataset(_paths(folder), DEMOSAIC, patch=64)
    with pytest.raises(ImageError, match="at least one image"):
        PatchDataset([], DEMOSAIC)


def test_all_files_failing_later_is_an_error(folder):
    for path in _paths(folder):
        path.write_bytes(path.read_bytes()[:-200])
    dataset = PatchDataset(_paths(folder), DEMOSAIC, patch=16)
    with pytest.raises(ImageError, match="none of the 3 images"):
        dataset[0]


def test_the_cache_keeps_within_its_budget(folder, monkeypatch):
    reads = []
    from gsp_unroll.data import patches

    original = patches.read_image_raw
    monkeypatch.setattr(patches, "read_image_raw", lambda p: reads.append(p) or original(p))
    dataset = PatchDataset(_paths(folder), DEMOSAIC, patch=16, cache_bytes=10**6)
    for i in range(30):
        dataset[i]
    assert len(reads) == 3
    reads.clear()
    small = PatchDataset(_paths(folder), DEMOSAIC, patch=16, cache_bytes=31 * 45 * 3)
    for i in range(30):
        small[i]
    assert small._cached <= 31 * 45 * 3
    assert len(reads) > 3


def test_sixteen_bit_and_grey_files(tmp_path):
    from gsp_unroll.data.images import write_image

    truth = torch.rand(3, 20, 20)
    write_image(tmp_path / "wide.png", truth, bits=16)
    item = PatchDataset([tmp_path / "wide.png"], DEMOSAIC, patch=20, augment=False)[0]
    assert (item["truth"] - truth).abs().max() < 1 / 65000
    Image.fromarray(_photo(20, 20, 0)[..., 0]).save(tmp_path / "grey.png")
    grey = PatchDataset([tmp_path / "grey.png"], DEMOSAIC, patch=20)[0]["truth"]
    assert torch.equal(grey[0], grey[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "patch must be at least 1"),
        ({"length": 0}, "length must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"noise_sigma": -0.1}, "noise_sigma"),
        ({"cache_bytes": -1}, "cache_bytes"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PatchDataset({"a": torch.zeros(3, 80, 80)}, DEMOSAIC, **options)


def test_bad_images_in_memory_are_named():
    with pytest.raises(TypeError, match=r"images\['a'\] must be a floating-point"):
        PatchDataset({"a": torch.zeros(3, 80, 80, dtype=torch.uint8)}, DEMOSAIC)
    with pytest.raises(ValueError, match=r"images\['a'\] must have shape \[3, height, width\]"):
        PatchDataset({"a": torch.zeros(1, 80, 80)}, DEMOSAIC)
    with pytest.raises(ValueError, match=r"images\['a'\] must be finite"):
        PatchDataset({"a": torch.full((3, 80, 80), float("nan"))}, DEMOSAIC)


def test_index_outside_the_length_is_an_index_error():
    dataset = PatchDataset({"a": torch.zeros(3, 80, 80)}, DEMOSAIC, length=5)
    assert len(dataset) == 5
    for index in (-1, 5):
        with pytest.raises(IndexError, match=r"\[0, 5\)"):
            dataset[index]


def test_distinct_crops_come_again_in_other_orientations(folder):
    few = PatchDataset(_paths(folder), DEMOSAIC, patch=16, length=60, distinct=5)
    content = [tuple(few[i]["truth"].flatten(1).sort().values.sum(1).tolist()) for i in range(60)]
    content = [tuple(round(v, 3) for v in c) for c in content]
    assert content[:5] * 12 == content
    assert len(set(content)) == 5
    assert not all(torch.equal(few[i]["truth"], few[i + 5]["truth"]) for i in range(20))
    plain = PatchDataset(_paths(folder), DEMOSAIC, patch=16, distinct=5, augment=False)
    assert all(torch.equal(plain[i]["truth"], plain[i + 5]["truth"]) for i in range(20))


def test_saturation_moves_colours_away_from_their_grey():
    rng = torch.Generator().manual_seed(0)
    # So near to grey that nothing is clipped.
    image = {"a": 0.45 + 0.1 * torch.rand(3, 40, 40, generator=rng)}
    options = {"patch": 16, "augment": False}
    plain = PatchDataset(image, DEMOSAIC, **options)
    strong = PatchDataset(image, DEMOSAIC, saturation=1.5, **options)
    factors = []
    for i in range(30):
        a, b = plain[i]["truth"], strong[i]["truth"]
        grey = a.mean(0)
        torch.testing.assert_close(b.mean(0), grey)
        ratio = (b - grey)[(a - grey).abs() > 0.01] / (a - grey)[(a - grey).abs() > 0.01]
        assert float(ratio.std()) < 1e-4
        factors.append(float(ratio.mean()))
    assert 1 <= min(factors) < 1.3
    assert 2.2 < max(factors) <= 2.5
    vivid = {"a": torch.rand(3, 40, 40, generator=rng)}
    out = PatchDataset(vivid, DEMOSAIC, saturation=5.0, **options)[0]["truth"]
    assert float(out.min()) == 0
    assert float(out.max()) == 1


def test_recolouring_shuffles_channels_and_scales_them():
    image = {"a": torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))}
    options = {"patch": 16, "augment": False}
    plain = PatchDataset(image, DEMOSAIC, **options)
    half = PatchDataset(image, DEMOSAIC, recolour=0.5, **options)
    orders, factors, kept = set(), [], 0
    for i in range(80):
        a, b = plain[i]["truth"].flatten(1), half[i]["truth"].flatten(1)
        if torch.equal(a, b):
            kept += 1
            continue
        # Channels of noise are uncorrelated, so that only its own source is parallel to one.
        cosine = torch.nn.functional.normalize(b - b.mean(1, keepdim=True)) @ (
            torch.nn.functional.normalize(a - a.mean(1, keepdim=True)).T
        )
        order = cosine.argmax(1)
        ratio = (b.norm(dim=1) / a[order].norm(dim=1))[:, None]
        torch.testing.assert_close(b, ratio * a[order])
        orders.add(tuple(order.tolist()))
        factors.append(ratio.flatten())
    assert 25 <= kept <= 55
    assert len(orders) == 6
    scale = torch.stack(factors)
    torch.testing.assert_close(scale.amax(1), torch.ones(len(scale)))
    assert 0.2 - 1e-6 <= float(scale.min()) < 0.3
    with pytest.raises(ValueError, match="recolour"):
        PatchDataset(image, DEMOSAIC, recolour=1.5, **options)


def _steepness(truth):
    """The slope of a ramp, by that of 60 pixels from 0 to 1, away from where the patch ends."""
    row = 60 * truth[0, 10, 6:14]
    np.testing.assert_allclose(row.diff(), row.diff().mean(), atol=0.15)
    return float(row.diff().mean())


def test_a_share_of_the_patches_is_scaled_down():
    # A ramp scaled down is steeper by as much, but for the ripple of the filter.
    ramp = {"a": (torch.arange(60.0) / 60).expand(3, 60, 60).contiguous()}
    options = {"patch": 20, "augment": False, "length": 200}
    plain = PatchDataset(ramp, DEMOSAIC, **options)
    half = PatchDataset(ramp, DEMOSAIC, shrink=0.5, **options)
    factors = [_steepness(half[k]["truth"]) for k in range(200)]
    kept = sum(factor < 1.01 for factor in factors)
    assert 80 <= kept <= 120
    assert 2.3 < max(factors) < 2.55
    assert all(abs(_steepness(plain[k]["truth"]) - 1) < 1e-4 for k in (0, 9))
    # An image that is hardly larger than a patch is scaled down by as much as it can be.
    small = PatchDataset({"a": ramp["a"][:, :22, :22]}, DEMOSAIC, shrink=1.0, **options)
    steps = [_steepness(small[k]["truth"]) for k in range(40)]
    assert min(steps) == pytest.approx(1)
    assert max(steps) == pytest.approx(1.1, abs=0.02)
    # It is a function of the index alone, and crops that come again come at the same scale.
    few = PatchDataset(ramp, DEMOSAIC, shrink=0.5, distinct=4, **options)
    assert all(torch.equal(few[k]["truth"], few[k + 4]["truth"]) for k in range(8))
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="shrink"):
            PatchDataset(ramp, DEMOSAIC, shrink=share, **options)


def test_blurred_patches_are_as_soft_as_drawn():
    side = 29
    # Mirrored at its maxima a cosine goes on as it is; blurred, it is lower, and nothing else.
    wave = torch.cos(2 * math.pi * torch.arange(side) / 4).expand(3, side, side)
    image = {"a": wave / 2 + 0.5}
    options = {"patch": side, "augment": False}
    softest = 0.8
    sigmas = []
    dataset = PatchDataset(image, DEMOSAIC, blur=softest, **options)
    for i in range(60):
        out = 2 * (dataset[i]["truth"] - 0.5)
        height = float(out[0, 0, 0])
        torch.testing.assert_close(out, height * wave, atol=1e-4, rtol=0)
        sigmas.append(2 / math.pi * math.sqrt(-2 * math.log(min(height, 1.0))))
    # A Gaussian narrower than the pixels between its samples blurs less than a continuous one.
    assert min(sigmas) < 0.1
    assert 0.7 < max(sigmas) < softest
    assert 0.25 < sum(sigmas) / len(sigmas) < 0.5
    with pytest.raises(ValueError, match="blur"):
        PatchDataset(image, DEMOSAIC, blur=-0.1, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_any_precision_are_scaled_down(dtype):
    image = torch.rand(3, 24, 24).to(dtype)
    out = PatchDataset({"a": image}, DEMOSAIC, patch=12, shrink=1.0)[0]["truth"]
    assert out.dtype == torch.float32
    assert out.shape == (3, 12, 12)
    whole = scale_down(image, 6, 8)
    torch.testing.assert_close(whole, scale_down(image.float(), 6, 8).to(dtype), atol=1e-2, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_any_precision_are_blurred(dtype):
    image = {"a": torch.rand(3, 12, 12).to(dtype).requires_grad_()}
    out = PatchDataset(image, DEMOSAIC, patch=12, blur=50.0)[0]["truth"]
    assert out.dtype == torch.float32
    assert not out.requires_grad
    assert float(out.std()) < float(image["a"].detach().std())
