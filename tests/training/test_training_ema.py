from __future__ import annotations

import pytest
import torch
from torch import nn

from gsp_unroll.training.ema import EMA


def _set(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_average_follows_the_formula():
    model = nn.Linear(2, 1)
    _set(model, 1.0)
    ema = EMA(model, 0.9)
    expected, values = 1.0, [3.0, -1.0, 2.0]
    for t, value in enumerate(values):
        _set(model, value)
        ema.update(model)
        decay = min(0.9, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * value
    copy = nn.Linear(2, 1)
    ema.copy_to(copy)
    for parameter in copy.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, expected))


def test_zero_decay_is_the_last_weights():
    model = nn.Linear(2, 1)
    ema = EMA(model, 0.0)
    _set(model, 7.0)
    ema.update(model)
    assert all((weight == 7.0).all() for weight in ema.weights.values())


def test_saved_average_goes_on_exactly():
    model = nn.Linear(3, 2)
    ema = EMA(model, 0.99)
    _set(model, 0.3)
    ema.update(model)
    saved = {"updates": 1, "weights": {k: v.clone() for k, v in ema.weights.items()}}
    other = EMA(model, 0.99)
    other.load_state_dict(saved)
    for average in (ema, other):
        average.update(model)
    assert ema.updates == other.updates
    assert all(torch.equal(ema.weights[k], other.weights[k]) for k in ema.weights)


def test_foreign_state_and_bad_decay_are_refused():
    ema = EMA(nn.Linear(3, 2), 0.99)
    with pytest.raises(ValueError, match="other weights than the model"):
        ema.load_state_dict({"updates": 1, "weights": {"x": torch.zeros(1)}})
    with pytest.raises(ValueError, match=r"decay must be finite and >= 0.0 and < 1.0, got 1.0"):
        EMA(nn.Linear(3, 2), 1.0)
