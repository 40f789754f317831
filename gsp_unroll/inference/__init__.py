"""Use: restore images of any size with a trained network or a model-based method."""

from gsp_unroll.inference.restore import restore

__all__ = ["restore"]
