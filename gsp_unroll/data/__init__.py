"""Feed: image files, the photographs that ship with scikit-image, patches, pieces of graphs."""

from __future__ import annotations

from gsp_unroll.data.images import (
    ImageError,
    builtin_images,
    find_images,
    read_image,
    read_image_raw,
    write_image,
)
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.data.pieces import GraphPieces
from gsp_unroll.observe.luma import luma

__all__ = [
    "GraphPieces",
    "ImageError",
    "PatchDataset",
    "builtin_images",
    "find_images",
    "luma",
    "read_image",
    "read_image_raw",
    "write_image",
]
