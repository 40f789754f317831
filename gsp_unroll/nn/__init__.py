"""Trainable layers: graph learning, node features, unrolled solver steps."""

from gsp_unroll.nn.cuda_graph import capture_blocks
from gsp_unroll.nn.features import ImageFeatures, NodeFeatures
from gsp_unroll.nn.glr_layer import GLRLayer
from gsp_unroll.nn.gtv_layer import GTVLayer
from gsp_unroll.nn.mahalanobis import MahalanobisGraph
from gsp_unroll.nn.trend import KernelTrend, LinearTrend, Trend
from gsp_unroll.nn.unrolled_cg import UnrolledCG
from gsp_unroll.ops.gate import gated_weights

__all__ = [
    "GLRLayer",
    "GTVLayer",
    "ImageFeatures",
    "KernelTrend",
    "LinearTrend",
    "MahalanobisGraph",
    "NodeFeatures",
    "Trend",
    "UnrolledCG",
    "capture_blocks",
    "gated_weights",
]
