"""Maps over time and nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gsp_unroll.plotting.space_time import space_time_report

NAN = float("nan")


def signal():
    rng = torch.Generator().manual_seed(0)
    truth = torch.randn(6, 9, generator=rng)
    mask = torch.rand(6, 9, generator=rng) < 0.6
    truth[0, 0] = NAN
    return truth, mask, {"good": truth + 0.1, "bad": truth.nan_to_num() * 0}


def test_a_picture_is_written_and_shows_results_and_order(tmp_path):
    truth, mask, results = signal()
    path = space_time_report(tmp_path / "new" / "a.png", truth, mask, results, unit="m")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[1] > pixels.shape[0] > 300
    assert pixels.std() > 10
    turned = space_time_report(
        tmp_path / "b.png", truth, mask, results, unit="m", order=torch.arange(9).flip(0)
    )
    assert not np.array_equal(pixels, np.asarray(Image.open(turned).convert("RGB")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truth": torch.zeros(6)}, r"truth must have shape \[T, N\]"),
        ({"mask": torch.ones(6, 8).bool()}, r"mask must have shape \[6, 9\], got \[6, 8\]"),
        ({"results": {"mine": torch.zeros(9, 6)}}, r"mine must have shape \[6, 9\]"),
        ({"results": {}}, "results must hold at least one"),
        ({"mask": torch.ones(6, 9).bool()}, "mask must hide at least one known value"),
        ({"order": torch.arange(8)}, r"order must have shape \[9\]"),
    ],
)
def test_bad_input_is_named(tmp_path, changes, message):
    truth, mask, results = signal()
    arguments = {"truth": truth, "mask": mask, "results": results, **changes}
    with pytest.raises(ValueError, match=message):
        space_time_report(tmp_path / "r.png", **arguments)
