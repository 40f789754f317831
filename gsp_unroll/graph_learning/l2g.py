"""The network of "Learning to Learn Graph Topologies" and its loss."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.metrics import gmse
from gsp_unroll.graph_learning.pds import pds_step, start
from gsp_unroll.graph_learning.topology_vae import Refined, TopologyVAE
from gsp_unroll.graph_learning.unrolled_pds import UnrolledPDS


class L2G(UnrolledPDS):
    r"""Unrolled primal-dual splitting whose last projection is a variational autoencoder.

    Layers 1 to T-1 have a leaky ReLU in place of the projection on nonnegative weights, layer T
    has :class:`.TopologyVAE`, which has learned what graphs of this kind look like (Pu et al.,
    NeurIPS 2021). The defaults are the published network: 60 scalars and, for 20 nodes, 105 959
    parameters of the autoencoder.

    Args:
        nodes: Number of nodes ``m`` of all graphs, at least 2.
        layers: Number of layers ``T``, at least 1 (default: 20).
        hidden: Channels of the encoder (default: 32).
        latent: Length of its latent variable (default: 16).
        features: Length of its encoding (default: 16).
        slope: Slope of the leaky ReLU below zero (default: 0.01).
        residual: The autoencoder corrects the estimate in place of making a new one, which short
            trainings are the better for (default: ``False``, as published).

    Shapes:
        - **z:** ``[*, m (m - 1) / 2]``
        - **output:** ``[T, *, m (m - 1) / 2]``, the weights after each layer; they may lie below
          zero

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        nodes: int,
        layers: int = 20,
        *,
        hidden: int = 32,
        latent: int = 16,
        features: int = 16,
        slope: float = 0.01,
        residual: bool = False,
    ) -> None:
        super().__init__(layers, slope=slope)
        self.vae = TopologyVAE(nodes, hidden, latent, features, residual=residual)

    def forward(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The weights after each layer.

        Args:
            z: Squared distances.
            generator: Source of the latent noise (default: the global one).
        """
        return self._unroll(z, None, generator)[0]

    def refine(
        self, z: Tensor, truth: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Refined]:
        """The weights after each layer, and what the autoencoder made of them, while training.

        Args:
            z: Squared distances ``[*, m (m - 1) / 2]``.
            truth: The true weights, as ``z``.
            generator: Source of the latent noise (default: the global one).
        """
        return self._unroll(z, truth, generator)

    def _unroll(
        self, z: Tensor, truth: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Refined]:
        refined: list[Refined] = []

        def refine(y: Tensor) -> Tensor:
            refined.append(self.vae(y, truth, generator))
            return refined[0].weight

        w, v = start(z)
        passed = []
        for layer, given in enumerate(self.scalars(), 1):
            w, v = pds_step(w, v, z, given, refine if layer == self.layers else self.prox)
            passed.append(w)
        return torch.stack(passed), refined[0]

    def extra_repr(self) -> str:
        """Sizes shown by ``print``."""
        return f"{super().extra_repr()}, residual={self.vae.residual}"


def unrolling_loss(estimates: Tensor, truth: Tensor, decay: float = 0.9) -> Tensor:
    r"""Error of all layers, later ones counting more.

    .. math:: \sum_{t=1}^T\eta^{T+1-t}\frac{\|w_t-w\|^2}{\|w\|^2},\quad\text{mean over graphs}

    Args:
        estimates: ``[T, B, m (m - 1) / 2]``, the weights after each layer.
        truth: ``[B, m (m - 1) / 2]``.
        decay: η, in (0, 1] (default: 0.9).
    """
    layers = len(estimates)
    checks.in_range("decay", decay, 0, 1, open_low=True)
    weight = decay ** torch.arange(layers, 0, -1, dtype=estimates.dtype, device=estimates.device)
    return weight @ gmse(estimates, truth).mean(-1)


def l2g_loss(
    network: L2G, z: Tensor, truth: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    r"""What :class:`L2G` is trained with: :func:`unrolling_loss` and that of the autoencoder.

    .. math:: \ldots+\mathbb E\bigl[\|\hat w-w\|^2+D_{KL}\bigr]

    with the output :math:`\hat w` of the autoencoder.

    Args:
        network: The network.
        z: Squared distances ``[B, m (m - 1) / 2]``.
        truth: The true weights, as ``z``.
        generator: Source of the latent noise (default: the global one).
    """
    estimates, refined = network.refine(z, truth, generator)
    reconstruction = (refined.weight - truth).square().sum(-1)
    return unrolling_loss(estimates, truth) + (reconstruction + refined.divergence).mean()
