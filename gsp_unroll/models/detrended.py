"""A network for signals of any unit and offset, with a trend that is taken away before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gsp_unroll.models.unrolled import UnrolledNetwork
from gsp_unroll.nn import Trend
from gsp_unroll.signals.scale import SignalScale
from gsp_unroll.signals.turn import turn
from gsp_unroll.topology import Topology


class DetrendedNetwork(nn.Module):
    r"""Restore what an offset and a trend leave of a signal, and add them again.

    .. math:: x=m+u\,\big(t+f((y-m)/u-t)\big)

    with the mean :math:`m` of the samples of each graph, the unit :math:`u`, the trend :math:`t` of
    the samples over the attributes, and the network :math:`f`.

    Args:
        network: Restores what is left.
        scale: Units of signals and attributes.
        trend: What is taken away besides the mean (default: nothing).
        centred: Take the mean of the samples away (default: ``True``).
        turned: Attributes that are coordinates, turned at random in training (default: none).

    Shapes:
        - **signal:** ``[S, C, N]``, read where observed
        - **observed:** boolean ``[S, C, N]``
        - **attributes:** ``[S, A, N]``, in float64 if they are far from zero, or ``None``
        - **output:** ``[S, C, N]``
    """

    def __init__(
        self,
        network: UnrolledNetwork,
        scale: SignalScale,
        trend: Trend | None = None,
        *,
        centred: bool = True,
        turned: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.trend = trend
        self.centred = centred
        self.turned = tuple(turned)

    def forward(
        self,
        topology: Topology,
        signal: Tensor,
        observed: Tensor,
        attributes: Tensor | None,
        run: Callable[..., Tensor] | None = None,
    ) -> Tensor:
        """Restore; ``run`` is called in place of the network (default: the network)."""
        unit = self.scale.signal.to(signal)[:, None]
        mean = graph_mean(topology, signal, observed) if self.centred else 0
        y = torch.where(observed, (signal - mean) / unit, 0)
        trend = 0
        if attributes is not None:
            middle, spread = (v.to(attributes.device) for v in (self.scale.mean, self.scale.spread))
            attributes = ((attributes - middle[:, None]) / spread[:, None]).to(signal.dtype)
            if self.training and self.turned:
                attributes = turn(topology, attributes, self.turned)
        if self.trend is not None:
            trend = self.trend(topology, y, observed, attributes)
            y = torch.where(observed, y - trend, 0)
        rest = (run or self.network)(y, observed, topology, attributes)
        return (rest + trend) * unit + mean


def graph_mean(topology: Topology, signal: Tensor, known: Tensor) -> Tensor:
    """Mean of what is known of each graph and channel, at every node ``[S, C, N]``."""
    total = topology.graph_sum(torch.where(known, signal, 0))
    count = topology.graph_sum(known.to(signal.dtype)).clamp(min=1)
    return topology.graph_spread(total / count).expand_as(signal)
