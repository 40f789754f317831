"""What one writes with PyTorch Geometric alone: gather both ends of every edge, compute, scatter.

Signals are ``[N, K, C]`` and weights ``[E, K]`` (``K`` graphs side by side), as PyG lays them out
and as ``scatter_add`` is fastest; autograd keeps the messages. The incidence operators hold each
undirected edge once, the others both directions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from unittest import mock

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter, softmax

from gsp_unroll.nn import GTVLayer
from gsp_unroll.ops.backends.base import SMALLEST_WEIGHT
from gsp_unroll.solvers.admm import LPState
from gsp_unroll.topology import Topology


class Laplacian(MessagePassing):
    """``L(w) x`` by message passing."""

    def __init__(self) -> None:
        super().__init__(aggr="add", node_dim=0)

    def forward(self, edge_index: Tensor, w: Tensor, x: Tensor) -> Tensor:
        """Weights ``[E, K]`` and signal ``[N, K, C]`` -> ``[N, K, C]``."""
        return self.propagate(edge_index, x=x, w=w)

    def message(self, x_i: Tensor, x_j: Tensor, w: Tensor) -> Tensor:
        """One value for each edge, graph and channel."""
        return w.unsqueeze(-1) * (x_i - x_j)


class PlainOperators:
    """The operators of the library on one topology, the plain way.

    Args:
        topology: Structure; only its index tensors are used.
    """

    def __init__(self, topology: Topology) -> None:
        self.num_nodes, self.num_edges = topology.num_nodes, topology.num_edges
        self.edge_index = topology.edge_index
        self.u, self.v = topology.ends
        self.used = topology.used_slots
        used = torch.arange(topology.num_edges) if self.used is None else self.used
        place = torch.empty(2 * topology.num_edges, dtype=torch.int64)
        place[topology.edge_slot] = torch.arange(len(topology.edge_slot))
        # Where the two directions of each undirected edge stand in edge_index.
        self.into_u, self.into_v = place[used], place[topology.num_edges + used]
        self._laplacian = Laplacian()

    def laplacian(self, w: Tensor, x: Tensor) -> Tensor:
        """``[E, K], [N, K, C] -> [N, K, C]``."""
        return self._laplacian(self.edge_index, w, x)

    def difference(self, w: Tensor, x: Tensor) -> Tensor:
        """``[M, K], [N, K, C] -> [M, K, C]``."""
        return w.unsqueeze(-1) * (x[self.u] - x[self.v])

    def divergence(self, w: Tensor, e: Tensor) -> Tensor:
        """``[M, K], [M, K, C] -> [N, K, C]``."""
        flow = w.unsqueeze(-1) * e
        return scatter(flow, self.u, 0, self.num_nodes) - scatter(flow, self.v, 0, self.num_nodes)

    def distance(self, f: Tensor) -> Tensor:
        """``[N, K, F] -> [M, K]``."""
        return (f[self.u] - f[self.v]).square().sum(-1)

    def edge_softmax(self, score: Tensor) -> Tensor:
        """Scores of both directions ``[E, K]`` -> symmetrised weights ``[M, K]``."""
        p = softmax(score, self.edge_index[1], num_nodes=self.num_nodes)
        return (p[self.into_u] + p[self.into_v]) / 2

    def gtv_layers(
        self, w: Tensor, x: Tensor, observed: Tensor, layers: Iterable[GTVLayer]
    ) -> Tensor:
        """Layers of uGTV with one CG step and one penalty: ``[M, K], [N, 1, C] -> [N, K, C]``."""
        root = w.clamp(min=SMALLEST_WEIGHT).sqrt()
        c = self.difference(root, x)
        state = LPState.start(c)
        for number, layer in enumerate(layers):
            c = self.difference(root, x) if number else c
            state = state.update(c, layer.threshold)
            residual = self.divergence(root, state.edge_target() - c)
            x = x + layer.cg.alpha[0].unsqueeze(-1) * residual.masked_fill(observed, 0)
        return x

    def both_directions(self, w: Tensor) -> Tensor:
        """``[M, K] -> [E, K]``."""
        out = w.new_empty(2 * len(w), *w.shape[1:])
        return out.index_copy(0, torch.cat([self.into_u, self.into_v]), torch.cat([w, w]))

    def nodes_first(self, x: Tensor) -> Tensor:
        """Planar signal ``[*, C, N]`` -> ``[N, K, C]``."""
        return x.reshape(-1, *x.shape[-2:]).permute(2, 0, 1).contiguous()

    def edges_first(self, w: Tensor) -> Tensor:
        """Planar weights ``[*, M]`` or edge signals ``[*, C, M]``, used slots only."""
        used = w if self.used is None else w[..., self.used]
        return used.movedim(-1, 0).contiguous()


class PlanarPlainOperators:
    """:class:`PlainOperators` behind the functions of :mod:`gsp_unroll.ops.planar`.

    ``with operators.installed():`` puts them under the networks, which must run on a
    ``gather_scatter`` topology so that they take no other way.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._plain: dict[int, PlainOperators] = {}
        self._weight: tuple[Tensor, Tensor] | None = None

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the operators of the library inside the block.

        Raises:
            RuntimeError: If the block called none of them.
        """
        before = self.calls
        with contextlib.ExitStack() as stack:
            for name in ("laplacian", "difference", "divergence", "distance"):
                target = f"gsp_unroll.ops.planar.{name}"
                stack.enter_context(mock.patch(target, getattr(self, name)))
            target = "gsp_unroll.nn.mahalanobis.edge_softmax"
            stack.enter_context(mock.patch(target, self.edge_softmax))
            yield
        if self.calls == before:
            raise RuntimeError("no plain operator was called")

    def laplacian(self, topology: Topology, w: Tensor, x: Tensor) -> Tensor:
        plain = self._of(topology)
        # Made once for all the products with the same weights, as one would in a loop.
        if self._weight is None or self._weight[0] is not w:
            both = plain.both_directions(plain.edges_first(w.flatten(0, -2)))
            self._weight = (w, both)
        y = plain.laplacian(self._weight[1], plain.nodes_first(x))
        return self._planar(y, x)

    def difference(self, topology: Topology, w: Tensor, x: Tensor) -> Tensor:
        plain = self._of(topology)
        e = plain.difference(plain.edges_first(w.flatten(0, -2)), plain.nodes_first(x))
        return self._planar_edges(plain, e, x.shape[:-1])

    def divergence(self, topology: Topology, w: Tensor, e: Tensor) -> Tensor:
        plain = self._of(topology)
        edges = plain.edges_first(e.flatten(0, -3))
        return self._planar(plain.divergence(plain.edges_first(w.flatten(0, -2)), edges), e)

    def distance(self, topology: Topology, f: Tensor) -> Tensor:
        plain = self._of(topology)
        return self._planar_edges(plain, plain.distance(plain.nodes_first(f)), f.shape[:-2])

    def edge_softmax(self, topology: Topology, score: Tensor, norm: str = "softmax") -> Tensor:
        if norm != "softmax":
            raise ValueError(f"norm must be 'softmax' here, got {norm!r}")
        plain = self._of(topology)
        both = plain.both_directions(plain.edges_first(score.flatten(0, -2)))
        return self._planar_edges(plain, plain.edge_softmax(both), score.shape[:-1])

    def _of(self, topology: Topology) -> PlainOperators:
        self.calls += 1
        if id(topology) not in self._plain:
            self._plain[id(topology)] = PlainOperators(topology)
        return self._plain[id(topology)]

    @staticmethod
    def _planar(y: Tensor, like: Tensor) -> Tensor:
        return y.permute(1, 2, 0).reshape(*like.shape[:-1], -1)

    @staticmethod
    def _planar_edges(plain: PlainOperators, e: Tensor, lead: torch.Size) -> Tensor:
        flat = e.movedim(0, -1)
        if plain.used is not None:
            out = flat.new_zeros(*flat.shape[:-1], plain.num_edges)
            flat = out.index_copy(-1, plain.used, flat)
        return flat.reshape(*lead, -1)
