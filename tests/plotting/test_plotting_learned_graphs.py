"""The picture of learned graphs is written, and shapes are checked."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("matplotlib")

from gsp_unroll.data.images import read_image
from gsp_unroll.plotting.learned_graphs import learned_graphs_report


def test_a_picture_is_written(tmp_path):
    truth = torch.rand(10)
    errors = {"exact": torch.tensor([0.1]), "network": torch.tensor([0.5, 0.2])}
    path = tmp_path / "sub" / "graphs.png"
    assert learned_graphs_report(path, truth, {"network": truth / 2}, errors) == path
    assert float(read_image(path).std()) > 0.05
    with pytest.raises(ValueError, match=r"network must have shape \[10\]"):
        learned_graphs_report(path, truth, {"network": torch.rand(6)}, errors)
