from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("matplotlib")

from gsp_unroll.plotting.classes import classes_report


@pytest.mark.parametrize("classes", [3, 12])
def test_wrong_classes_are_marked(tmp_path, classes):
    truth = torch.arange(24) % classes
    pos = torch.stack([torch.arange(24) % 6, torch.arange(24) // 6], dim=1).float()
    mask = torch.arange(24) < classes
    wrong = truth.clone()
    wrong[-1] = (wrong[-1] + 1) % classes
    pictures = [
        np.asarray(
            Image.open(classes_report(tmp_path / "a" / "c.png", pos, truth, mask, predicted))
        )
        for predicted in (truth, wrong)
    ]
    third = pictures[0].shape[1] // 3
    assert pictures[0].std() > 5
    assert np.array_equal(pictures[0][30:, : third - 60], pictures[1][30:, : third - 60])
    assert not np.array_equal(pictures[0][30:, third:], pictures[1][30:, third:])


def test_bad_input_is_named(tmp_path):
    truth, mask = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"pos must have shape \[N, 2\], got \[4, 3\]"):
        classes_report(tmp_path / "c.png", torch.zeros(4, 3), truth, mask, truth)
    with pytest.raises(ValueError, match=r"predicted must have shape \[4\], got \[3\]"):
        classes_report(tmp_path / "c.png", torch.zeros(4, 2), truth, mask, truth[:3])
