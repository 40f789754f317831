"""Compiled products on grids of several pieces, against plain torch, however the rows are cut."""

import numpy as np
import pytest
import torch
from helpers import random_weight, spoil_unused

from gsp_unroll.ops.backends import numba_grid_loops as loops
from gsp_unroll.topology import Grid

SYSTEMS, CHANNELS = 3, 2
# Many rows, one long row in several pieces, hardly wider than the window, and lower than it.
SIZES = [(40, 37, 5), (9, 600, 3), (11, 5, 5), (12, 6, 5), (3, 40, 7), (1, 1, 5)]


def _cuts(rows):
    """Everything at once, row by row, and ranges that end inside a system or span several."""
    some = sorted({0, rows, min(5, rows), rows // 2, rows - rows // 3})
    return [[0, rows], list(range(rows + 1)), some]


def _case(name, grid, dtype):
    """The loop's arguments, the shape of its result, and what plain torch says."""
    w = spoil_unused(grid, random_weight(grid, SYSTEMS).to(dtype))
    x = torch.randn(SYSTEMS, CHANNELS, grid.num_nodes, dtype=dtype)
    s, t = torch.randn(2, SYSTEMS, grid.num_nodes, dtype=dtype)
    arguments = {
        "laplacian": (w, x),
        "scaled_gradient": (w, s, t, t.flip(0)),
        "neighbour_sum": (w, s),
        "neighbour_sum_of_products": (w, w.flip(0), s),
    }[name]
    size = (grid.height, grid.width)
    between = {"laplacian": (CHANNELS,), "scaled_gradient": (len(grid.offsets),)}.get(name, ())
    arrays = [value.numpy().reshape(SYSTEMS, *_middle(value, grid), *size) for value in arguments]
    expected = getattr(grid.with_backend("torch").kernels, name)(*arguments)
    return arrays, (SYSTEMS, *between, *size), expected.numpy()


def _middle(value, grid):
    """Offsets of an edge quantity, channels of a signal; nothing for one value at each node."""
    return [-1] if value.shape[-1] == grid.num_edges else value.shape[1:-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width", "window"), SIZES)
@pytest.mark.parametrize(
    "name", ["laplacian", "scaled_gradient", "neighbour_sum", "neighbour_sum_of_products"]
)
def test_equal_to_plain_torch_and_bit_for_bit_the_same_for_any_cut(
    name, height, width, window, dtype
):
    grid = Grid(height, width, window)
    offsets = np.array(grid.offsets, dtype=np.int64)
    arrays, shape, expected = _case(name, grid, dtype)
    results = []
    for cuts in _cuts(SYSTEMS * height):
        out = np.full(shape, np.nan, arrays[0].dtype)
        for first, last in zip(cuts[:-1], cuts[1:], strict=True):
            getattr(loops, name)(offsets, *arrays, out, first, last)
        results.append(out)
    eps = 100 * torch.finfo(dtype).eps
    np.testing.assert_allclose(results[0].reshape(expected.shape), expected, rtol=eps, atol=eps)
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf")])
def test_a_bad_pixel_reaches_its_neighbours_only(rubbish):
    grid = Grid(30, 33, 5)
    w = random_weight(grid)
    for row, column in [(15, 0), (15, 1), (15, 32), (2, 31), (29, 16)]:
        x = torch.randn(1, 30, 33, dtype=torch.float64)
        x[0, row, column] = rubbish
        y = grid.kernels.laplacian(w, x.flatten(-2)).view(30, 33)
        near = torch.zeros(30, 33, dtype=torch.bool)
        near[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = True
        assert torch.equal(~torch.isfinite(y), near)
