"""Exponential moving average of the weights: what is validated, saved and used."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gsp_unroll.checks import in_range


class EMA:
    r"""Keep `ema <- d_t ema + (1 - d_t) weights` beside a model.

    The decay is warmed up, :math:`d_t = \min(d, (1 + t)/(10 + t))`, so that a short run is not an
    average with its random start.

    Args:
        model: The model whose parameters are followed.
        decay: Decay `d` in [0, 1); 0 copies the latest weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = in_range("decay", decay, 0.0, 1.0, open_high=True)
        self.updates = 0
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step towards the present weights of ``model``."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.decay else 0.0
        self.updates += 1
        for name, parameter in model.named_parameters():
            self.weights[name].lerp_(parameter.detach(), 1.0 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the averaged weights into ``model``, which has the same parameters."""
        for name, parameter in model.named_parameters():
            parameter.copy_(self.weights[name])

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """Return what `load_state_dict` needs to go on exactly."""
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        """Restore a saved average; its names must be those of the model."""
        if state["weights"].keys() != self.weights.keys():
            odd = sorted(state["weights"].keys() ^ self.weights.keys())
            raise ValueError(f"the saved average has other weights than the model: {odd[:3]}")
        self.updates = state["updates"]
        for name, weight in state["weights"].items():
            self.weights[name].copy_(weight)
