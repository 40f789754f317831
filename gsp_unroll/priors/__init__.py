"""Graph-signal priors: what makes a signal smooth on a graph. Nothing is learned here."""

from gsp_unroll.priors.glr import GLR, LAPLACIANS
from gsp_unroll.priors.gtv import GTV, soft_threshold
from gsp_unroll.priors.joint_glr import JointGLR

__all__ = ["GLR", "GTV", "LAPLACIANS", "JointGLR", "soft_threshold"]
