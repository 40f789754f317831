"""Graph x time: a sequence of signals as one signal on a graph in space and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import torch
from torch import Tensor
from torch_geometric.data import Data

from gsp_unroll import checks

# What only the whole sequence has, or what would make a step several graphs.
_RESERVED = ("steps", "batch", "ptr")

_REMEDY = "what changes must have a row for each node: remove it, or give it one"


def space_time_edge_index(
    edge_index: Tensor | Sequence[Tensor], num_nodes: int, steps: int, *, reach: int = 1
) -> tuple[Tensor, Tensor]:
    r"""Edges of the Cartesian product of a graph and the path of time steps.

    Node ``n`` at step ``t`` is node ``t * num_nodes + n``. It is joined to its neighbours of that
    step, and to itself at the steps before and after:

    .. math:: L=I_T\otimes L_G+\lambda\,L_T\otimes I_N

    with spatial weights in :math:`L_G` and :math:`\lambda` on temporal edges. If the graph changes
    with time, :math:`\mathrm{blockdiag}(L_1,\dots,L_T)` takes the place of :math:`I_T\otimes L_G`.

    Args:
        edge_index: ``[2, E]`` int64, both directions of every edge, for a graph that stays; or one
            for each step.
        num_nodes: Nodes ``N`` of each step.
        steps: Number of steps ``T``.
        reach: A node is joined to itself up to so many steps away, at least 1 (default: 1).

    Returns:
        ``edge_index`` ``[2, E']``, edges inside the steps first, step by step in the order given,
        and ``lag [E']``, the steps between the ends of each: 0 inside a step.

    Raises:
        TypeError: If an ``edge_index`` is not an int64 tensor.
        ValueError: If one has the wrong shape or an index out of range, there is not one for each
            step, or a number is below 1.

    Source: product graphs of Sandryhaila and Moura, "Big data analysis with signal processing on
    graphs", IEEE Signal Processing Magazine 2014.

    Examples:
        >>> edge = torch.tensor([[0, 1], [1, 0]])
        >>> space_time_edge_index(edge, num_nodes=2, steps=2)
        (tensor([[0, 1, 2, 3, 0, 1, 2, 3],
                [1, 0, 3, 2, 2, 3, 0, 1]]), tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    """
    checks.positive_int("num_nodes", num_nodes)
    checks.positive_int("steps", steps)
    checks.positive_int("reach", reach)
    if isinstance(edge_index, Tensor):
        checks.edges("edge_index", edge_index, num_nodes)
        edge_index = [edge_index] * steps
    else:
        edge_index = list(edge_index)
        for t, edges in enumerate(edge_index):
            checks.edges(f"edge_index[{t}]", edges, num_nodes)
    if len(edge_index) != steps:
        raise ValueError(
            f"edge_index must be one tensor or one for each of {steps} steps, got {len(edge_index)}"
        )
    parts = [edges + t * num_nodes for t, edges in enumerate(edge_index)]
    node = torch.arange(steps * num_nodes, device=edge_index[0].device)
    for lag in range(1, min(reach, steps - 1) + 1):
        early, late = node[: -lag * num_nodes], node[lag * num_nodes :]
        parts.append(torch.stack([torch.cat([early, late]), torch.cat([late, early])]))
    joined = torch.cat(parts, dim=1)
    source, target = joined // num_nodes
    return joined, (target - source).abs()


def sequence_to_data(sequence: Iterable[Data], time_weight: float | Sequence[float] = 1.0) -> Data:
    """A sequence of signals on the same nodes as one signal in space and time.

    All that takes a signal on a graph then takes the sequence: a value is restored from its
    neighbours of that step and from the steps before and after, so that a node may be missing in
    all steps, and a step at all nodes.

    Args:
        sequence: One ``Data`` for each step, with ``x`` and ``edge_index``, which may differ from
            step to step, and optionally ``edge_weight``; all other tensors with a row for each node
            (``mask``, ``attributes``, ``pos``, ...) come along. All steps hold the same fields in
            the same form; what does not belong to nodes must be equal in all.
        time_weight: Weight of the edges between neighbouring steps, positive, in the unit of
            ``edge_weight``; several numbers join steps that are 1, 2, ... apart (default: 1).

    Returns:
        ``Data`` on the edges of :func:`space_time_edge_index` with ``edge_weight`` (ones inside the
        steps if the sequence has none) and the integer ``steps``.

    Raises:
        TypeError: If an element is not a ``Data``, or a dtype does not fit.
        ValueError: If there is none, a field is missing, differs in form from the first step or
            cannot be carried, or a weight is not positive.

    Examples:
        >>> import gsp_unroll
        >>> path = torch.tensor([[0, 1], [1, 0]])
        >>> nothing = torch.full((2,), float("nan"))
        >>> days = [Data(x=x, edge_index=path) for x in (torch.zeros(2), nothing, torch.ones(2))]
        >>> gsp_unroll.interpolate(sequence_to_data(days)).x.view(3, 2)
        tensor([[0.0000, 0.0000],
                [0.5000, 0.5000],
                [1.0000, 1.0000]])
    """
    sequence = list(sequence)
    _check_sequence(sequence)
    weights = list(time_weight) if isinstance(time_weight, Sequence) else [time_weight]
    if not weights:
        raise ValueError("time_weight must be a number or several, got none")
    weights = [checks.in_range("time_weight", value, 0, open_low=True) for value in weights]
    first, steps = sequence[0], len(sequence)
    edge_index, lag = space_time_edge_index(
        [data.edge_index for data in sequence], len(first.x), steps, reach=len(weights)
    )
    out = Data()
    for key in _other_keys(first):
        values = [data[key] for data in sequence]
        out[key] = torch.cat(values) if _is_at_nodes(values[0], len(first.x)) else values[0]
    out.edge_index = edge_index
    if "edge_weight" in first:
        spatial = torch.cat([data.edge_weight for data in sequence])
    else:
        double = first.x.dtype == torch.float64
        dtype = torch.float64 if double else torch.float32
        spatial = first.x.new_ones(int((lag == 0).sum()), dtype=dtype)
    temporal = spatial.new_tensor(weights)[lag[lag > 0] - 1]
    out.edge_weight = torch.cat([spatial, temporal])
    out.steps = steps
    return out


def data_to_sequence(data: Data) -> list[Data]:
    """The steps of a signal in space and time; inverse of :func:`sequence_to_data`.

    Args:
        data: ``Data`` from :func:`sequence_to_data`; values and the order of its edges may have
            changed since.

    Returns:
        One ``Data`` for each step, without the temporal edges. Tensors at nodes are views of those
        of ``data``.

    Raises:
        TypeError: If ``data`` is not a ``Data``.
        ValueError: If it does not come from :func:`sequence_to_data`, is a batch of such, or nodes
            were removed.
    """
    if not isinstance(data, Data):
        raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
    missing = [name for name in ("x", "edge_index", "steps") if data.get(name) is None]
    if missing:
        raise ValueError(f"data must come from sequence_to_data: it has no {', '.join(missing)}")
    steps = torch.as_tensor(data.steps).flatten()
    if len(steps) != 1:
        raise ValueError(f"data must be one sequence, got {len(steps)}; use Batch.to_data_list()")
    steps = checks.positive_int("data.steps", int(steps))
    num_nodes, rest = divmod(len(data.x), steps)
    if rest or not num_nodes:
        raise ValueError(f"data.x must have a multiple of {steps} (steps) rows, got {len(data.x)}")
    source, target = data.edge_index // num_nodes
    inside = (source == target).nonzero().squeeze(1)
    inside = inside[source[inside].argsort(stable=True)]
    edges = inside.split(torch.bincount(source[inside], minlength=steps).tolist())
    sequence = []
    for t in range(steps):
        step = Data()
        for key in _other_keys(data):
            value = data[key]
            step[key] = value
            if _is_at_nodes(value, len(data.x)):
                step[key] = value[t * num_nodes : (t + 1) * num_nodes]
        step.edge_index = data.edge_index[:, edges[t]] - t * num_nodes
        if "edge_weight" in data:
            step.edge_weight = data.edge_weight[edges[t]]
        sequence.append(step)
    return sequence


def _other_keys(data: Data) -> list[str]:
    """All fields but the edges and those that follow from others."""
    apart = ("edge_index", "edge_weight", "num_nodes", *_RESERVED)
    return [key for key in data.keys() if key not in apart]  # noqa: SIM118 (not a mapping)


def _is_at_nodes(value: object, num_nodes: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == num_nodes


def _check_sequence(sequence: list[Data]) -> None:
    """Every step holds what the first holds, in the same form."""
    if not sequence:
        raise ValueError("sequence must hold at least one step, got none")
    for t, data in enumerate(sequence):
        if not isinstance(data, Data):
            raise TypeError(
                f"sequence must hold torch_geometric.data.Data, got {type(data).__name__} at {t}"
            )
        for key in ("x", "edge_index"):
            if data.get(key) is None:
                raise ValueError(f"sequence[{t}].{key} is missing")
        checks.tensor(f"sequence[{t}].x", data.x)
        _check_weight(data, f"sequence[{t}].edge_weight")
        for key in sorted(data.keys()):
            if key in _RESERVED or (key.startswith("edge_") and key in _other_keys(data)):
                raise ValueError(
                    f"sequence[{t}].{key} cannot be carried to space and time; remove it"
                )
        checks.same_device(**(_tensors(0, sequence[0]) | _tensors(t, data)))
    first = sequence[0]
    for t, data in enumerate(sequence[1:], start=1):
        differ = set(data.keys()).symmetric_difference(first.keys()) - {"num_nodes"}
        if differ:
            raise ValueError(
                "every step of sequence must hold the same fields, but only one of "
                f"sequence[0] and sequence[{t}] has {', '.join(sorted(differ))}"
            )
        for key in _other_keys(first):
            _check_alike(f"sequence[{t}].{key}", data[key], first[key], len(first.x))


def _tensors(t: int, data: Data) -> dict[str, Tensor]:
    values = data.to_dict().items()
    return {f"sequence[{t}].{key}": value for key, value in values if isinstance(value, Tensor)}


def _check_weight(data: Data, name: str) -> None:
    weight = data.get("edge_weight")
    if weight is not None:
        checks.floating(name, weight)
        checks.shape(name, weight, [data.edge_index.shape[1]])


def _check_alike(name: str, value: object, first: object, num_nodes: int) -> None:
    """The form of ``first`` if it belongs to nodes, else the same value."""
    if not isinstance(first, Tensor) or not isinstance(value, Tensor):
        if type(value) is not type(first) or value != first:
            _refuse(name, f"be {first!r}", f"{value!r}; {_REMEDY}")
    elif _is_at_nodes(first, num_nodes):
        if (value.shape, value.dtype) != (first.shape, first.dtype):
            _refuse(
                name,
                f"be {first.dtype} of shape {list(first.shape)}",
                f"{value.dtype} of shape {list(value.shape)}",
            )
    elif not torch.equal(value, first):
        _refuse(name, "be equal in all steps", f"another value; {_REMEDY}")


def _refuse(name: str, wanted: str, got: str) -> NoReturn:
    raise ValueError(f"{name} must {wanted}, as in the first step, got {got}")
