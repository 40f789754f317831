"""Learn graphs from signals."""

from gsp_unroll.graph_learning.f_score import f_score
from gsp_unroll.graph_learning.inpainting_driven import InpaintingDrivenGraph
from gsp_unroll.graph_learning.inpainting_driven_network import (
    PUBLISHED,
    InpaintingDrivenConfig,
    InpaintingDrivenNetwork,
    InpaintingDrivenOutput,
)
from gsp_unroll.graph_learning.joint_inpainting import inpaint
from gsp_unroll.graph_learning.nearest_rows import nearest_rows

__all__ = [
    "PUBLISHED",
    "InpaintingDrivenConfig",
    "InpaintingDrivenGraph",
    "InpaintingDrivenNetwork",
    "InpaintingDrivenOutput",
    "f_score",
    "inpaint",
    "nearest_rows",
]
