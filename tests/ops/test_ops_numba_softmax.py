"""The compiled softmax of a grid: however it is cut, and whatever is stored where no edge is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from gsp_unroll.ops.backends import numba_softmax_loops as loops
from gsp_unroll.topology import Grid

SYSTEMS = 3
every_grid = pytest.mark.parametrize(
    ("height", "width", "window"),
    [(1, 1, 3), (1, 9, 5), (9, 1, 5), (2, 2, 5), (7, 33, 5), (13, 6, 7), (12, 40, 3), (5, 70, 9)],
)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def _case(height, width, window, dtype, seed=0):
    grid = Grid(height, width, window)
    offsets = np.array(grid.offsets, dtype=np.int64)
    shape = (SYSTEMS, len(offsets), height, width)
    rng = np.random.default_rng(seed)
    inside = np.zeros(shape, bool)
    for k, (dr, dc) in enumerate(offsets):
        inside[:, k, : max(0, height - dr), max(0, -dc) : max(0, min(width, width - dc))] = True
    return grid, offsets, rng.normal(0, 5, shape).astype(dtype), inside, rng


def _forward(offsets, score, cuts, keep):
    w = np.full_like(score, np.nan)
    p = np.full_like(score, np.nan)[: None if keep else 0]
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        loops.softmax(offsets, score, w, p, first, last)
    return w, p


def _cuts(rows):
    """Everything at once, row by row, and ranges that end inside a system or span several."""
    some = sorted({0, rows, min(5, rows), rows // 2, rows - rows // 3})
    return [[0, rows], list(range(rows + 1)), some]


@every_grid
@every_dtype
def test_equal_to_plain_torch_and_bit_for_bit_the_same_for_any_cut(height, width, window, dtype):
    grid, offsets, score, inside, rng = _case(height, width, window, dtype)
    planar = torch.from_numpy(score).reshape(SYSTEMS, -1).requires_grad_()
    plain = grid.with_backend("torch").kernels
    expected, *_ = plain.edge_softmax(planar.detach(), "softmax")
    whole, p = _forward(offsets, score, [0, SYSTEMS * height], keep=True)
    eps = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(whole.reshape(SYSTEMS, -1), expected.numpy(), rtol=eps, atol=eps)
    g = rng.normal(size=score.shape).astype(dtype) * inside
    known = [torch.from_numpy(t).reshape(SYSTEMS, -1) for t in (whole, p)]
    gradient = plain.edge_softmax_backward(
        torch.from_numpy(g).reshape(SYSTEMS, -1), "softmax", *known
    )
    for cuts in _cuts(SYSTEMS * height):
        w, q = _forward(offsets, score, cuts, keep=True)
        assert np.array_equal(w, whole)
        assert np.array_equal(q, p)
        assert np.array_equal(_forward(offsets, score, cuts, keep=False)[0], whole)
        out = np.full_like(score, np.nan)
        for first, last in zip(cuts[:-1], cuts[1:], strict=True):
            loops.softmax_backward(offsets, g, whole, p, out, first, last)
        np.testing.assert_allclose(
            out.reshape(SYSTEMS, -1), gradient.numpy(), rtol=eps, atol=10 * eps
        )


@every_grid
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, 1e30])
def test_what_is_stored_where_no_edge_is_changes_nothing(height, width, window, rubbish):
    _, offsets, score, inside, rng = _case(height, width, window, np.float32)
    cuts = [0, SYSTEMS * height]
    clean = _forward(offsets, np.where(inside, score, 0), cuts, keep=True)
    for ours, theirs in zip(
        _forward(offsets, np.where(inside, score, rubbish).astype(np.float32), cuts, keep=True),
        clean,
        strict=True,
    ):
        assert np.array_equal(ours, theirs)
        assert not ours[~inside].any()
    g = rng.normal(size=score.shape).astype(np.float32)
    gradients = []
    for outside in (0, rubbish):
        out = np.full_like(score, np.nan)
        spoilt = np.where(inside, g, outside).astype(np.float32)
        loops.softmax_backward(offsets, spoilt, *clean, out, *cuts)
        gradients.append(out)
    assert np.array_equal(*gradients)
    assert not gradients[1][~inside].any()
