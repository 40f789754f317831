"""Networks of the published size on random patches, for the benchmarks of a training step."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import torch
from baselines import PlanarPlainOperators
from torch import Tensor

from gsp_unroll.models import UGLR, UGTV, UnrolledNetwork
from gsp_unroll.observe import CFA
from gsp_unroll.topology import Grid

NETWORKS = {"uglr": UGLR, "ugtv": UGTV}
# Plain operators under plain autograd, the network otherwise the same.
MESSAGES = "PyG gather-scatter"
# What is kept for backward and what is computed again there; values and gradients are the same.
MODES: dict[str, dict[str, bool]] = {
    "plain": {},
    "checkpointed": {"checkpointing": True},
    "directions kept": {"keep_directions": True},
}


@dataclass
class TrainingStep:
    """One training step of a network: forward, backward, Adam.

    Attributes:
        network: ``"uglr"`` or ``"ugtv"``.
        operators: A backend of the library, or :data:`MESSAGES`.
        batch: Patches.
        side: Side of a patch.
        mode: One of :data:`MODES`.
        quick: Two blocks of one layer of two steps instead of the published size.
        size: Arguments of the network that differ from the published size.
    """

    network: str
    operators: str
    batch: int
    side: int = 64
    mode: str = "plain"
    quick: bool = False
    size: dict[str, int] = field(default_factory=dict)
    model: UnrolledNetwork = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        small = {"blocks": 2, "layers": 1, "cg_steps": 2, "maps": 8} if self.quick else {}
        model = NETWORKS[self.network](**MODES[self.mode], **{**small, **self.size})
        self.model = model.train()
        self.adam = torch.optim.Adam(model.parameters(), lr=1e-4)
        backend = "gather_scatter" if self.operators == MESSAGES else self.operators
        self.plain = PlanarPlainOperators()
        self.grid = Grid(self.side, self.side, model.config.window, backend=backend)
        truth = torch.rand(self.batch, 3, self.side, self.side)
        mask = CFA("RGGB").mask(self.side, self.side)
        self.truth = truth.flatten(-2)
        self.mask = mask.flatten(-2)
        self.y = torch.where(self.mask, self.truth, 0)

    def forward(self) -> Tensor:
        """The loss. All operators get the same topology argument, so the first guess is one."""
        return (self.model(self.y, self.mask, self.grid) - self.truth).square().mean()

    def gradient(self) -> Tensor:
        """Gradient of all parameters in one vector."""
        self.adam.zero_grad(set_to_none=True)
        with self.context():
            self.forward().backward()
        return torch.cat([p.grad.flatten() for p in self.model.parameters()])

    def __call__(self) -> None:
        self.gradient()
        self.adam.step()

    def context(self) -> contextlib.AbstractContextManager[object]:
        """Where the operators are in force."""
        return self.plain.installed() if self.operators == MESSAGES else contextlib.nullcontext()


def largest_relative_difference(a: Tensor, b: Tensor) -> float:
    """``max |a - b| / max |b|``."""
    return float((a - b).abs().max() / b.abs().max())
