"""Checks of signals and masks on a graph that every model and solver makes at its door."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from gsp_unroll import checks
from gsp_unroll.topology import Topology


def check_observation(y: Tensor, mask: Tensor, name: str = "y") -> Tensor:
    """Check samples and mask against each other and return the mask expanded to ``y``.

    Args:
        y: Samples, floating point, finite where observed.
        mask: Boolean, broadcastable to ``y``.
        name: What messages call ``y`` (default: ``"y"``).

    Raises:
        TypeError: If ``y`` is not floating point or ``mask`` is not boolean.
        ValueError: If shapes or devices do not fit, or an observed sample is NaN or infinite.
    """
    checks.floating(name, y)
    observed = checks.mask_of(name, y, mask)
    bad = observed & ~torch.isfinite(y)
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{name} must be finite where observed, got {y[where].item()} at index {where} "
            f"({int(bad.sum())} such entries); set mask to False there"
        )
    return observed


def signal_and_mask(data: Data, name: str = "data") -> tuple[Tensor, Tensor]:
    """Signal and mask of a PyG ``Data``, both ``[N, C]``.

    Args:
        data: ``x`` ``[N]`` or ``[N, C]``, NaN = missing; optionally ``mask`` ``[N]`` or
            ``[N, C]``, ``True`` = observed.
        name: What messages call ``data`` (default: ``"data"``).

    Raises:
        TypeError: If ``x`` is not float32 or float64, or ``mask`` not boolean.
        ValueError: If ``x`` is missing, empty or not finite where observed, or a shape or device
            does not fit.
    """
    if data.x is None:
        raise ValueError(f"{name}.x is missing; set it to the signal, NaN where unknown")
    x = checks.tensor(f"{name}.x", data.x)
    if x.dtype not in (torch.float32, torch.float64):
        hint = "" if x.is_complex() else f"; use {name}.x.float()"
        raise TypeError(f"{name}.x must be float32 or float64, got {x.dtype}{hint}")
    if x.dim() not in (1, 2):
        raise ValueError(f"{name}.x must have shape [N] or [N, C], got {list(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"{name}.x must not be empty, got shape {list(x.shape)}")
    if data.num_nodes != len(x):
        raise ValueError(
            f"{name}.x must have a row for each of {name}.num_nodes = {data.num_nodes} nodes, got "
            f"{len(x)}"
        )
    parts = {f"{name}.{part}": data.get(part) for part in ("x", "edge_index", "edge_weight")}
    checks.same_device(**{part: v for part, v in parts.items() if isinstance(v, Tensor)})
    signal = x.reshape(len(x), -1)
    mask = data.get("mask")
    if mask is None:
        mask = ~torch.isnan(x)
    checks.boolean_tensor(f"{name}.mask", mask)
    if mask.shape not in ((len(x),), (len(x), 1), signal.shape):
        raise ValueError(
            f"{name}.mask must have shape [{len(x)}] or {list(signal.shape)}, got "
            f"{list(mask.shape)}"
        )
    mask = mask.reshape(len(x), -1).expand_as(signal)
    check_observation(x, mask.reshape(x.shape), f"{name}.x")
    return signal, mask


def check_observed(topology: Topology, mask: Tensor, names: Sequence[str] = ()) -> None:
    """Raise unless every channel has a sample in every connected component.

    Args:
        topology: Structure.
        mask: Boolean ``[*, C, N]``, ``True`` = observed.
        names: Of the samples (default: their numbers).

    Raises:
        ValueError: Naming the channel and nodes of a component without a sample.
    """
    columns, inverse = torch.unique(mask.reshape(-1, mask.shape[-1]), dim=0, return_inverse=True)
    for k, column in enumerate(columns):
        lost = topology.unobserved_component(column)
        if lost is None:
            continue
        sample, channel = divmod(int((inverse == k).nonzero()[0]), mask.shape[-2])
        name = names[sample] if names else f"sample {sample}" if sample else ""
        whose = f"channel {channel}" + (f" of {name}" if name else "")
        nodes = ", ".join(str(int(i)) for i in lost[:5])
        more = f", ... ({lost.numel()} nodes)" if lost.numel() > 5 else ""
        raise ValueError(
            "mask must observe at least one node of every connected component, but "
            f"{whose} has no sample in the component of nodes {nodes}{more}; observe a node "
            "there, remove the component, or join it to the rest"
        )
