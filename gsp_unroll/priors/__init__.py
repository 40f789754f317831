"""Graph-signal priors: what makes a signal smooth on a graph. Nothing is learned here."""

from gsp_unroll.priors.glr import GLR, LAPLACIANS
from gsp_unroll.priors.gtv import GTV, soft_threshold

__all__ = ["GLR", "GTV", "LAPLACIANS", "soft_threshold"]
