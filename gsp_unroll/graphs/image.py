"""Image <-> PyG ``Data`` on a window grid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.topology import Grid
from gsp_unroll.topology.from_data import GRID_ATTRIBUTES


def image_to_data(image: Tensor, mask: Tensor | None = None, window: int = 5) -> Data:
    """An image as a graph signal on its window grid.

    Args:
        image: ``[C, H, W]`` floating point; NaN marks a missing sample.
        mask: Boolean ``[C, H, W]`` or ``[H, W]``, ``True`` = observed (default: all that is not
            NaN).
        window: Odd side of the window (default: 5).

    Returns:
        ``Data`` with ``x [N, C]``, ``mask [N, C]``, ``pos [N, 2]`` (row, column), ``edge_index``
        and the integers ``height``, ``width``, ``window``. ``N = H * W``, row by row.

    Raises:
        TypeError: If ``image`` is not floating point or ``mask`` not boolean.
        ValueError: If a shape does not fit, or ``window`` is even or below 3.
    """
    checks.floating("image", image)
    checks.shape("image", image, ["C", "H", "W"])
    channels, height, width = image.shape
    if image.numel() == 0:
        raise ValueError(f"image must not be empty, got shape {list(image.shape)}")
    if mask is None:
        mask = ~torch.isnan(image)
    checks.boolean_tensor("mask", mask)
    checks.same_device(image=image, mask=mask)
    if mask.shape not in (image.shape, image.shape[1:]):
        raise ValueError(
            f"mask must have shape {list(image.shape)} or {list(image.shape[1:])}, "
            f"got {list(mask.shape)}"
        )
    grid = Grid(height, width, window, device=image.device)
    row, col = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pos = torch.stack([row, col], dim=-1).view(-1, 2).to(image)
    return Data(
        x=image.reshape(channels, -1).T.contiguous(),
        mask=mask.expand_as(image).reshape(channels, -1).T.contiguous(),
        pos=pos,
        edge_index=grid.edge_index.clone(),
        height=height,
        width=width,
        window=window,
    )


def data_to_image(data: Data) -> Tensor:
    """The image that a graph signal on a window grid shows; inverse of :func:`image_to_data`.

    Args:
        data: ``Data`` from :func:`image_to_data`, or a ``Batch`` of equally sized ones.

    Returns:
        ``[C, H, W]``, or ``[B, C, H, W]`` for a ``Batch``.

    Raises:
        TypeError: If ``data`` is not a ``Data``.
        ValueError: If ``data`` is not an image, or a batch of different sizes, or ``data.x`` does
            not fit.
    """
    if not isinstance(data, Data):
        raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
    missing = [name for name in (*GRID_ATTRIBUTES[:2], "x") if data.get(name) is None]
    if missing:
        raise ValueError(f"data must come from image_to_data: it has no {', '.join(missing)}")
    sizes = {
        (int(h), int(w))
        for h, w in zip(
            torch.as_tensor(data.height).flatten(),
            torch.as_tensor(data.width).flatten(),
            strict=True,
        )
    }
    if len(sizes) != 1:
        raise ValueError(
            f"data must hold images of one size, got {sorted(sizes)}; use Batch.to_data_list()"
        )
    height, width = sizes.pop()
    checks.shape("data.x", data.x, ["nodes", "channels"])
    several = data.get("ptr") is not None
    count, rest = divmod(len(data.x), height * width)
    if rest or (count != 1 and not several):
        raise ValueError(
            f"data.x must have {'a multiple of ' if several else ''}height x width = {height} x "
            f"{width} rows, got {len(data.x)}; a sequence needs data_to_sequence first"
        )
    image = data.x.reshape(-1, height, width, data.x.shape[1]).permute(0, 3, 1, 2).contiguous()
    return image if several else image[0]
