"""Tiles cover an image once, see their halo, keep the phase and have one size."""

import pytest
import torch

from gsp_unroll.inference.tiles import tiles_by_area, tiles_by_side

CASES = [
    # height, width, halo, period
    (1, 1, 3, (1, 1)),
    (1, 50, 2, (1, 2)),
    (37, 41, 4, (2, 2)),
    (64, 31, 0, (1, 1)),
    (53, 90, 5, (6, 6)),
    (23, 60, 13, (2, 3)),
]


def check(tiles, height, width, halo, period):
    covered = torch.zeros(height, width, dtype=torch.int64)
    for tile in tiles:
        covered[tile.kept[1:]] += 1
        for axis, length in ((1, height), (2, width)):
            seen, kept, inner = tile.seen[axis], tile.kept[axis], tile.inner[axis]
            assert 0 <= seen.start <= max(kept.start - halo, 0)
            assert min(kept.stop + halo, length) <= seen.stop <= length
            assert (inner.start, inner.stop) == (kept.start - seen.start, kept.stop - seen.start)
            assert seen.start % period[axis - 1] == 0
    assert (covered == 1).all()
    shapes = {tuple(s.stop - s.start for s in tile.seen[1:]) for tile in tiles}
    assert len(shapes) == 1
    return shapes.pop()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("side", [1, 7, 16, 1000])
def test_tiles_by_side(case, side):
    height, width, halo, period = case
    shape = check(tiles_by_side(*case, side), *case)
    for seen, length, p in zip(shape, (height, width), period, strict=True):
        assert seen <= min(length, side + 2 * halo + 2 * p)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pixels", [300, 1500, 10**6])
def test_tiles_by_area(case, pixels):
    height, width, halo, period = case
    tiles = tiles_by_area(*case, pixels)
    least = [min(2 * halo + 2 * p, n) for p, n in zip(period, (height, width), strict=True)]
    if least[0] * least[1] <= pixels:
        assert tiles
    if tiles:
        rows, columns = check(tiles, *case)
        assert rows * columns <= pixels


def test_tiles_by_area_waste_little():
    tiles = tiles_by_area(4000, 6000, 106, (2, 2), 10**6)
    rows, columns = check(tiles, 4000, 6000, 106, (2, 2))
    # Squares of a million pixels keep 788 x 788 each; the borders are for free.
    assert len(tiles) * rows * columns < 4000 * 6000 * (1000 / 788) ** 2


def test_an_image_that_fits_is_one_tile():
    assert len(tiles_by_area(40, 50, 9, (2, 2), 2000)) == 1
    assert tiles_by_area(40, 50, 9, (2, 2), 300) == []
