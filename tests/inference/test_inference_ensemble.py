"""The mean over orientations: all in the phase of the mask, all turned back, samples untouched."""

from __future__ import annotations

import pytest
import torch

from gsp_unroll.data.orientation import ORIENTATIONS, reorient, reorient_back
from gsp_unroll.inference import restore
from gsp_unroll.models import UGLR, UGLRPlus
from gsp_unroll.observe import CFA, decimation_mask, random_mask

SIZES = pytest.mark.parametrize("size", [(12, 14), (13, 12), (13, 15), (7, 24)])
PATTERNS = {
    "RGGB": CFA("RGGB"),
    "GBRG": CFA("GBRG"),
    "quad": CFA.from_name("quad_bayer"),
    "xtrans": CFA.from_name("xtrans"),
    "diagonals": CFA("RGB/GBR/BRG"),
    "bars": CFA("RGB/RGB"),
    "columns": CFA("RG/RB"),
}


def symmetries(cfa):
    """Orientations in which the endless pattern is itself, shifted."""
    tile = cfa.mask(12, 12)  # a multiple of all periods
    shifts = [(a, b) for a in range(12) for b in range(12)]
    return sum(
        any(torch.equal(reorient(tile, o).roll(shift, (1, 2)), tile) for shift in shifts)
        for o in range(ORIENTATIONS)
    )


SMALL = {"layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}


def tiny(channels=3):
    torch.manual_seed(0)
    return UGLR(channels, blocks=2, **SMALL).double().eval()


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
def test_every_orientation_is_turned_back(orientation):
    image = torch.rand(3, 4, 5)
    assert torch.equal(reorient_back(reorient(image, orientation), orientation), image)


def test_all_orientations_differ():
    turned = [reorient(torch.rand(1, 4, 4, generator=torch.manual_seed(0)), o) for o in range(8)]
    assert not any(torch.equal(a, b) for k, a in enumerate(turned) for b in turned[:k])


@SIZES
@pytest.mark.parametrize("name", PATTERNS)
def test_the_method_always_sees_the_pattern_from_its_first_pixel(name, size):
    cfa = PATTERNS[name]
    image, seen = torch.rand(3, *size), []

    def method(y, mask):
        seen.append(mask[0])
        return y

    out = restore(image, method, cfa, ensemble=8)
    for mask in seen:
        assert torch.equal(mask, cfa.mask(*mask.shape[1:]))
    assert len(seen) == symmetries(cfa)
    # What was turned and cropped comes back to its place, from every orientation.
    mask = cfa.mask(*size)
    assert torch.equal(out, torch.where(mask, image, 0))


def test_a_mask_that_is_regular_along_one_axis_is_turned_along_that_axis():
    rows = torch.rand(1, 12, 1, generator=torch.manual_seed(5)) < 0.6
    mask = (rows & (torch.arange(14) % 2 == 0)).expand(3, -1, -1)
    image, seen = torch.rand(3, 12, 14), []

    def method(y, known):
        seen.append(known[0])
        return y

    out = restore(image, method, mask, ensemble=8)
    assert [m.shape for m in seen] == [(3, 12, 14), (3, 12, 12)]  # as it is, columns flipped
    assert all(torch.equal(m, mask[..., : m.shape[2]]) for m in seen)
    assert torch.equal(out, torch.where(mask, image, 0))


def test_the_mean_of_a_mask_without_a_pattern_is_that_of_all_orientations():
    model, truth = tiny(), torch.rand(3, 11, 13, dtype=torch.float64)
    mask = random_mask(11, 13, 0.4, channels=3, seed=2)
    for size, order in ((2, (0, 4)), (4, (0, 4, 3, 7)), (8, range(8))):
        expected = 0
        for o in order:
            with torch.no_grad():
                y, known = reorient(torch.where(mask, truth, 0), o), reorient(mask, o)
                expected = expected + reorient_back(model(y[None], known[None])[0], o)
        out = restore(truth, model, mask, ensemble=size)
        torch.testing.assert_close(out, expected / size, rtol=1e-12, atol=1e-12)


@SIZES
@pytest.mark.parametrize("ensemble", [2, 4, 8])
@pytest.mark.parametrize("name", ["RGGB", "xtrans", "decimation", "random"])
def test_samples_are_kept_bit_for_bit(name, size, ensemble):
    mask = {
        "decimation": decimation_mask(*size, 2, channels=3),
        "random": random_mask(*size, 0.3, channels=3, seed=1),
    }.get(name)
    observed = PATTERNS[name] if mask is None else mask
    mask = observed.mask(*size) if mask is None else mask
    image = torch.rand(3, *size)
    out = restore(image, tiny().float(), observed, ensemble=ensemble, tile=5)
    assert torch.equal(out[mask], image[mask])
    assert not torch.equal(out, restore(image, tiny().float(), observed))


def test_patterns_have_two_to_eight_symmetries():
    assert {symmetries(cfa) for cfa in PATTERNS.values()} == {2, 4, 8}


def test_the_memory_of_the_mean_is_counted():
    image, cfa = torch.rand(3, 64, 64), CFA("RGGB")
    model = tiny().float()
    with pytest.raises(ValueError, match="max_memory must be at least") as one:
        restore(image, model, cfa, max_memory=1000)
    with pytest.raises(ValueError, match="max_memory must be at least") as many:
        restore(image, model, cfa, max_memory=1000, ensemble=2)
    assert str(one.value) != str(many.value)


@pytest.mark.parametrize(("size", "error"), [(3, ValueError), (True, TypeError), (8.0, TypeError)])
def test_other_numbers_of_orientations_are_refused(size, error):
    with pytest.raises(error, match="ensemble must be"):
        restore(torch.rand(3, 8, 8), tiny().float(), CFA("RGGB"), ensemble=size)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 1)])
def test_tiny_images(size):
    mask = torch.rand(1, *size, generator=torch.manual_seed(3)) < 0.6
    mask[:, 0, 0] = True
    image = torch.rand(1, *size)
    out = restore(image, tiny(1).float(), mask, ensemble=8)
    assert torch.isfinite(out).all()
    assert torch.equal(out[mask], image[mask])


@pytest.mark.parametrize("size", [(6, 7), (7, 7), (7, 10), (8, 7)])
def test_an_orientation_that_has_too_few_pixels_left_is_left_out(size):
    image, cfa = torch.rand(3, *size), CFA.from_name("xtrans")
    out = restore(image, tiny().float(), cfa, ensemble=8)
    observed = cfa.mask(*size)
    assert torch.isfinite(out).all()
    assert torch.equal(out[observed], image[observed])


@pytest.mark.parametrize(("cell", "side"), [(2, 61), (3, 64), (4, 60)])
def test_the_memory_that_is_asked_for_is_enough_for_all_orientations(cell, side):
    torch.manual_seed(0)
    model = UGLRPlus(blocks=1, **SMALL, window=3, cell=cell).eval()
    image, cfa = torch.rand(3, side, side), CFA("RGGB")
    with pytest.raises(ValueError, match="max_memory must be at least") as error:
        restore(image, model, cfa, max_memory=1000, ensemble=8)
    enough = str(error.value).split("at least ")[1].split(" for")[0]
    assert restore(image, model, cfa, max_memory=enough, ensemble=8).isfinite().all()
