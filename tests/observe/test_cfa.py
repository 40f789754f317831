from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from gsp_unroll.observe import BAYER_PHASES, CFA

PATTERNS = [
    *BAYER_PHASES,
    "quad_bayer",
    "xtrans",
    "RGB/GBR",  # 2 x 3: rows and columns repeat differently
    "R/G/B",  # stripes: one column
]
SIZES = [(1, 1), (1, 5), (2, 2), (3, 4), (7, 7), (8, 13), (12, 6)]


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pixel_sees_exactly_one_colour(name):
    mask = CFA.from_name(name).mask(13, 9)
    assert mask.shape == (3, 13, 9)
    assert mask.dtype == torch.bool
    assert (mask.sum(0) == 1).all()


def test_letters_are_read_from_the_top_left_pixel():
    mask = CFA("GBRG").mask(2, 2)
    seen = {"RGB"[c]: [tuple(p) for p in mask[c].nonzero().tolist()] for c in range(3)}
    assert seen == {"G": [(0, 0), (1, 1)], "B": [(0, 1)], "R": [(1, 0)]}


@pytest.mark.parametrize("name", PATTERNS)
def test_crop_keeps_the_phase(name):
    cfa = CFA.from_name(name)
    whole = cfa.mask(20, 21)
    for top, left in itertools.product(range(8), range(8)):
        crop = whole[:, top : top + 9, left : left + 11]
        assert torch.equal(cfa.mask(9, 11, top, left), crop)
        assert torch.equal(cfa.shifted(top, left).mask(9, 11), crop)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_flips_and_transpose_keep_the_phase(name, height, width):
    cfa = CFA.from_name(name)
    whole = cfa.mask(height, width)
    for vertical, horizontal in itertools.product((False, True), repeat=2):
        axes = [axis for axis, on in ((-2, vertical), (-1, horizontal)) if on]
        flipped = cfa.flipped(height, width, vertical=vertical, horizontal=horizontal)
        assert torch.equal(flipped.mask(height, width), whole.flip(axes))
    assert torch.equal(cfa.transposed().mask(width, height), whole.transpose(-1, -2))


@pytest.mark.parametrize("name", PATTERNS)
def test_tiles_join_to_the_whole(name):
    cfa = CFA.from_name(name)
    rows = [
        torch.cat([cfa.mask(5, 7, top, left) for left in (0, 7, 14)], dim=-1) for top in (0, 5, 10)
    ]
    assert torch.equal(torch.cat(rows, dim=-2), cfa.mask(15, 21))


@pytest.mark.parametrize("name", PATTERNS)
def test_shifts_add_and_undo(name):
    cfa = CFA.from_name(name)
    assert cfa.shifted(1, 2).shifted(3, 5) == cfa.shifted(4, 7)
    assert cfa.shifted(-5, 4).shifted(5, -4) == cfa
    assert cfa.shifted(*cfa.period) == cfa
    assert cfa.transposed().transposed() == cfa


def test_the_four_bayer_phases_are_shifts_of_each_other():
    shifts = {CFA("RGGB").shifted(i, j).bayer_phase for i in (0, 1) for j in (0, 1)}
    assert shifts == set(BAYER_PHASES)


def test_xtrans_has_its_known_structure():
    cfa = CFA.from_name("xtrans")
    assert cfa.period == (6, 6)
    mask = cfa.mask(6, 6)
    assert mask.sum((1, 2)).tolist() == [8, 20, 8]
    assert mask.any(-1).all()  # every row sees all three colours
    assert mask.any(-2).all()  # and every column
    assert cfa.bayer_phase is None


def test_quad_bayer_is_bayer_with_doubled_pixels():
    quad = CFA.from_name("quad_bayer").mask(12, 12)
    bayer = CFA("RGGB").mask(6, 6)
    assert torch.equal(quad, bayer.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_all_spellings_of_one_pattern_are_equal():
    forms = [
        CFA("RGGB"),
        CFA("RG/GB"),
        CFA(["RG", "GB"]),
        CFA([["R", "G"], ["G", "B"]]),
        CFA(np.array([["R", "G"], ["G", "B"]])),
        CFA("RGRG/GBGB"),  # not in its smallest period
        CFA.from_name("bayer"),
        CFA.from_name("rggb"),
    ]
    assert len(set(forms)) == 1
    assert CFA.from_name("X-Trans") == CFA.from_name("xtrans")
    assert CFA.from_name("quad-bayer").name == "quad_bayer"
    assert CFA.from_name(CFA(["RGB", "GBR"]).name) == CFA(["RGB", "GBR"])
    assert eval(repr(forms[0])) == forms[0]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("RGB", "square number"),
        ("RGGX", "letters R, G and B"),
        ("RGGR", "letters R, G and B"),
        ("rggb", "letters R, G and B"),
        ("", "full rectangle"),
        (["RG", "B"], "full rectangle"),
        (np.array(["R", "G"]), "2-D"),
    ],
)
def test_bad_pattern_is_named(pattern, message):
    with pytest.raises(ValueError, match=message):
        CFA(pattern)


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="pattern"):
        CFA(3)
    with pytest.raises(TypeError, match="cfa"):
        CFA.from_name(CFA("RGGB"))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'xtrans'"):
        CFA.from_name("xtrance")
    with pytest.raises(ValueError, match=r"RG/GB.*got 'foveon'"):
        CFA.from_name("foveon")


@pytest.mark.parametrize(("height", "width"), [(0, 4), (4, -1)])
def test_mask_size_must_be_positive(height, width):
    with pytest.raises(ValueError, match="at least 1"):
        CFA("RGGB").mask(height, width)
