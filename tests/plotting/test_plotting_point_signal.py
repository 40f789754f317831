"""Maps of a signal on many points."""

import numpy as np
import pytest
import torch
from PIL import Image

from gsp_unroll.plotting.point_signal import _cell_means, point_signal_report

POS = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0))


def test_a_picture_is_drawn(tmp_path):
    truth = POS[:, 0] * 5
    mask = POS[:, 1] < 0.3
    path = point_signal_report(
        tmp_path / "new" / "map.png", POS, truth, mask, {"a": truth + 1}, centre=(0.9, 0.1)
    )
    with Image.open(path) as image:
        assert image.width > 2 * 300
        assert np.asarray(image.convert("L")).std() > 10


def test_a_cell_shows_the_mean_of_its_points():
    points = np.array([[0.0, 0.0], [0.2, 0.2], [1.0, 0.1], [0.9, 0.9], [0.8, 1.0]])
    value = np.array([1.0, 3.0, 5.0, 7.0, 9.0])
    cells = _cell_means(points, value, np.zeros(2), np.ones(2), total=36)
    np.testing.assert_array_equal(cells, [[2.0, 5.0], [np.nan, 8.0]])


def test_a_wrong_shape_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"b must have shape \[3000\]"):
        point_signal_report(
            tmp_path / "map.png", POS, POS[:, 0], POS[:, 0] < 1, {"b": POS}, centre=(0.5, 0.5)
        )
