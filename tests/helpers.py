"""Properties that every operator, backend, solver and model must have, ready to be reused.

A new topology goes into :data:`STRUCTURES` and a new backend into ``BACKENDS`` of the library;
every test marked with :func:`on_every_topology` then runs on it. References are dense matrices
built from ``topology.ends`` by indexing only: autograd gives their gradients without our rules.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gsp_unroll.models import UGLRPlus
from gsp_unroll.ops import available_backends
from gsp_unroll.topology import BACKENDS, Graph, Grid, Topology

EXAMPLES = Path(__file__).parents[1] / "examples"

Operator = Callable[[Tensor], Tensor]


# --- structures ---------------------------------------------------------------------------------


def both_ways(pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Undirected pairs -> ``edge_index`` with both directions."""
    edges = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    return torch.cat([edges, edges.flip(0)], dim=1)


def ring(num_nodes: int) -> Tensor:
    return both_ways([(i, (i + 1) % num_nodes) for i in range(num_nodes)])


def random_edges(num_nodes: int, seed: int = 0, extra: int = 8, isolated: int = 0) -> Tensor:
    """A random tree plus ``extra`` edges, shuffled; the last ``isolated`` nodes have none."""
    rng = torch.Generator().manual_seed(seed)
    inner = num_nodes - isolated
    pairs = {(int(torch.randint(i, (), generator=rng)), i) for i in range(1, inner)}
    for _ in range(extra if inner > 1 else 0):
        i, j = torch.randint(inner, (2,), generator=rng).tolist()
        if i != j:
            pairs.add((min(i, j), max(i, j)))
    edges = both_ways(sorted(pairs))
    return edges[:, torch.randperm(edges.shape[1], generator=rng)]


def graph_batch(sizes: Sequence[int], backend: str = "native", seed: int = 0) -> Graph:
    """Several random graphs side by side, as in a PyG ``Batch``."""
    edges, batch, offset = [], [], 0
    for number, size in enumerate(sizes):
        edges.append(random_edges(size, seed + number, extra=size) + offset)
        batch.append(torch.full((size,), number))
        offset += size
    return Graph(torch.cat(edges, dim=1), offset, torch.cat(batch), backend=backend)


STRUCTURES: dict[str, Callable[[str], Topology]] = {
    "grid5x4w3": lambda backend: Grid(5, 4, 3, backend=backend),
    "grid6x7w5": lambda backend: Grid(6, 7, 5, backend=backend),
    "row1x6w3": lambda backend: Grid(1, 6, 3, backend=backend),
    "column5x1w5": lambda backend: Grid(5, 1, 5, backend=backend),
    "pixel1x1": lambda backend: Grid(1, 1, 5, backend=backend),
    "grid2x3w7": lambda backend: Grid(2, 3, 7, backend=backend),
    "graph": lambda backend: Graph(random_edges(11, isolated=1), 11, backend=backend),
    "gridgraph": lambda backend: Graph(Grid(4, 5, 5).edge_index, 20, backend=backend),
    "empty": lambda backend: Graph(both_ways([]), 3, backend=backend),
    "batch": lambda backend: graph_batch((5, 1, 7), backend),
}


def needs_backend(backend: str, device: str = "cpu") -> pytest.MarkDecorator:
    """Skip a test where ``backend`` cannot compute on ``device``."""
    return pytest.mark.skipif(
        backend not in available_backends(device), reason=f"{backend} is not installed for {device}"
    )


def on_every_topology(*names: str):
    """Run a test on all :data:`STRUCTURES` (or those named) with all backends, as ``topology``."""
    return pytest.mark.parametrize(
        "topology",
        [
            pytest.param(
                STRUCTURES[name](backend), id=f"{name}-{backend}", marks=needs_backend(backend)
            )
            for name in names or STRUCTURES
            for backend in BACKENDS
            # Interpreted, it takes too long; it has tests of its own.
            if backend != "triton"
        ],
    )


