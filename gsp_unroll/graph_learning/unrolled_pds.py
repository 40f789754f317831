"""Primal-dual splitting of a fixed number of iterations whose scalars are learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from gsp_unroll import checks
from gsp_unroll.graph_learning.pds import Scalars, pds_step, scalars, start


class UnrolledPDS(nn.Module):
    r"""Learn a graph by ``layers`` steps of :func:`.pds_step` with learned γ, α and β.

    (Pu et al., NeurIPS 2021, "Unrolling" and, with ``shared``, "Recurrent Unrolling".) With equal
    scalars in all layers it is the iteration of :func:`.solve_pds`, exactly.

    Args:
        layers: Number of iterations, at least 1 (default: 20).
        shared: One γ, α and β for all layers (default: ``False``).
        step: Initial γ (default: 0.01).
        alpha: Initial α, weight of the log barrier (default: 1).
        beta: Initial β, weight of the squared norm (default: 1).
        slope: Slope of the projection below zero, in [0, 1]: 0 projects on nonnegative weights,
            above that it is a leaky ReLU (default: 0).

    Shapes:
        - **z:** ``[*, m (m - 1) / 2]``, half vectors of squared distances, any ``m``
        - **output:** ``[layers, *, m (m - 1) / 2]``, the weights after each layer; they may lie
          below zero

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        layers: int = 20,
        *,
        shared: bool = False,
        step: float = 0.01,
        alpha: float = 1.0,
        beta: float = 1.0,
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = checks.positive_int("layers", layers)
        self.shared = shared
        self.slope = checks.in_range("slope", slope, 0, 1)
        self.initial = {
            name: checks.in_range(name, value, 0, open_low=True)
            for name, value in (("step", step), ("alpha", alpha), ("beta", beta))
        }
        for name in self.initial:
            setattr(self, name, nn.Parameter(torch.empty(1 if shared else layers)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all scalars back to their initial values."""
        for name, value in self.initial.items():
            nn.init.constant_(getattr(self, name), value)

    def scalars(self) -> list[Scalars]:
        """The learned numbers of each layer."""
        each = (number.expand(self.layers) for number in (self.step, self.alpha, self.beta))
        return [Scalars(*row) for row in zip(*scalars(*each), strict=True)]

    def prox(self, y: Tensor) -> Tensor:
        """What a layer does to weights instead of the projection on nonnegative ones."""
        return leaky_relu(y, self.slope)

    def forward(self, z: Tensor) -> Tensor:
        """The weights after each layer."""
        w, v = start(z)
        passed = []
        for given in self.scalars():
            w, v = pds_step(w, v, z, given, self.prox)
            passed.append(w)
        return torch.stack(passed)

    def extra_repr(self) -> str:
        """Sizes shown by ``print``."""
        return f"layers={self.layers}, shared={self.shared}, slope={self.slope}"
