from __future__ import annotations

import pytest
import torch
from skimage.color import rgb2ycbcr

from gsp_unroll.observe import CFA, Task, decimation_mask, luma


def test_demosaic_keeps_the_rgb_image_and_one_sample_per_pixel():
    task = Task.from_name("demosaic", cfa="GRBG")
    rgb = torch.rand(3, 5, 6)
    assert task.channels == 3
    assert task.prepare(rgb) is rgb
    assert torch.equal(task.mask(5, 6), CFA("GRBG").mask(5, 6))


def test_interpolate_is_luma_and_decimation():
    task = Task.from_name("interpolate", factor=3)
    rgb = torch.rand(3, 5, 6)
    assert task.channels == 1
    assert torch.equal(task.prepare(rgb), luma(rgb))
    assert torch.equal(task.mask(5, 6), decimation_mask(5, 6, 3))


def test_inpaint_mask_follows_its_seed():
    task = Task.from_name("inpaint", ratio=0.5)
    assert task.channels == 3
    assert task.mask(10, 10, seed=1).sum() == 150
    assert not torch.equal(task.mask(10, 10, seed=1), task.mask(10, 10, seed=2))


def test_a_task_is_a_value():
    assert Task("demosaic") == Task.from_name("demosaic", cfa=CFA("RGGB"))
    assert len({Task("demosaic"), Task.from_name("demosaic", cfa="bayer")}) == 1
    assert "xtrans" in str(Task.from_name("demosaic", cfa="xtrans"))


def test_luma_is_that_of_scikit_image():
    rgb = torch.rand(3, 9, 7, dtype=torch.float64)
    reference = rgb2ycbcr(rgb.permute(1, 2, 0).numpy())[..., 0] / 255
    torch.testing.assert_close(luma(rgb)[0], torch.from_numpy(reference), rtol=0, atol=1e-12)
    assert luma(torch.rand(2, 3, 4, 5)).shape == (2, 1, 4, 5)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"task must be one of.*did you mean 'demosaic'"):
        Task.from_name("demosaik")
    with pytest.raises(ValueError, match="factor must be at least 2"):
        Task.from_name("interpolate", factor=1)
    with pytest.raises(ValueError, match="ratio"):
        Task.from_name("inpaint", ratio=0)
    with pytest.raises(ValueError, match="cfa must be one of"):
        Task.from_name("demosaic", cfa="baier")
    with pytest.raises(TypeError, match="cfa must be a CFA"):
        Task("demosaic", cfa="RGGB")
    with pytest.raises(ValueError, match=r"rgb must have shape \[3, H, W\]"):
        Task("demosaic").prepare(torch.rand(1, 4, 4))
    with pytest.raises(ValueError, match=r"image must have shape"):
        luma(torch.rand(4, 4))
