"""One large graph signal as a dataset of small ones, each made when it is asked for."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.graphs.cut import GraphCut
from gsp_unroll.graphs.validate import signal_and_mask

# What a piece has beyond the data.
_OWN = ("inner", "node")


class GraphPieces(Dataset):
    """Pieces of one graph signal as PyG ``Data``, for a :class:`torch_geometric.loader.DataLoader`.

    What PyG's ``ClusterData`` does with METIS, from any partition and with a halo. A piece has all
    tensors of ``data`` for its nodes and edges, and

    - ``edge_index``, its nodes numbered from 0;
    - ``inner``: boolean ``[n]``, ``True`` = of the part, ``False`` = of the halo. A fit of
      :class:`~gsp_unroll.GraphSignalModel` counts errors on inner nodes only;
    - ``node``: number of each node in ``data`` ``[n]``.

    A connected component of the piece in which some channel has no known value is left out: nothing
    can be restored there.

    Args:
        data: The whole: ``x [N]`` or ``[N, C]`` (NaN = unknown), ``edge_index``, optionally
            ``mask``, ``attributes`` and other tensors of nodes or edges.
        part: Part of each node ``[N]`` int64, from :func:`~gsp_unroll.graphs.partition` or another
            program.
        halo: Edges over which a piece reaches beyond its part (default: 0).

    Raises:
        TypeError: If ``data`` is not a ``Data``, or a dtype does not fit.
        ValueError: If a shape does not fit, a part is empty, or data has ``inner`` or ``node``.

    Examples:
        >>> from gsp_unroll.graphs import partition
        >>> ring = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0], [1, 2, 3, 0, 0, 1, 2, 3]])
        >>> data = Data(x=torch.arange(4.0), edge_index=ring)
        >>> pieces = GraphPieces(data, partition(ring, num_nodes=4, parts=2), halo=1)
        >>> len(pieces), pieces[0].inner.sum().item()
        (2, 2)
    """

    def __init__(self, data: Data, part: Tensor, halo: int = 0) -> None:
        if not isinstance(data, Data):
            raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
        signal, self._known = signal_and_mask(data)
        checks.shape("part", checks.tensor("part", part), [len(signal)])
        if data.edge_index is None:
            raise ValueError("data.edge_index is missing; see gsp_unroll.graphs")
        self.halo = checks.positive_int("halo", halo, minimum=0)
        self._cut = GraphCut(data.edge_index, part)
        tensors = {name: v for name, v in data.to_dict().items() if isinstance(v, Tensor)}
        tensors.pop("edge_index")
        for name in _OWN:
            if name in data:
                raise ValueError(f"data.{name} must be renamed: pieces have a {name} of their own")
        self._nodes = {name: v for name, v in tensors.items() if data.is_node_attr(name)}
        self._edges = {name: v for name, v in tensors.items() if data.is_edge_attr(name)}

    def __len__(self) -> int:
        return self._cut.num_parts

    def __getitem__(self, number: int) -> Data:
        """Piece ``number``.

        Raises:
            IndexError: If there is none of that number.
            ValueError: If it has no component with a known value in every channel.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"number must be in [0, {len(self)}), got {number}")
        cut = self._cut.piece(number, self.halo)
        piece = Data(
            edge_index=cut.edge_index,
            inner=cut.inner,
            node=cut.nodes,
            **{name: value[cut.nodes] for name, value in self._nodes.items()},
            **{name: value[cut.edges] for name, value in self._edges.items()},
        ).to(self._known.device)
        known = self._known[cut.nodes].cpu().numpy()
        kept = _observed_components(cut.edge_index.numpy(), known)
        if kept.all():
            return piece
        if not kept.any():
            raise ValueError(
                f"piece {number} must have a connected component with a known value in every "
                f"channel, got {len(kept)} nodes with {int(known.sum())} known values; use fewer "
                "parts or a larger halo"
            )
        return piece.subgraph(torch.from_numpy(kept).to(self._known.device))


def _observed_components(edge_index: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Nodes of connected components in which every channel is known somewhere, ``[n]``."""
    n = len(known)
    ones = np.ones(edge_index.shape[1], dtype=np.int8)
    count, label = connected_components(coo_array((ones, tuple(edge_index)), shape=(n, n)))
    seen = np.zeros((count, known.shape[1]), dtype=bool)
    np.logical_or.at(seen, label, known)
    return seen.all(1)[label]
