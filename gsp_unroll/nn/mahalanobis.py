"""Edge weights from learned Mahalanobis distances: the graph-learning ("attention") module."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from gsp_unroll import checks
from gsp_unroll.ops import edge_softmax as edge_softmax_by_edge
from gsp_unroll.ops import planar
from gsp_unroll.ops.softmax import NORMS, edge_softmax
from gsp_unroll.topology import Graph, Grid, Topology
from gsp_unroll.topology.grid import check_window, half_offsets


class MahalanobisGraph(MessagePassing):
    r"""Learns one weighted graph per head from node features (Do et al., NeurIPS 2024).

    .. math:: d_{ij}=(f_i-f_j)^\top M(f_i-f_j),\quad M=QQ^\top\succeq0,\quad \bar w_{ij}=e^{-d_{ij}}

    followed by a normalisation over the neighbourhoods, see :mod:`gsp_unroll.ops.softmax`:
    ``"softmax"`` (scatter-softmax, symmetrised), ``"symmetric"`` (the paper's
    :math:`D^{-1/2}\bar WD^{-1/2}`) or ``"directed"`` (rows sum to one, as in self-attention).

    :meth:`forward` is PyG's way, ``(x, edge_index) -> edge weights``, by message passing.
    :meth:`weights` computes the same numbers on a :class:`~gsp_unroll.topology.Topology` in the
    planar layout without per-edge messages; the networks use it.

    Args:
        heads: Number of graphs.
        features: Length of the feature vector at each node and head.
        norm: ``"softmax"``, ``"symmetric"`` or ``"directed"`` (default: ``"softmax"``).
        scale: Initial ``Q`` is ``scale`` times the identity (default: 1).
        window: Odd side of a pixel neighbourhood. A learned score ``b`` for each head and offset in
            the window is then added, :math:`\bar w_{ij}=e^{b_{j-i}-d_{ij}}` with
            :math:`b_{j-i}=b_{i-j}`, zero at first: how far a neighbour is, and in which direction,
            need not be said by features. On grids of this window only (default: ``None``, no such
            scores).

    Shapes:
        - **x:** node features ``[nodes, heads, features]``
        - **edge_index:** ``[2, edges]``, both directions of every edge
        - **output:** ``[edges, heads]`` in the order of ``edge_index``

    Raises:
        ValueError: If ``norm`` is unknown, a size is below 1, ``scale`` is negative or not
            finite, or ``window`` is even or below 3.
    """

    def __init__(
        self,
        heads: int,
        features: int,
        norm: str = "softmax",
        scale: float = 1.0,
        window: int | None = None,
    ) -> None:
        super().__init__(aggr="sum", node_dim=0)
        self.heads = checks.positive_int("heads", heads)
        self.features = checks.positive_int("features", features)
        checks.one_of("norm", norm, NORMS)
        self.scale = checks.in_range("scale", scale, 0)
        self.norm, self.window = norm, window
        self.metric_root = nn.Parameter(torch.empty(heads, features, features))
        self.offset_score = None
        if window is not None:
            offsets = len(half_offsets(check_window(window)))
            # One for all nodes.
            self.offset_score = nn.Parameter(torch.empty(heads, offsets, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set ``Q`` of every head back to ``scale`` times the identity, and all scores to zero."""
        with torch.no_grad():
            self.metric_root.copy_(self.scale * torch.eye(self.features))
            if self.offset_score is not None:
                self.offset_score.zero_()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Edge weights of the graph ``edge_index``; see the class text for shapes.

        Raises:
            TypeError: If ``x`` is not a floating-point tensor.
            ValueError: If a shape does not fit, ``edge_index`` is not an undirected graph, or there
                are scores of offsets, which ``edge_index`` does not have.
        """
        if self.offset_score is not None:
            raise ValueError(
                f"window must be None for edge_index, got {self.window}: use weights with a Grid"
            )
        checks.floating("x", x)
        checks.shape("x", x, ["nodes", self.heads, self.features])
        topology = Graph(edge_index, x.shape[0])
        x = planar.full_precision(x)
        with torch.autocast(x.device.type, enabled=False):
            projected = torch.einsum("hgf,nhg->nhf", self.metric_root.to(x.dtype), x)
            distance = self.edge_updater(edge_index, x=projected)
            return edge_softmax_by_edge(topology, -distance, self.norm)

    def edge_update(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        """Distance ``[edges, heads]`` of projected features."""
        return (x_i - x_j).square().sum(-1)

    def weights(self, topology: Topology, features: Tensor) -> Tensor:
        """The same weights in the planar layout.

        Args:
            topology: Structure.
            features: ``[B, heads, features, N]``.

        Returns:
            ``[B, heads, M]``, or ``[B, heads, 2, M]`` if ``norm="directed"``; float32 at least.

        Raises:
            ValueError: If there are scores of offsets and ``topology`` is no grid of their window.
        """
        features = planar.full_precision(features)
        with torch.autocast(features.device.type, enabled=False):
            root = self.metric_root.to(features.dtype)
            projected = torch.einsum("hgf,bhgn->bhfn", root, features)
            score = planar.score(topology, projected, self._offset_score(topology))
            return edge_softmax(topology, score, self.norm)

    def _offset_score(self, topology: Topology) -> Tensor | None:
        if self.offset_score is None:
            return None
        window = topology.window if isinstance(topology, Grid) else None
        if window != self.window:
            raise ValueError(
                f"topology must be a Grid with window={self.window}, whose offsets have a score, "
                f"got a {type(topology).__name__} with window={window}"
            )
        return self.offset_score

    def __repr__(self) -> str:
        window = "" if self.window is None else f", window={self.window}"
        return f"{type(self).__name__}({self.heads}, {self.features}, norm={self.norm!r}{window})"
