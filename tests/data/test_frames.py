import numpy as np
import pytest
import torch

from gsp_unroll.data.frames import add_frame
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.observe import Task

DEMOSAIC = Task.from_name("demosaic")


def _frames(side: int, count: int) -> list[torch.Tensor]:
    """Frames around a colour that no frame has, seen from the side that each is at."""
    image = torch.tensor([2.0, 3.0, 4.0])[:, None, None].expand(3, side, side).clone()
    before = image.clone()
    frames = []
    for k in range(count):
        framed = add_frame(image, np.random.default_rng(k))
        assert torch.equal(image, before)
        turned = [torch.rot90(framed, turns, (1, 2)) for turns in range(4)]
        [top] = [t for t in turned if float(t[:, 0].max()) <= 1]
        frames.append(top)
    return frames


def test_a_frame_is_of_one_grey_and_ends_at_most_one_line_beyond_it():
    colour = torch.tensor([2.0, 3.0, 4.0])
    widths, levels, shares = [], [], []
    for framed in _frames(9, 200):
        assert torch.equal(framed, framed[:, :, :1].expand_as(framed))
        lines = framed[:, :, 0]
        width = int((lines.amax(0) == lines.amin(0)).sum())
        assert lines[:, :width].unique().numel() == 1
        # What is between: the same share of a grey in each channel, which keeps differences apart.
        between = lines[:, width]
        share = 1 - float(between[2] - between[0]) / 2
        grey = float(between[0]) - (1 - share) * 2
        assert -1e-5 <= grey <= share + 1e-5
        assert torch.allclose(between, (1 - share) * colour + grey)
        assert torch.equal(lines[:, width + 1 :], colour[:, None].expand(3, 8 - width))
        widths.append(width)
        levels.append(float(lines[0, 0]))
        shares.append(share)
    assert set(widths) == {1, 2, 3}
    assert 70 < levels.count(0.0) < 130
    assert 70 < sum(share > 1e-6 for share in shares) < 130


def test_frames_are_at_all_sides():
    image = torch.full((3, 5, 7), 2.0)
    sides = set()
    for k in range(40):
        framed = add_frame(image, np.random.default_rng(k))
        assert framed.shape == image.shape
        lines = {
            "top": framed[:, 0],
            "bottom": framed[:, -1],
            "left": framed[:, :, 0],
            "right": framed[:, :, -1],
        }
        sides |= {name for name, line in lines.items() if float(line.max()) <= 1}
    assert sides == {"top", "bottom", "left", "right"}


@pytest.mark.parametrize("side", [2, 3])
def test_a_frame_leaves_a_line_of_the_smallest_images(side):
    for k in range(20):
        framed = add_frame(torch.full((1, side, side), 2.0), np.random.default_rng(k))
        assert float(framed.max()) > 1 or side == 2


def test_a_share_of_the_patches_is_framed_and_the_others_are_as_without():
    image = {"a": torch.rand(3, 40, 40) * 0.5 + 0.25}
    options = {"patch": 16, "length": 200}
    plain = PatchDataset(image, DEMOSAIC, **options)
    some, every = (PatchDataset(image, DEMOSAIC, framed=p, **options) for p in (0.25, 1.0))

    def framed(dataset: PatchDataset, k: int) -> bool:
        return not torch.equal(dataset[k]["truth"], plain[k]["truth"])

    assert 30 < sum(framed(some, k) for k in range(200)) < 70
    assert all(framed(every, k) for k in range(200))
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="framed"):
            PatchDataset(image, DEMOSAIC, framed=share, **options)
