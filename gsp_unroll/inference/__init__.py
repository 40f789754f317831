"""Use: restore images and graphs of any size with a trained network or another method."""

from gsp_unroll.inference.ensemble import ENSEMBLE_SIZES
from gsp_unroll.inference.memory import bytes_per_pixel
from gsp_unroll.inference.noise_aware import NoiseAware
from gsp_unroll.inference.pieces import restore_in_pieces
from gsp_unroll.inference.restore import restore

__all__ = ["ENSEMBLE_SIZES", "NoiseAware", "bytes_per_pixel", "restore", "restore_in_pieces"]
