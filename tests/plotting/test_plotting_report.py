from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from gsp_unroll.models import UGLR, UGTV
from gsp_unroll.observe import Task
from gsp_unroll.ops import planar
from gsp_unroll.plotting import neighbour_weights, restoration_report
from gsp_unroll.topology import Grid

SIZE = {"blocks": 1, "layers": 1, "cg_steps": 2, "heads": 2, "features": 2, "maps": 4}


def _observed(channels, height=20, width=26):
    torch.manual_seed(0)
    truth = torch.rand(channels, height, width)
    task = Task.from_name("demosaic" if channels == 3 else "interpolate")
    mask = task.mask(height, width)
    return truth, torch.where(mask, truth, 0), mask


@pytest.mark.parametrize("window", [3, 5])
def test_neighbour_weights_are_a_row_of_the_laplacian(window):
    torch.manual_seed(0)
    grid = Grid(6, 7, window)
    weight = torch.rand(2, grid.num_edges)
    for row, column in [(0, 0), (3, 3), (5, 6), (2, 0), (0, 5)]:
        near = neighbour_weights(grid, weight, row, column)
        assert near.shape == (2, window, window)
        impulse = torch.zeros(2, 1, grid.num_nodes)
        impulse[..., row * 7 + column] = 1.0
        # Column (row, column) of L: minus the weights of the neighbours.
        spread = -planar.laplacian(grid, weight, impulse).view(2, 6, 7)
        padded = torch.full((2, 6 + window, 7 + window), torch.nan)
        reach = window // 2
        padded[:, reach : 6 + reach, reach : 7 + reach] = spread
        expected = padded[:, row : row + window, column : column + window].clone()
        expected[:, reach, reach] = torch.nan
        torch.testing.assert_close(near, expected, equal_nan=True)


def test_directed_weights_take_the_direction_out_of_the_pixel():
    torch.manual_seed(0)
    grid = Grid(5, 5, 3)
    weight = torch.rand(1, 2, grid.num_edges)
    impulse = torch.zeros(1, 1, 25)
    impulse[..., 7] = 1.0
    near = neighbour_weights(grid, weight, 1, 2)
    # (L x)_i = sum_j W_ij (x_i - x_j): the row of pixel i is what it takes from each neighbour.
    total = planar.directed_laplacian(grid, weight, impulse)[0, 0, 7]
    torch.testing.assert_close(near.nan_to_num().sum(), total)


def test_pixels_outside_are_refused():
    with pytest.raises(ValueError, match=r"pixel must lie inside 5 x 5, got \(5, 0\)"):
        neighbour_weights(Grid(5, 5, 3), torch.rand(1, Grid(5, 5, 3).num_edges), 5, 0)


@pytest.mark.parametrize(("network", "channels"), [(UGTV, 3), (UGLR, 1)])
def test_a_picture_is_written(tmp_path, network, channels):
    truth, y, mask = _observed(channels)
    model = network(channels, **SIZE).eval()
    with torch.no_grad():
        result = model(y[None], mask[None])[0]
    path = restoration_report(tmp_path / "new" / "r.png", truth, y, mask, result, model)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[0] > 400
    assert pixels.std() > 10
    other = restoration_report(tmp_path / "s.png", truth, y, mask, result, model, pixel=(0, 25))
    assert not np.array_equal(pixels, np.asarray(Image.open(other).convert("RGB")))


def test_bad_input_is_named(tmp_path):
    truth, y, mask = _observed(3)
    model = UGTV(3, **SIZE).eval()
    with pytest.raises(ValueError, match="result must have shape"):
        restoration_report(tmp_path / "r.png", truth, y, mask, truth[:, :5], model)
    with pytest.raises(ValueError, match=r"pixel must lie inside 20 x 26, got \(99, 0\)"):
        restoration_report(tmp_path / "r.png", truth, y, mask, truth, model, pixel=(99, 0))
    with pytest.raises(ValueError, match="truth must have shape"):
        restoration_report(tmp_path / "r.png", truth[0], y, mask, truth, model)


def test_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    truth, y, mask = _observed(3)
    with pytest.raises(ImportError, match=r"gsp-unroll\[plot\]"):
        restoration_report(tmp_path / "r.png", truth, y, mask, truth, UGTV(3, **SIZE))
