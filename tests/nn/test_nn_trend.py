"""Trends against regressions solved by numpy, graph by graph."""

import numpy as np
import pytest
import torch
from helpers import ring
from torch.autograd import gradcheck

from gsp_unroll.nn import KernelTrend, LinearTrend
from gsp_unroll.nn import trend as trend_module
from gsp_unroll.topology import Graph

SIGNALS, CHANNELS, NODES, ATTRIBUTES = 3, 2, 9, 2


def problem(graphs=(NODES,), seed=0):
    """A topology of some graphs, and samples about the mean of each graph."""
    torch.manual_seed(seed)
    total, edges, start = sum(graphs), [], 0
    for size in graphs:
        edges.append(ring(size) + start)
        start += size
    batch = torch.repeat_interleave(torch.arange(len(graphs)), torch.tensor(graphs))
    topology = Graph(torch.cat(edges, 1), total, batch if len(graphs) > 1 else None)
    observed = torch.rand(SIGNALS, CHANNELS, total) < 0.6
    observed[..., ::3] = True
    y = torch.randn(SIGNALS, CHANNELS, total, dtype=torch.float64) * observed
    return topology, y, observed, torch.randn(SIGNALS, ATTRIBUTES, total, dtype=torch.float64)


def kriging(trend, y, seen, a):
    """One signal by numpy: the kernel is written out node by node."""
    length, slope = (trend.learned(name).detach().numpy() for name in ("length", "slope"))

    def kernel(p, q):
        d = np.sqrt(3) * np.linalg.norm((p - q) / length)
        return (1 + d) * np.exp(-d) + (slope * p * q).sum() + trend.learned("constant").item()

    full = np.array([[kernel(p, q) for q in a.T] for p in a.T])
    system = full[np.ix_(seen, seen)] + trend.learned("nugget").item() * np.eye(seen.sum())
    return full[:, seen] @ np.linalg.solve(system, y[seen])


@pytest.mark.parametrize("graphs", [(NODES,), (4, 4, 6), (5, 5)])
def test_the_kernel_trend_is_kriging_on_every_graph(graphs):
    topology, y, observed, attributes = problem(graphs)
    trend = KernelTrend(ATTRIBUTES).double()
    with torch.no_grad():
        for parameter in trend.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    result = trend(topology, y, observed, attributes)
    start = 0
    for size in graphs:
        part = slice(start, start + size)
        start += size
        for s in range(SIGNALS):
            for c in range(CHANNELS):
                expected = kriging(
                    trend, *(v[s, c, part].numpy() for v in (y, observed)),
                    attributes[s, :, part].numpy(),
                )  # fmt: skip
                np.testing.assert_allclose(result[s, c, part].detach(), expected, atol=1e-6)


def test_gradients_of_the_kernel_trend_with_equal_points():
    topology, y, observed, attributes = problem()
    attributes[..., 1] = attributes[..., 0]
    trend = KernelTrend(ATTRIBUTES).double()

    def run(*values):
        names = [name for name, _ in trend.named_parameters()]
        arguments = (topology, y, observed, attributes)
        return torch.func.functional_call(trend, dict(zip(names, values, strict=True)), arguments)

    start = tuple(p.detach().clone().requires_grad_() for p in trend.parameters())
    assert gradcheck(run, start)


def test_a_small_nugget_passes_through_the_samples_and_a_large_one_flattens():
    topology, y, observed, attributes = problem()
    trend = KernelTrend(ATTRIBUTES)
    with torch.no_grad():
        trend.nugget.fill_(-2.5)
        through = trend(topology, y, observed, attributes)
        trend.nugget.fill_(2.5)
        flat = trend(topology, y, observed, attributes)
    assert torch.allclose(through[observed], y[observed], atol=1e-4)
    assert float(flat.abs().max()) < 1e-6


def test_the_linear_trend_is_ridge_regression_on_what_is_known():
    topology, y, observed, attributes = problem()
    result = LinearTrend(ridge=0.7)(topology, y, observed, attributes)
    for s in range(SIGNALS):
        for c in range(CHANNELS):
            seen, a = observed[s, c].numpy(), attributes[s].T.numpy()
            a = a - a[seen].mean(0)
            rows = a[seen]
            slope = np.linalg.solve(rows.T @ rows + 0.7 * np.eye(2), rows.T @ y[s, c][seen].numpy())
            np.testing.assert_allclose(result[s, c], a @ slope, atol=1e-12)


def test_too_large_a_graph_is_named(monkeypatch):
    monkeypatch.setattr(trend_module, "LARGEST", 5)
    with pytest.raises(ValueError, match="at most 5 nodes, got 9"):
        KernelTrend(ATTRIBUTES)(*problem())


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_a_ridge_must_be_positive(ridge):
    with pytest.raises(ValueError, match="ridge"):
        LinearTrend(ridge)


def test_a_kernel_needs_attributes():
    with pytest.raises(ValueError, match="attributes"):
        KernelTrend(0)
