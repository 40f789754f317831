"""Many PyG ``Data`` -> few tensors, one for each graph that they lie on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData

from gsp_unroll import checks
from gsp_unroll.graphs.validate import signal_and_mask
from gsp_unroll.topology import Topology
from gsp_unroll.topology.from_data import to_planar


@dataclass(frozen=True)
class SignalGroup:
    """Signals on one graph.

    Attributes:
        topology: Structure.
        signal: ``[S, C, N]``; zero where not known.
        known: Boolean ``[S, C, N]``.
        attributes: ``[S, A, N]`` in the dtype given, ``None`` if there are none.
        inner: Boolean ``[S, 1, N]``, nodes on which errors count.
        names: What each signal was given as, e.g. ``"data[3]"``, for messages.
    """

    topology: Topology
    signal: Tensor
    known: Tensor
    attributes: Tensor | None
    inner: Tensor
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.signal)


def collect(data: Data | Iterable[Data]) -> list[SignalGroup]:
    """Group signals by graph, so that those on one graph run as one batch.

    Args:
        data: One ``Data`` or several (a list, a PyG dataset, ...) with ``edge_index``, ``x [N]``
            or ``[N, C]`` (NaN = unknown), optionally ``mask`` (``True`` = known),
            ``attributes [N, A]`` and boolean ``inner [N]`` (``False`` = errors there do not count,
            see :class:`gsp_unroll.data.GraphPieces`). Signals on one graph need not be neighbours
            in the sequence; they are recognised by equal ``edge_index``.

    Returns:
        One group for each graph, in the order of first appearance.

    Raises:
        TypeError: If an element is not a ``Data``, or a dtype does not fit.
        ValueError: If there is none, or channels, attributes or shapes do not fit together.
    """
    several = isinstance(data, Iterable) and not isinstance(data, BaseData | Tensor | str)
    kind, data = type(data).__name__, list(data) if several else [data]
    for item in data:
        if not isinstance(item, Data):
            raise TypeError(
                "data must be a torch_geometric.data.Data or a list of them, got "
                f"{type(item).__name__}" + (f" in a {kind}" if several else "")
            )
    if not data:
        raise ValueError("data must hold at least one graph signal, got an empty list")
    topologies: dict[tuple[int | bytes, int], Topology] = {}
    members: dict[Topology, list[tuple[Tensor, Tensor, Tensor | None, Tensor]]] = {}
    names: dict[Topology, list[str]] = {}
    form: tuple[int, int] | None = None
    for k, item in enumerate(data):
        name = f"data[{k}]" if several else "data"
        given = signal_and_mask(item, name)
        # A lone signal, which may be large, has none to be compared with.
        topology = _topology(topologies, item) if len(data) > 1 else Topology.from_data(item)
        signal, known = (to_planar(topology, value) for value in given)
        attributes = _attributes(item, topology, f"{name}.attributes")
        now = signal.shape[1], 0 if attributes is None else attributes.shape[1]
        form = form or now
        if now != form:
            raise ValueError(
                f"{name} must have {form[0]} channels and {form[1]} attributes as the first, "
                f"got {now[0]} and {now[1]}"
            )
        inner = _inner(item, topology, f"{name}.inner")
        members.setdefault(topology, []).append(
            (torch.where(known, signal, 0), known, attributes, inner)
        )
        names.setdefault(topology, []).extend([name] * len(signal))
    groups = []
    for topology, parts in members.items():
        signal, known, attributes, inner = zip(*parts, strict=True)
        together = None if attributes[0] is None else torch.cat(attributes)
        whole = (torch.cat(signal), torch.cat(known), together, torch.cat(inner))
        groups.append(SignalGroup(topology, *whole, tuple(names[topology])))
    return groups


def _topology(found: dict[tuple[int | bytes, int], Topology], data: Data) -> Topology:
    """The topology of ``data``, shared with all data whose edges are the same."""
    edges, nodes = data.edge_index, data.num_nodes
    if not isinstance(edges, Tensor) or data.get("batch") is not None:
        return Topology.from_data(data)
    # Most often it is the same tensor; only else are edges compared.
    if (id(edges), nodes) not in found:
        values = edges.detach().cpu().contiguous().numpy().tobytes()
        if (values, nodes) not in found:
            found[values, nodes] = Topology.from_data(data)
        found[id(edges), nodes] = found[values, nodes]
    return found[id(edges), nodes]


def _attributes(data: Data, topology: Topology, name: str) -> Tensor | None:
    value = data.get("attributes")
    if value is None:
        return None
    checks.floating(name, value)
    checks.shape(name, value, [len(data.x), "A"])
    checks.finite(name, value)
    return to_planar(topology, value) if value.shape[1] else None


def _inner(data: Data, topology: Topology, name: str) -> Tensor:
    value = data.get("inner")
    if value is None:
        value = torch.ones(len(data.x), dtype=torch.bool, device=data.x.device)
    checks.boolean_tensor(name, value, "errors count")
    checks.shape(name, value, [len(data.x)])
    return to_planar(topology, value.unsqueeze(1))
