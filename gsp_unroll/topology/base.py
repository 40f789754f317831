"""Structure of a graph, kept apart from its numbers.

A topology is built once and shared by every layer, head, channel and iteration. Numbers live in
plain tensors in the *planar* layout, nodes or edges last:

=====================  ===============  ===============================================
signal on nodes        ``[*, C, N]``    ``*`` = leading dimensions, e.g. ``[batch, heads]``
symmetric edge weight  ``[*, M]``       one slot per undirected edge ``e = (u, v)``
directed edge weight   ``[*, 2, M]``    ``[..., 0, e] = W[u, v]``, ``[..., 1, e] = W[v, u]``
signal on edges        ``[*, C, M]``    oriented, ``u`` minus ``v``
=====================  ===============  ===============================================

A :class:`~gsp_unroll.topology.Grid` has unused slots at its border. Operators never read them and
write zero there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gsp_unroll import checks

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from gsp_unroll.ops.backends import Kernels

BACKENDS = ("native", "torch", "gather_scatter", "torch_scatter", "torch_sparse", "triton")


class Topology(ABC):
    """Common interface of :class:`Grid` and :class:`Graph`; see the module text for the layout.

    Attributes:
        num_nodes: Number of nodes ``N``.
        num_edges: Number of slots ``M`` of an edge tensor (undirected edges, padding included).
        num_graphs: Number of independent graphs ``G`` that the nodes belong to.
        backend: Name of the kernels that compute on this topology.
    """

    num_nodes: int
    num_edges: int
    num_graphs: int
    backend: str

    @property
    @abstractmethod
    def edge_index(self) -> Tensor:
        """Directed edges ``[2, E]`` (source, target), both directions of every edge."""

    @property
    @abstractmethod
    def edge_slot(self) -> Tensor:
        """For each directed edge its place ``[E]`` in a flattened ``[2, M]`` edge tensor."""

    @property
    @abstractmethod
    def ends(self) -> tuple[Tensor, Tensor]:
        """End nodes ``(u, v)`` of every used edge slot, each ``[M_used]``."""

    @property
    @abstractmethod
    def used_slots(self) -> Tensor | None:
        """Slots that hold an edge ``[M_used]``, in the order of :attr:`ends`; ``None`` if all."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the index tensors."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Topology:
        """This topology with its index tensors on ``device``."""

    @abstractmethod
    def with_backend(self, backend: str) -> Topology:
        """The same structure, computed by another backend (one of :data:`BACKENDS`)."""

    @property
    @abstractmethod
    def kernels(self) -> Kernels:
        """The kernels of :attr:`backend` bound to this structure.

        Raises:
            ImportError: If the backend needs a package that is not installed.
        """

    @abstractmethod
    def graph_sum(self, value: Tensor) -> Tensor:
        """Sum a node quantity over each graph: ``[*, N] -> [*, G]``."""

    @abstractmethod
    def graph_sum_edges(self, value: Tensor) -> Tensor:
        """Sum an edge quantity over each graph: ``[*, M] -> [*, G]``."""

    @abstractmethod
    def graph_spread(self, value: Tensor) -> Tensor:
        """Give each node the value of its graph: ``[*, G] -> [*, N]``; ``[*, 1]`` if ``G = 1``."""

    @abstractmethod
    def graph_spread_edges(self, value: Tensor) -> Tensor:
        """Give each edge the value of its graph: ``[*, G] -> [*, M]`` (or ``[*, 1]``)."""

    @abstractmethod
    def components(self) -> Tensor:
        """Number of the connected component of each node ``[N]``."""

    def unobserved_component(self, mask: Tensor) -> Tensor | None:
        """Nodes of one connected component without an observed node, or ``None``.

        Args:
            mask: Boolean ``[N]``, ``True`` = observed.
        """
        label = self.components()
        seen = torch.zeros(int(label.max()) + 1, dtype=torch.bool, device=label.device)
        seen[label[mask]] = True
        if bool(seen.all()):
            return None
        return (label == int((~seen).nonzero()[0])).nonzero().squeeze(1)

    @staticmethod
    def from_data(data: Data, backend: str = "native") -> Topology:
        """Read the structure of a PyG ``Data`` or ``Batch``.

        Data made by :func:`gsp_unroll.graphs.image_to_data` (and batches of equally sized ones)
        give a :class:`Grid` as long as their edges are untouched; everything else gives a
        :class:`Graph`.

        Raises:
            ValueError: If ``data.edge_index`` is missing or is not a valid undirected graph.
        """
        from gsp_unroll.topology.from_data import topology_from_data

        return topology_from_data(data, backend)

    def pack_edges(self, weight: Tensor) -> Tensor:
        """Bring weights in the order of :attr:`edge_index` to the planar directed layout.

        Args:
            weight: ``[E, *]`` with any trailing dimensions (heads, channels).

        Returns:
            ``[*, 2, M]``, zero in unused slots.
        """
        tail = weight.shape[1:]
        flat = weight.movedim(0, -1)
        packed = flat.new_zeros(*tail, 2 * self.num_edges)
        packed = packed.index_copy(-1, self.edge_slot, flat)
        return packed.view(*tail, 2, self.num_edges)

    def unpack_edges(self, packed: Tensor) -> Tensor:
        """Inverse of :meth:`pack_edges`: ``[*, 2, M] -> [E, *]``."""
        flat = packed.flatten(-2).index_select(-1, self.edge_slot)
        return flat.movedim(-1, 0)


def check_backend(backend: str) -> str:
    """Return ``backend`` if it is known, else raise ``ValueError``."""
    checks.one_of("backend", backend, BACKENDS)
    return backend
