"""From images and points to PyG ``Data`` and back."""

from gsp_unroll.graphs.construct import grid_edge_index, knn_edge_index, radius_edge_index
from gsp_unroll.graphs.image import data_to_image, image_to_data
from gsp_unroll.graphs.partition import cut_share, partition

__all__ = [
    "cut_share",
    "data_to_image",
    "grid_edge_index",
    "image_to_data",
    "knn_edge_index",
    "partition",
    "radius_edge_index",
]
