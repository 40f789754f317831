from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gsp_unroll.training.sources import HeldOut
from gsp_unroll.training.validate import psnr, squared_errors


class Shift(nn.Module):
    def forward(self, y, mask):
        return y + 0.1


def _items(count):
    item = torch.zeros(1, 1, 4, 4)
    return [HeldOut(str(k), item, item, item > 0) for k in range(count)]


def test_the_two_protocols():
    errors = torch.tensor([1e-2, 1e-4], dtype=torch.float64)
    assert psnr(errors, "usual") == pytest.approx(30.0)
    assert psnr(errors, "paper") == pytest.approx(-10 * math.log10(0.5 * 1.01e-2))
    with pytest.raises(ValueError, match=r"protocol must be .* did you mean 'paper'"):
        psnr(errors, "papr")
    assert psnr(torch.zeros(1), "usual") == math.inf


def test_errors_per_image():
    model = Shift().train()
    errors = squared_errors(model, _items(3), torch.device("cpu"), lambda: False)
    torch.testing.assert_close(errors, torch.full((3,), 0.01, dtype=torch.float64))
    assert not model.training


def test_a_stop_request_abandons_the_validation():
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 2

    assert squared_errors(Shift(), _items(5), torch.device("cpu"), stop) is None
    assert len(asked) == 3
