from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gsp_unroll.evaluation import mse, psnr, ssim


def pair(batch, channels, height, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(height)
    truth = torch.rand(batch, channels, height, width, dtype=dtype, generator=generator)
    noise = torch.randn(truth.shape, dtype=dtype, generator=generator)
    scale = torch.linspace(0.01, 0.3, batch, dtype=dtype).view(-1, 1, 1, 1)
    return truth + scale * noise, truth


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (16, 21)])
@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_psnr_and_ssim_are_those_of_scikit_image(channels, height, width, peak):
    estimate, truth = pair(4, channels, height, width)
    estimate, truth = estimate * peak, truth * peak
    ours = torch.stack([psnr(estimate, truth, peak), ssim(estimate, truth, peak)])
    for k in range(4):
        a, b = (x[k].permute(1, 2, 0).numpy() for x in (estimate, truth))
        reference = [
            peak_signal_noise_ratio(b, a, data_range=peak),
            structural_similarity(a, b, channel_axis=-1, data_range=peak),
        ]
        np.testing.assert_allclose(ours[:, k].numpy(), reference, rtol=1e-10)


def test_float32_ssim_of_a_bright_flat_image_does_not_cancel():
    generator = torch.Generator().manual_seed(0)
    truth = 0.9 + 1e-3 * torch.rand(1, 1, 32, 32, generator=generator, dtype=torch.float64)
    estimate = truth + 1e-4 * torch.rand(truth.shape, generator=generator, dtype=torch.float64)
    exact = ssim(estimate, truth)
    torch.testing.assert_close(
        ssim(estimate.float(), truth.float()).double(), exact, atol=1e-5, rtol=0
    )


def test_an_image_does_not_depend_on_its_batch_mates():
    estimate, truth = pair(3, 3, 9, 11, torch.float32)
    for metric in (mse, psnr, ssim):
        together = metric(estimate, truth)
        alone = torch.cat([metric(estimate[k : k + 1], truth[k : k + 1]) for k in range(3)])
        assert torch.equal(together, alone)


def test_equal_images():
    x = torch.rand(2, 3, 8, 8)
    assert mse(x, x).tolist() == [0, 0]
    assert psnr(x, x).tolist() == [float("inf")] * 2
    torch.testing.assert_close(ssim(x, x), torch.ones(2))


def test_metrics_are_differentiable():
    estimate, truth = pair(1, 1, 8, 8)
    estimate.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: (mse(x, truth), ssim(x, truth)), (estimate,))


def test_wrong_arguments_are_named():
    x = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"\[B, C, H, W\].*\[1, 3, 8, 8\] and \[1, 3, 8, 7\]"):
        psnr(x, x[..., :7])
    with pytest.raises(ValueError, match="one shape"):
        mse(x[0], x[0])
    with pytest.raises(ValueError, match="at least 7 x 7 for SSIM, got 6 x 8"):
        ssim(x[..., :6, :], x[..., :6, :])
    with pytest.raises(TypeError, match="estimate must be a floating-point"):
        mse(x.int(), x)
    with pytest.raises(ValueError, match="data_range"):
        psnr(x, x, data_range=0)