def permuted(graph: Graph, order: Tensor) -> tuple[Graph, Tensor]:
    """The graph with node ``order[k]`` renamed ``k``; also the slot of each new edge in the old."""
    name = torch.empty_like(order)
    name[order] = torch.arange(len(order))
    other = Graph(name[graph.edge_index], graph.num_nodes, backend=graph.backend)
    number = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.int64)
    u, v = graph.ends
    number[u, v] = number[v, u] = torch.arange(graph.num_edges)
    new_u, new_v = other.ends
    return other, number[order[new_u], order[new_v]]


# --- random arguments ---------------------------------------------------------------------------


def used(topology: Topology, e: Tensor) -> Tensor:
    """Values in the slots that hold an edge: ``[*, M] -> [*, M_used]``."""
    return e if topology.used_slots is None else e[..., topology.used_slots]


def spoil_unused(topology: Topology, e: Tensor) -> Tensor:
    """Write NaN into the slots without an edge: nobody may read them."""
    if topology.used_slots is None:
        return e
    out = torch.full_like(e, torch.nan)
    out[..., topology.used_slots] = e[..., topology.used_slots]
    return out


def random_weight(
    topology: Topology, *lead: int, directed: bool = False, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Weights in ``[0.1, 1.1)``, NaN in unused slots: ``[*lead, M]`` or ``[*lead, 2, M]``."""
    middle = (2,) if directed else ()
    weight = 0.1 + torch.rand(*lead, *middle, topology.num_edges, dtype=dtype)
    return spoil_unused(topology, weight)


# --- dense references ---------------------------------------------------------------------------


def dense_incidence(topology: Topology, w: Tensor) -> Tensor:
    """``C`` of every leading index: ``[*, M] -> [*, M_used, N]``."""
    u, v = topology.ends
    weight = used(topology, w)
    place = torch.arange(len(u))
    signs = torch.zeros(len(u), topology.num_nodes, dtype=w.dtype)
    signs[place, u] = 1
    signs[place, v] = -1
    return weight.unsqueeze(-1) * signs


def dense_adjacency(topology: Topology, w: Tensor) -> Tensor:
    """Symmetric ``W``: ``[*, M] -> [*, N, N]``."""
    return dense_directed(topology, torch.stack([w, w], dim=-2))


def dense_directed(topology: Topology, w: Tensor) -> Tensor:
    """``W[u, v]`` from the first half, ``W[v, u]`` from the second: ``[*, 2, M] -> [*, N, N]``."""
    u, v = topology.ends
    value = used(topology, w)
    out = w.new_zeros(*w.shape[:-2], topology.num_nodes, topology.num_nodes)
    out[..., u, v] = value[..., 0, :]
    out[..., v, u] = value[..., 1, :]
    return out


def dense_laplacian(topology: Topology, w: Tensor, *, directed: bool = False) -> Tensor:
    """``diag(W 1) - W``: ``[*, N, N]``."""
    adjacency = dense_directed(topology, w) if directed else dense_adjacency(topology, w)
    return torch.diag_embed(adjacency.sum(-1)) - adjacency


def dense_by_edge(topology: Topology, weight: Tensor) -> Tensor:
    """Public weights ``[E, heads]`` -> ``W [heads, N, N]`` with ``W[target, source]``."""
    out = weight.new_zeros(weight.shape[1], topology.num_nodes, topology.num_nodes)
    source, target = topology.edge_index
    out[:, target, source] = weight.T
    return out


def as_matrix(operator: Operator, num_nodes: int) -> Tensor:
    """The matrix ``[N, N]`` of an operator on ``[1, N]`` signals."""
    columns = [
        operator(row.unsqueeze(0)).squeeze(0) for row in torch.eye(num_nodes, dtype=torch.float64)
    ]
    return torch.stack(columns, dim=1)


# --- properties ---------------------------------------------------------------------------------


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-11) -> None:
    """Equal within ``tolerance``, absolute and relative; NaN is never equal."""
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def assert_all_finite(*tensors: Tensor | None) -> None:
    for number, tensor in enumerate(tensors):
        assert tensor is not None, f"tensor {number} is missing"
        assert bool(torch.isfinite(tensor).all()), f"tensor {number} is not finite: {tensor}"


def assert_adjoint(forward: Operator, adjoint: Operator, x: Tensor, e: Tensor) -> None:
    """``<A x, e> = <x, A' e>``."""
    left, right = (forward(x) * e).sum(), (x * adjoint(e)).sum()
    close(left, right, 1e-12)


def assert_symmetric_psd(matrix: Tensor, tolerance: float = 1e-12) -> None:
    close(matrix, matrix.mT, tolerance)
    lowest = float(torch.linalg.eigvalsh(matrix).min())
    assert lowest >= -tolerance, f"smallest eigenvalue is {lowest}"


def assert_null_vector(operator: Operator, vector: Tensor, tolerance: float = 1e-12) -> None:
    close(operator(vector), torch.zeros_like(vector), tolerance)


def gradcheck(function: Callable[..., Tensor], *inputs: Tensor, second: bool = False) -> None:
    """Finite differences against the backward of ``function`` (and its backward if ``second``).

    Along random directions, which is as sharp as entry by entry and much faster.
    """
    leaves = [value.detach().clone().requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(function, leaves, fast_mode=True)
    if second:
        assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


def assert_same_function(
    function: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    *inputs: Tensor,
    tolerance: float = 1e-11,
) -> None:
    """Two functions agree in value and in the gradient to every input."""
    results = []
    for each in (function, reference):
        leaves = [value.detach().clone().requires_grad_() for value in inputs]
        value = each(*leaves)
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(7))
        gradients = torch.autograd.grad(
            value, leaves, direction.to(value), allow_unused=True, materialize_grads=True
        )
        results.append((value.detach(), *gradients))
    for actual, expected in zip(*results, strict=True):
        close(actual, expected, tolerance)


def assert_batch_independent(
    run: Callable[[Tensor], Tensor], samples: Tensor, tolerance: float = 0.0
) -> None:
    """Each sample alone gives what it gives among others (bit for bit by default)."""
    together = run(samples)
    for k in range(len(samples)):
        torch.testing.assert_close(
            run(samples[k : k + 1]), together[k : k + 1], rtol=tolerance, atol=tolerance
        )


def saved_bytes(function: Callable[[], Tensor]) -> int:
    """Bytes of all distinct storages that autograd keeps for the backward of ``function``."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = function()
    assert value.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


# --- networks -----------------------------------------------------------------------------------


def uglr_plus_with_all(*args: int, **changes: int | str | bool) -> UGLRPlus:
    """uGLR+ with all its options; what they add does something, as it would not at first."""
    # Narrow bounds: some estimates reach them.
    options = {"mean": True, "sees_mask": True, "carry": True, "bounds": (0.1, 0.8)}
    # A general graph has no offsets.
    options["offset_scores"] = changes.get("features_from", "cnn") == "cnn"
    model = UGLRPlus(*args, **{**options, **changes})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if re.search(r"mask|mean|carry|offset", name):
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def small_uglr_plus(**changes: int | str | bool) -> UGLRPlus:
    """Two channels, float64, seeded, and no parameter at its first value."""
    torch.manual_seed(1)
    model = uglr_plus_with_all(2, **changes).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def small_sample(height: int = 7, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images for it and a mask with a sample in each channel."""
    y = torch.rand(2, 2, height, width, dtype=torch.float64)
    mask = torch.rand(2, height, width) < 0.4
    mask[:, 0, 0] = True
    return y, mask


def assert_equivariant(model: UGLRPlus) -> None:
    """On a general graph the order of nodes does not matter; two channels and one attribute."""
    graph, order = Graph(random_edges(12), 12), torch.randperm(12)
    other, _ = permuted(graph, order)
    y, attributes = torch.rand(1, 2, 12).double(), torch.rand(1, 1, 12).double()
    mask = torch.rand(1, 2, 12) < 0.5
    mask[..., 0] = True
    with torch.no_grad():
        out = model(y, mask, graph, attributes)
        moved = model(y[..., order], mask[..., order], other, attributes[..., order])
    close(moved, out[..., order], 1e-12)


def run_example(monkeypatch, script: str, *arguments) -> int:
    """Run a script of ``examples/`` as a user does; its exit code."""
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    return stop.value.code or 0
