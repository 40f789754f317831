"""The optimisers that a training run may use, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gsp_unroll import checks

OPTIMIZERS = ("adam", "muon")

# Of the quintic that drives singular values towards 1 (Jordan et al., 2024): its slope at 0 is
# steep, so that five rounds are enough, and it lands between 0.7 and 1.2.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
# An orthogonal update then has the size that an update of Adam has on average (Liu et al., 2025),
# and both share one learning rate.
_AS_ADAM = 0.2
# Kernels with fewer inputs or outputs than this are left to Adam.
_SMALLEST = 8
_EPSILON = 1e-8


def make_optimizer(
    name: str, parameters: Iterable[nn.Parameter], lr: float
) -> torch.optim.Optimizer:
    """``"adam"``, or ``"muon"``: :class:`Muon`.

    Raises:
        ValueError: If the name is another one.
    """
    checks.one_of("optimizer", name, OPTIMIZERS)
    return (Muon if name == "muon" else torch.optim.Adam)(parameters, lr=lr)


class Muon(torch.optim.Optimizer):
    r"""Muon for convolution kernels and matrices, Adam for all other parameters.

    A kernel is a matrix :math:`W` of outputs by inputs. With the momentum
    :math:`B_t=\mu B_{t-1}+G_t` and :math:`U\Sigma V^\top=G_t+\mu B_t` the update is

    .. math:: W\gets W-0.2\,\eta\sqrt{\max(\text{rows},\text{columns})}\,UV^\top

    where :math:`UV^\top` comes from five Newton-Schulz rounds, so that singular values are about 1.
    All directions of a layer move alike, also those with small gradients. As Jordan et al.,
    "Muon: an optimizer for hidden layers in neural networks" (2024), with the step size of Liu et
    al., "Muon is scalable for LLM training" (2025). ``torch.optim.Muon`` takes matrices only and
    rounds to bfloat16, which is slow on a CPU.

    Args:
        parameters: All parameters of a network.
        lr: Learning rate, for all of them.
        momentum: :math:`\mu` (default: 0.95).
        betas: Of Adam (default: 0.9 and 0.999).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        everything = list(parameters)
        matrices = [p for p in everything if _is_matrix(p)]
        others = [p for p in everything if not _is_matrix(p)]
        groups = [{"params": matrices, "matrix": True}, {"params": others, "matrix": False}]
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "momentum": momentum, "betas": betas, "matrix": False},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update all parameters that have a gradient.

        Args:
            closure: Computes the loss and its gradients again, as for other optimisers.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._step_matrix if group["matrix"] else self._step_other
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, self.state[parameter], group)
        return loss

    @staticmethod
    def _step_matrix(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
        ahead = parameter.grad.add(state["momentum"], alpha=group["momentum"]).flatten(1)
        size = _AS_ADAM * max(ahead.shape) ** 0.5
        parameter.add_(orthogonal(ahead).view_as(parameter), alpha=-group["lr"] * size)

    @staticmethod
    def _step_other(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
        state["step"] += 1
        low, high = group["betas"]
        state["mean"].lerp_(parameter.grad, 1 - low)
        state["square"].mul_(high).addcmul_(parameter.grad, parameter.grad, value=1 - high)
        count = float(state["step"])
        scale = (state["square"] / (1 - high**count)).sqrt_().add_(_EPSILON)
        parameter.addcdiv_(state["mean"], scale, value=-group["lr"] / (1 - low**count))


def orthogonal(matrix: Tensor) -> Tensor:
    r""":math:`UV^\top`, about, of :math:`U\Sigma V^\top`.

    Singular values above a hundredth of the norm become 0.7 to 1.2, smaller ones less.

    Args:
        matrix: ``[rows, columns]``.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + _EPSILON)
    a, b, c = _QUINTIC
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide is matrix else x.T


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() in (2, 4) and min(parameter.flatten(1).shape) >= _SMALLEST
