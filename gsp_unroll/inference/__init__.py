"""Use: restore images of any size with a trained network or a model-based method."""

from gsp_unroll.inference.memory import bytes_per_pixel
from gsp_unroll.inference.noise_aware import NoiseAware
from gsp_unroll.inference.restore import restore

__all__ = ["NoiseAware", "bytes_per_pixel", "restore"]
