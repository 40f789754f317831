"""Networks and model-based methods, assembled from the parts."""

from gsp_unroll.models.build import build
from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.model_based import IGLR, IGTV
from gsp_unroll.models.pretrained import (
    CheckpointError,
    load_pretrained,
    pretrained_metadata,
    save_pretrained,
)
from gsp_unroll.models.shipped import shipped_weights
from gsp_unroll.models.uglr import UGLR
from gsp_unroll.models.uglr_plus import UGLRPlus
from gsp_unroll.models.ugtv import UGTV
from gsp_unroll.models.unrolled import BlockReport, UnrolledNetwork

__all__ = [
    "IGLR",
    "IGTV",
    "UGLR",
    "UGTV",
    "BlockReport",
    "CheckpointError",
    "ModelConfig",
    "UGLRPlus",
    "UnrolledNetwork",
    "build",
    "load_pretrained",
    "pretrained_metadata",
    "save_pretrained",
    "shipped_weights",
]
