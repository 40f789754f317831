"""Amounts of memory in words, and a restoration that keeps to them."""

from itertools import accumulate

import pytest
import torch
from helpers import uglr_plus_with_all
from torch.profiler import ProfilerActivity, profile

from gsp_unroll.inference import restore
from gsp_unroll.inference.memory import (
    bytes_per_pixel,
    fill_bytes_per_pixel,
    format_bytes,
    parse_bytes,
)
from gsp_unroll.models import UGLR, UGTV, UGLRPlus
from gsp_unroll.observe import CFA, fill_in
from gsp_unroll.topology import Grid


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        (12, 12),
        ("12", 12),
        ("3GB", 3 * 10**9),
        ("3 gb", 3 * 10**9),
        ("1.5G", 1_500_000_000),
        ("2GiB", 2**31),
        ("800MB", 800 * 10**6),
        ("64 KiB", 2**16),
        ("1TB", 10**12),
    ],
)
def test_amounts(text, amount):
    assert parse_bytes("max_memory", text) == amount


@pytest.mark.parametrize("text", ["", "GB", "3 GX", "-1GB", "0", 0, -5, "1e9"])
def test_amounts_that_cannot_be(text):
    with pytest.raises(ValueError, match="max_memory must"):
        parse_bytes("max_memory", text)


@pytest.mark.parametrize("value", [1.5, None, True, []])
def test_amounts_of_another_type(value):
    with pytest.raises(TypeError, match=r"max_memory must be an int \(bytes\) or a string"):
        parse_bytes("max_memory", value)


def test_amounts_for_people_are_rounded_up():
    assert format_bytes(999) == "999 B"
    assert format_bytes(1_230_000_001) == "1.24 GB"
    assert parse_bytes("x", format_bytes(123_456_789)) >= 123_456_789


def peak_bytes(call) -> int:
    """Largest sum of the tensors that live at one time during a call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    events = record.profiler.kineto_results.events()
    changes = sorted(
        (e.start_ns(), k, e.nbytes()) for k, e in enumerate(events) if e.name() == "[memory]"
    )
    return max(accumulate(size for *_, size in changes))


@pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus, uglr_plus_with_all])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"heads": 1, "maps": 8, "features": 4},
        {"in_channels": 1, "window": 7},
        {"norm": "symmetric"},
        {"layers": 6},
        {"maps": 200},
    ],
    ids=str,
)
def test_a_block_needs_no_more_than_its_formula(network, change):
    block = network(**{"blocks": 1, "layers": 2, "cg_steps": 2, **change}).blocks[0]
    side = 48
    grid = Grid(side, side, block.config.window)
    x = torch.rand(1, block.config.in_channels, side * side)
    with torch.inference_mode():
        used = peak_bytes(lambda: block(grid, x, x > 0.5, None)) / side**2
    assert used <= bytes_per_pixel(block)
    # A tile that could be three times as large would be a waste of time.
    assert bytes_per_pixel(block) <= 3 * used


@pytest.mark.parametrize("maps", [48, 200])
@pytest.mark.parametrize("cell", [None, 2])
def test_deeper_features_need_no_more_than_the_formula(maps, cell):
    size = {"blocks": 1, "layers": 1, "cg_steps": 2, "maps": maps, "window": 3}
    block = UGLRPlus(**size, residual_pairs=2, cell=cell).eval().blocks[0]
    # As many positions as pixels of 48 x 48: oneDNN reorders the parameters, too.
    side = 48 * (cell or 1)
    grid, x = Grid(side, side, 3), torch.rand(1, 3, side**2)
    with torch.inference_mode():
        used = peak_bytes(lambda: block(grid, x, x > 0.5, None)) / side**2
    assert used <= bytes_per_pixel(block) <= 3 * used


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"repeats": 1},
        {"residual_pairs": 1, "carry_mix": True, "repeats": 1},
        {"residual_pairs": 1, "carry_mix": True, "heads": 1, "features": 1, "window": 3},
        {"residual_pairs": 1, "maps": 96, "heads": 1, "features": 1, "window": 3, "cell": 2},
    ],
    ids=str,
)
def test_blocks_that_hand_on_their_maps_need_no_more_than_the_formula(change):
    model = uglr_plus_with_all(**{"blocks": 3, "layers": 1, "cg_steps": 2, **change}).eval()
    side = 48
    y, mask = torch.rand(1, 3, side, side), CFA("RGGB").mask(side, side)
    with torch.inference_mode():
        used = peak_bytes(lambda: model(y, mask)) / side**2
    assert used <= bytes_per_pixel(model.blocks[-1]) + 3 * 4
    assert bytes_per_pixel(model.blocks[-1]) <= 3 * used


def test_the_first_guess_needs_no_more_than_its_formula():
    y = torch.rand(3, 64, 64)
    mask = CFA("RGGB").mask(64, 64)
    used = peak_bytes(lambda: fill_in(torch.where(mask, y, 0), mask)) / 64**2
    assert used <= fill_bytes_per_pixel(3) <= 3 * used


@pytest.mark.parametrize("ensemble", [1, 2, 8])
def test_the_least_memory_that_works_is_enough(ensemble):
    model = UGLR(blocks=1, layers=1, cg_steps=1, heads=2, features=3, maps=4, window=3).eval()
    image, cfa = torch.rand(3, 40, 51), CFA("RGGB")
    with pytest.raises(ValueError, match="max_memory must be at least") as error:
        restore(image, model, cfa, max_memory=1, ensemble=ensemble)
    enough = parse_bytes("enough", str(error.value).split("at least ")[1].split(" for")[0])
    used = peak_bytes(lambda: restore(image, model, cfa, max_memory=enough, ensemble=ensemble))
    assert used <= enough
