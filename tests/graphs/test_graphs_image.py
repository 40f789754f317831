"""Image -> PyG data -> image."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from gsp_unroll.graphs import data_to_image, grid_edge_index, image_to_data, sequence_to_data

SIZES = [(3, 5, 7), (1, 1, 1), (4, 1, 6), (2, 8, 3)]
every_size = pytest.mark.parametrize(("channels", "height", "width"), SIZES)


@every_size
@pytest.mark.parametrize("window", [3, 5])
def test_round_trip(channels, height, width, window):
    image = torch.rand(channels, height, width)
    data = image_to_data(image, window=window)
    assert data.x.shape == (height * width, channels)
    assert (data.height, data.width, data.window) == (height, width, window)
    assert torch.equal(data.edge_index, grid_edge_index(height, width, window))
    assert bool(data.mask.all())
    assert torch.equal(data_to_image(data), image)
    data.validate()


@every_size
def test_batch_round_trip(channels, height, width):
    images = torch.rand(3, channels, height, width)
    batch = Batch.from_data_list([image_to_data(image) for image in images])
    assert torch.equal(data_to_image(batch), images)
    assert data_to_image(Batch.from_data_list([image_to_data(images[0])])).shape[0] == 1


def test_nodes_are_pixels_row_by_row():
    data = image_to_data(torch.arange(6.0).view(1, 2, 3))
    assert data.x.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert data.pos.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_nan_means_missing():
    image = torch.rand(2, 3, 3)
    image[1, 2, 0] = torch.nan
    mask = image_to_data(image).mask
    assert mask.dtype == torch.bool
    assert (~mask).nonzero().tolist() == [[6, 1]]


def test_mask_of_all_channels_or_of_each():
    image = torch.rand(3, 2, 2)
    mask = torch.tensor([[True, False], [False, True]])
    data = image_to_data(image, mask)
    assert data.mask.tolist() == [[True] * 3, [False] * 3, [False] * 3, [True] * 3]
    own = torch.rand(3, 2, 2) > 0.5
    assert torch.equal(image_to_data(image, own).mask.T.view(3, 2, 2), own)


def test_data_does_not_share_memory_between_images():
    first, second = image_to_data(torch.rand(1, 3, 3)), image_to_data(torch.rand(1, 3, 3))
    first.edge_index.zero_()
    assert bool(second.edge_index.any())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: image_to_data(torch.ones(3, 3)), ValueError,
         r"image must have shape \[C, H, W\], got \[3, 3\]"),
        (lambda: image_to_data(torch.ones(1, 3, 3, dtype=torch.uint8)), TypeError,
         "image must be a floating-point tensor, got torch.uint8"),
        (lambda: image_to_data(torch.ones(3, 0, 3)), ValueError, r"image must not be empty"),
        (lambda: image_to_data([[1.0]]), TypeError, "image must be a torch.Tensor, got list"),
        (lambda: image_to_data(torch.ones(1, 3, 3), torch.ones(3, 3)), TypeError,
         r"mask must be a bool tensor \(True = observed\), got torch.float32"),
        (lambda: image_to_data(torch.ones(1, 3, 3), torch.ones(3, 4) > 0), ValueError,
         r"mask must have shape \[1, 3, 3\] or \[3, 3\], got \[3, 4\]"),
        (lambda: image_to_data(torch.ones(1, 3, 3), torch.ones(3, 3, device="meta") > 0),
         ValueError, "one device, got image on cpu, mask on meta"),
        (lambda: image_to_data(torch.ones(1, 3, 3), window=4), ValueError, "window must be odd"),
        (lambda: data_to_image(Data(x=torch.ones(4, 1))), ValueError,
         "data must come from image_to_data: it has no height, width"),
        (lambda: data_to_image(Data(height=2, width=2)), ValueError, "it has no x"),
        (lambda: data_to_image(Data(x=torch.ones(5, 1), height=2, width=2)), ValueError,
         r"height x width = 2 x 2 rows, got 5"),
        (lambda: data_to_image(Data(x=torch.ones(4), height=2, width=2)), ValueError,
         r"data.x must have shape \[nodes, channels\], got \[4\]"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_batch_of_different_sizes_is_refused_with_a_way_out():
    batch = Batch.from_data_list(
        [image_to_data(torch.ones(1, 2, 3)), image_to_data(torch.ones(1, 3, 2))]
    )
    with pytest.raises(ValueError, match=r"one size, got \[\(2, 3\), \(3, 2\)\].*to_data_list"):
        data_to_image(batch)


def test_a_sequence_of_images_is_not_one_image():
    images = [image_to_data(torch.rand(1, 3, 4), window=3) for _ in range(3)]
    with pytest.raises(ValueError, match="height x width = 3 x 4 rows, got 36; a sequence needs"):
        data_to_image(sequence_to_data(images))
    with pytest.raises(TypeError, match="got NoneType"):
        data_to_image(None)
