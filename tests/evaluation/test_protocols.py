from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gsp_unroll.evaluation import PROTOCOLS, ImageScore, Protocol, protocols_from_name


def test_paper_averages_errors_and_usual_averages_decibels():
    scores = [ImageScore(1e-2, 20.0, 0.5), ImageScore(1e-4, 40.0, 0.9)]
    psnr, ssim = PROTOCOLS["paper"].average(scores)
    assert psnr == pytest.approx(-10 * math.log10((1e-2 + 1e-4) / 2))
    assert ssim == pytest.approx(0.7)
    assert PROTOCOLS["usual"].average(scores) == pytest.approx((30.0, 0.7))


@pytest.mark.parametrize("name", ["paper", "usual"])
def test_score_is_scikit_image_on_unclipped_floats(name):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 9, 12, generator=generator)
    estimate = truth + 0.4 * torch.randn(truth.shape, generator=generator)  # leaves [0, 1]
    score = PROTOCOLS[name].score(estimate, truth)
    a, b = (x.double().permute(1, 2, 0).numpy() for x in (estimate, truth))
    assert score.mse == pytest.approx(np.mean((a - b) ** 2), rel=1e-12)
    assert score.psnr == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1.0))
    expected = structural_similarity(a, b, channel_axis=-1, data_range=1.0)
    assert score.ssim == pytest.approx(expected)


def test_fields_do_what_they_say():
    truth = torch.full((1, 11, 11), 0.5)
    estimate = truth.clone()
    estimate[0, 0, 0] = 2.0
    plain, clipped, cut = (
        Protocol("p", "mean MSE", **options).score(estimate, truth)
        for options in ({}, {"clip": True}, {"border": 1})
    )
    assert plain.mse == pytest.approx(1.5**2 / 121)
    assert clipped.mse == pytest.approx(0.5**2 / 121)
    assert (cut.mse, cut.psnr) == (0, math.inf)
    near = torch.full_like(truth, 100.3 / 255).double()
    rounded = Protocol("p", "mean MSE", round_to_8_bits=True).score(near, near.round() + 100 / 255)
    assert rounded.mse == pytest.approx(0, abs=1e-15)


def test_a_diverged_estimate_shows_as_nan():
    truth = torch.rand(1, 8, 8)
    for bad in (math.nan, math.inf):
        estimate = truth.clone()
        estimate[0, 3, 3] = bad
        score = PROTOCOLS["paper"].score(estimate, truth)
        assert all(math.isnan(v) for v in (score.mse, score.psnr, score.ssim))
        assert math.isnan(PROTOCOLS["paper"].average([score, ImageScore(1e-3, 30, 0.9)])[0])


def test_descriptions_tell_the_protocols_apart():
    texts = [p.describe() for p in PROTOCOLS.values()]
    assert len(set(texts)) == 2
    assert "mean MSE" in texts[0]
    for text in texts:
        assert "not clipped" in text
        assert "no border" in text
    assert "8 bits" in Protocol("x", "mean MSE", round_to_8_bits=True).describe()
    assert PROTOCOLS["paper"].fields()["clip"] is False


def test_names():
    assert [p.name for p in protocols_from_name("both")] == ["paper", "usual"]
    assert protocols_from_name("usual") == [PROTOCOLS["usual"]]
    with pytest.raises(ValueError, match="did you mean 'paper'"):
        protocols_from_name("papr")


def test_wrong_arguments_are_named():
    x = torch.rand(3, 8, 8)
    with pytest.raises(ValueError, match=r"\[C, H, W\]"):
        PROTOCOLS["paper"].score(x, x[:1])
    with pytest.raises(ValueError, match=r"at least 7 x 7 .* got 6 x 6"):
        Protocol("p", "mean MSE", border=1).score(x, x)
    with pytest.raises(ValueError, match="at least 7 x 7"):
        PROTOCOLS["paper"].score(x[:, :1, :1], x[:, :1, :1])
    with pytest.raises(ValueError, match="psnr_of"):
        Protocol("p", "median")
    with pytest.raises(ValueError, match="at least one image"):
        PROTOCOLS["paper"].average([])
