from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("matplotlib")

from gsp_unroll.plotting.mesh import _colours, _shade, mesh_report

POS = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
FACE = torch.tensor(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
).T


def test_the_picture_depends_on_the_result(tmp_path):
    truth, mask = torch.linspace(0, 1, 6), torch.arange(6) % 2 == 0
    pictures = []
    for result in (truth, 1 - truth):
        path = mesh_report(
            tmp_path / "deep" / "m.png", POS, FACE, {"height": (truth, mask, {"GLR": result})}
        )
        pictures.append(np.asarray(Image.open(path).convert("RGB")))
    assert pictures[0].shape == pictures[1].shape
    assert pictures[0].std() > 5
    half = pictures[0].shape[1] // 2
    assert np.array_equal(pictures[0][40:, :half], pictures[1][40:, :half])
    assert not np.array_equal(pictures[0][:, half:], pictures[1][:, half:])


def test_triangles_are_coloured_by_the_corners_that_were_observed():
    from matplotlib.colors import Normalize

    value = torch.tensor([0.0, 1, 1, 1, 1, 1])
    seen = torch.tensor([True, False, False, False, False, True])
    shown = _colours(value, seen, FACE, Normalize(0, 1))
    whole = _colours(value, torch.ones(6, dtype=torch.bool), FACE, Normalize(0, 1))
    low, high = shown[0], shown[5]
    assert torch.equal(shown[1], torch.full((3,), 0.8, dtype=torch.float64))  # none observed
    torch.testing.assert_close(shown[4], (low + high) / 2)
    torch.testing.assert_close(whole[1], high)
    torch.testing.assert_close(whole[0], (low + 2 * high) / 3)


def test_light_falls_from_above():
    shade = _shade(POS, FACE)
    assert float(shade[:4].mean()) > float(shade[4:].mean())
    assert int(shade.argmax()) == 3  # of all octants the one where the light is
    assert bool(((shade >= 0.5) & (shade <= 1)).all())


def test_bad_input_is_named(tmp_path):
    truth, mask = torch.zeros(6), torch.ones(6, dtype=torch.bool)
    path = tmp_path / "m.png"
    with pytest.raises(ValueError, match=r"pos must have shape \[V, 3\]"):
        mesh_report(path, POS[:, :2], FACE, {"a": (truth, mask, {})})
    with pytest.raises(ValueError, match="rows must hold one signal at least"):
        mesh_report(path, POS, FACE, {})
    with pytest.raises(ValueError, match="each with as many results"):
        mesh_report(path, POS, FACE, {"a": (truth, mask, {}), "b": (truth, mask, {"x": truth})})
    with pytest.raises(ValueError, match=r"rows\['a'\] mask must have shape \[6\], got \[5\]"):
        mesh_report(path, POS, FACE, {"a": (truth, mask[:5], {})})
