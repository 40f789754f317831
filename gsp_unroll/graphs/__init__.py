"""From images, points, meshes and sequences to PyG ``Data`` and back."""

from gsp_unroll.graphs.construct import grid_edge_index, knn_edge_index, radius_edge_index
from gsp_unroll.graphs.edge_weight import gaussian_edge_weight
from gsp_unroll.graphs.image import data_to_image, image_to_data
from gsp_unroll.graphs.mesh import mesh_to_data
from gsp_unroll.graphs.partition import cut_share, partition
from gsp_unroll.graphs.product import data_to_sequence, sequence_to_data, space_time_edge_index

__all__ = [
    "cut_share",
    "data_to_image",
    "data_to_sequence",
    "gaussian_edge_weight",
    "grid_edge_index",
    "image_to_data",
    "knn_edge_index",
    "mesh_to_data",
    "partition",
    "radius_edge_index",
    "sequence_to_data",
    "space_time_edge_index",
]
