"""Config -> network."""

from __future__ import annotations

from gsp_unroll.models.config import EXTRAS, ModelConfig
from gsp_unroll.models.uglr import UGLR
from gsp_unroll.models.uglr_plus import UGLRPlus
from gsp_unroll.models.ugtv import UGTV
from gsp_unroll.models.unrolled import UnrolledNetwork


def build(config: ModelConfig) -> UnrolledNetwork:
    """The network that ``config`` describes, freshly initialised."""
    if not isinstance(config, ModelConfig):
        raise TypeError(f"config must be a ModelConfig, got {type(config).__name__}")
    arguments = config.as_dict()
    name = arguments.pop("name")
    if name == "uglr-plus":
        arguments.pop("laplacian")
        return UGLRPlus(**arguments)
    for option in EXTRAS:
        arguments.pop(option)
    if name == "uglr":
        return UGLR(**arguments)
    arguments.pop("laplacian")
    return UGTV(**arguments)
