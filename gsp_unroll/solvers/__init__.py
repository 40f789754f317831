"""Exact solvers: driven by a tolerance, one status per system."""

from gsp_unroll.solvers.cg import ConjugateGradient
from gsp_unroll.solvers.glr import solve_glr
from gsp_unroll.solvers.gtv import GTVSolver
from gsp_unroll.solvers.solution import Solution, SolverError, Status

__all__ = ["ConjugateGradient", "GTVSolver", "Solution", "SolverError", "Status", "solve_glr"]
