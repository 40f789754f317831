"""iGLR and iGTV: the same problems on hand-made graphs, solved exactly, nothing learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gsp_unroll import checks
from gsp_unroll.graphs.validate import check_observation
from gsp_unroll.observe.fill import fill_in
from gsp_unroll.ops import planar
from gsp_unroll.priors import GLR, GTV
from gsp_unroll.solvers import ConjugateGradient, GTVSolver, solve_glr
from gsp_unroll.topology import Grid, Topology

# Weights are kept above this, so that no pixel is cut off from the samples.
_SMALLEST_WEIGHT = 1e-6


def bilateral_weights(
    topology: Topology, position: Tensor, colour: Tensor, sigma_position: float, sigma_colour: float
) -> Tensor:
    r"""Bilateral-filter weights, a Mahalanobis graph with a hand-set metric.

    .. math:: w_{ij}=\exp(-\|p_i-p_j\|^2/\sigma_p^2-\|c_i-c_j\|^2/\sigma_c^2)

    Args:
        topology: Structure.
        position: ``[2, N]`` in pixels.
        colour: ``[B, C, N]``.
        sigma_position: :math:`\sigma_p` in pixels.
        sigma_colour: :math:`\sigma_c` in units of ``colour``.

    Returns:
        ``[B, M]``.
    """
    features = torch.cat(
        [position.expand(len(colour), -1, -1) / sigma_position, colour / sigma_colour], dim=1
    )
    return torch.exp(-planar.distance(topology, features)).clamp(min=_SMALLEST_WEIGHT)


class _ModelBased(nn.Module):
    """Bilinear first guess, then ``rounds`` of: graph from the estimate, solve on that graph."""

    def __init__(
        self, sigma_position: float, sigma_colour: float, window: int, rounds: int
    ) -> None:
        super().__init__()
        self.sigma_position = checks.in_range("sigma_position", sigma_position, 0, open_low=True)
        self.sigma_colour = checks.in_range("sigma_colour", sigma_colour, 0, open_low=True)
        self.window = Grid(1, 1, window).window
        self.rounds = checks.positive_int("rounds", rounds)

    def forward(self, y: Tensor, mask: Tensor) -> Tensor:
        """Restore images.

        Args:
            y: Samples ``[B, C, H, W]``, float32 or float64.
            mask: Boolean, broadcastable to ``y``, ``True`` = observed.

        Returns:
            ``[B, C, H, W]``; observed samples come back bit for bit.

        Raises:
            TypeError: If a dtype does not fit.
            ValueError: If a shape does not fit, a sample is NaN, or a channel has no sample.
        """
        checks.shape("y", checks.tensor("y", y), ["B", "C", "H", "W"])
        observed = check_observation(y, mask)
        y = torch.where(observed, y, 0)
        grid = Grid(y.shape[2], y.shape[3], self.window, device=y.device)
        rows, cols = (torch.arange(n, device=y.device, dtype=y.dtype) for n in y.shape[2:])
        position = torch.stack(torch.meshgrid(rows, cols, indexing="ij")).flatten(1)
        x = fill_in(y, observed).flatten(-2)
        observed, samples = observed.flatten(-2), y.flatten(-2)
        for _ in range(self.rounds):
            weight = bilateral_weights(grid, position, x, self.sigma_position, self.sigma_colour)
            x = self.solve(grid, weight, samples, observed, x)
        return x.view_as(y)

    def solve(self, grid: Grid, weight: Tensor, y: Tensor, observed: Tensor, x: Tensor) -> Tensor:
        raise TypeError("use IGLR or IGTV")


class IGLR(_ModelBased):
    r"""Model-based GLR interpolation: :math:`\min_x x^\top Lx`, :math:`Hx=y`, bilateral graph.

    Solved by CG on the free pixels; no parameters to train. The graph is built from the bilinear
    first guess and again from each result.

    Args:
        sigma_position: Reach of the weights in pixels (default: 1).
        sigma_colour: Tolerance to colour differences, in units of the image (default: 0.1).
        window: Odd side of the pixel neighbourhood (default: 5).
        rounds: How often the graph is built (default: 2).
        cg: The linear solver (default: relative tolerance 1e-4).
    """

    def __init__(
        self,
        sigma_position: float = 1.0,
        sigma_colour: float = 0.1,
        window: int = 5,
        rounds: int = 2,
        cg: ConjugateGradient | None = None,
    ) -> None:
        super().__init__(sigma_position, sigma_colour, window, rounds)
        self.cg = cg or ConjugateGradient(tolerance=1e-4)

    def solve(self, grid: Grid, weight: Tensor, y: Tensor, observed: Tensor, x: Tensor) -> Tensor:
        return solve_glr(GLR(grid, weight), y, observed, start=x, cg=self.cg).value


class IGTV(_ModelBased):
    r"""Model-based GTV interpolation: :math:`\min_x\|Cx\|_1`, :math:`Hx=y`, bilateral graph.

    Solved by ADMM; no parameters to train.

    Args:
        sigma_position: Reach of the weights in pixels (default: 0.7).
        sigma_colour: Tolerance to colour differences, in units of the image (default: 0.1).
        window: Odd side of the pixel neighbourhood (default: 5).
        rounds: How often the graph is built (default: 2).
        solver: The ADMM solver (default: 15 iterations
            of 5 CG steps; more changes the images by less than 0.1 dB).
    """

    def __init__(
        self,
        sigma_position: float = 0.7,
        sigma_colour: float = 0.1,
        window: int = 5,
        rounds: int = 2,
        solver: GTVSolver | None = None,
    ) -> None:
        super().__init__(sigma_position, sigma_colour, window, rounds)
        self.solver = solver or GTVSolver(tolerance=1e-3, max_iterations=15, cg_iterations=5)

    def solve(self, grid: Grid, weight: Tensor, y: Tensor, observed: Tensor, x: Tensor) -> Tensor:
        return self.solver.solve(GTV(grid, weight), y, observed, x).value
