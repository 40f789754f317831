"""Unrolled GLR and GTV layers: the equations they claim, and the memory they keep."""

import pytest
import torch
from helpers import close, dense_incidence, dense_laplacian, random_weight, saved_bytes
from torch import nn

from gsp_unroll.models import ModelConfig
from gsp_unroll.models.ugtv import GTVBlock
from gsp_unroll.nn import GLRLayer, GTVLayer
from gsp_unroll.nn.scalars import inverse_softplus
from gsp_unroll.priors import GLR, GTV
from gsp_unroll.solvers import ConjugateGradient
from gsp_unroll.solvers.admm import LPState
from gsp_unroll.topology import Grid

GRID, HEADS, CHANNELS = Grid(4, 5, 3), 2, 3
N = GRID.num_nodes


class ExactCG(nn.Module):
    """Stands in for :class:`UnrolledCG`: solves to the end."""

    def forward(self, operator, x, residual):
        return x + ConjugateGradient(tolerance=1e-14).solve(GRID, operator, residual).value


def problem():
    w = random_weight(GRID, 1, HEADS)
    y = torch.randn(1, 1, CHANNELS, N, dtype=torch.float64)
    observed = torch.rand(1, 1, CHANNELS, N) < 0.3
    observed[..., 0] = True
    x = torch.where(observed, y, torch.randn(1, HEADS, CHANNELS, N, dtype=torch.float64))
    return w, observed, x


def constrained(matrix, right, x, observed):
    """Solve ``matrix v = right`` on the free nodes with ``v = x`` elsewhere, system by system."""
    out = x.clone()
    for h in range(HEADS):
        for c in range(CHANNELS):
            keep = observed[0, 0, c]
            free = ~keep
            known = matrix[h][free][:, keep] @ x[0, h, c, keep]
            out[0, h, c, free] = torch.linalg.solve(
                matrix[h][free][:, free], right[0, h, c, free] - known
            )
    return out


def test_glr_layer_is_a_proximal_step():
    w, observed, x = problem()
    layer = GLRLayer(3, HEADS).double()
    layer.cg = ExactCG()
    kappa = 0.7
    with torch.no_grad():
        layer.raw_kappa.fill_(inverse_softplus(kappa))
    matrix = dense_laplacian(GRID, w[0]) + kappa * torch.eye(N, dtype=torch.float64)
    expected = constrained(matrix, kappa * x, x, observed)
    close(layer(GLR(GRID, w), x, observed), expected, 1e-9)


def test_the_constrained_solution_is_a_fixed_point_of_the_glr_layer():
    w, observed, x = problem()
    solution = constrained(dense_laplacian(GRID, w[0]), torch.zeros_like(x), x, observed)
    layer = GLRLayer(6, HEADS).double()
    close(layer(GLR(GRID, w), solution, observed), solution, 1e-10)


def literal_admm(w, x, observed, schedule):
    """Edge variables first, then x: eqs (18)-(22), (17) with all variables, free nodes only."""
    incidence = dense_incidence(GRID, w[0])
    c = torch.einsum("hen,bhcn->bhce", incidence, x)
    t1, t2 = c.abs() - c, c.abs() + c
    a, b, d, e = (torch.zeros_like(c) for _ in range(4))
    for gamma, kappa in schedule:
        c = torch.einsum("hen,bhcn->bhce", incidence, x)
        z = (t1 + t2) / 2 - kappa / gamma - (a + b + d + e) / (2 * gamma)
        q1 = (z - c + t1 + (a - d) / gamma) / 2
        q2 = (z + c + t2 + (b - e) / gamma) / 2
        t1, t2 = (q1 + d / gamma).clamp(min=0), (q2 + e / gamma).clamp(min=0)
        a, b = a + gamma * (z - c - q1), b + gamma * (z + c - q2)
        d, e = d + gamma * (q1 - t1), e + gamma * (q2 - t2)
        target = (a - b + d - e) / (2 * gamma) - (t1 - t2) / 2
        right = torch.einsum("hen,bhce->bhcn", incidence, target)
        x = constrained(incidence.mT @ incidence, right, x, observed)
    return x


def test_gtv_layers_are_admm_iterations_of_the_paper():
    w, observed, x = problem()
    schedule = [(1.0, 0.5), (2.5, 0.3), (0.6, 0.9), (0.6, 0.1)]
    expected = literal_admm(w, x, observed, schedule)
    prior = GTV(GRID, w)
    state, last = (
        LPState.start(prior.difference(x)),
        torch.tensor(schedule[0][0], dtype=torch.float64),
    )
    for gamma, kappa in schedule:
        layer = GTVLayer(3, HEADS).double()
        layer.cg = ExactCG()
        with torch.no_grad():
            layer.raw_gamma.fill_(inverse_softplus(gamma))
            layer.raw_kappa.fill_(inverse_softplus(kappa))
        close(layer.gamma, torch.tensor(gamma, dtype=torch.float64), 1e-12)
        x, state = layer(prior, x, observed, state.rescale(last / layer.gamma.detach()))
        last = layer.gamma.detach()
    close(x, expected, 1e-8)


def test_a_block_of_ugtv_is_admm_on_the_square_root_of_the_weights():
    w, observed, x = problem()
    schedule = [(1.0, 0.5), (2.5, 0.3), (0.6, 0.9)]
    config = ModelConfig("ugtv", CHANNELS, 1, len(schedule), 3, HEADS, 2, 4, 3)
    block = GTVBlock(config).double()
    with torch.no_grad():
        for layer, (gamma, kappa) in zip(block.layers, schedule, strict=True):
            layer.cg = ExactCG()
            layer.raw_gamma.fill_(inverse_softplus(gamma))
            layer.raw_kappa.fill_(inverse_softplus(kappa))
    same = x[:, :1].expand_as(x)
    expected = literal_admm(w.sqrt(), same, observed, schedule)
    # Layer by layer, since the exact CG of this test is not compiled.
    by_layer = GRID.with_backend("torch")
    close(block.solve(by_layer, w, x[:, 0], observed[:, 0]), expected, 1e-8)


@pytest.mark.parametrize("kind", [GLRLayer, GTVLayer])
def test_observed_samples_are_never_touched(kind):
    w, observed, x = problem()
    layer = kind(4, HEADS).double()
    if kind is GLRLayer:
        out = layer(GLR(GRID, w), x, observed)
    else:
        prior = GTV(GRID, w)
        out, _ = layer(prior, x, observed, LPState.start(prior.difference(x)))
    kept = observed.expand_as(x)
    assert torch.equal(out[kept], x[kept])
    assert bool((out[~kept] != x[~kept]).all())


def test_scalar_counts():
    count = lambda layer: sum(p.numel() for p in layer.parameters())  # noqa: E731
    assert count(GLRLayer(10, 4)) == 81
    assert count(GTVLayer(10, 4)) == 82


@pytest.mark.parametrize("value", [1e-6, 0.02, 1.0, 30.0])
def test_inverse_softplus(value):
    raw = torch.tensor(inverse_softplus(value), dtype=torch.float64)
    assert float(nn.functional.softplus(raw, threshold=40)) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("laplacian", ["combinatorial", "normalized"])
def test_glr_layer_keeps_at_most_0_4_megabytes_for_each_step(laplacian):
    per_step = _bytes_per_step(GLRLayer, lambda grid, w: GLR(grid, w, laplacian))
    assert 0 < per_step <= 0.4e6


def test_gtv_layer_keeps_at_most_0_4_megabytes_for_each_step():
    per_step = _bytes_per_step(GTVLayer, GTV)
    assert 0 < per_step <= 0.4e6


def _bytes_per_step(kind, prior_of):
    """What one more CG step keeps for backward: 64 x 64 pixels, 4 heads, 3 channels, float32."""
    grid, heads, channels = Grid(64, 64, 5), 4, 3
    w = random_weight(grid, 1, heads, dtype=torch.float32).nan_to_num().requires_grad_()
    x = torch.randn(1, heads, channels, grid.num_nodes, requires_grad=True)
    observed = torch.rand(1, 1, channels, grid.num_nodes) < 0.3

    def total(steps):
        layer = kind(steps, heads)

        def run():
            prior = prior_of(grid, w)
            if kind is GLRLayer:
                return layer(prior, x, observed)
            return layer(prior, x, observed, LPState.start(prior.difference(x)))[0]

        return saved_bytes(run)

    sizes = [total(steps) for steps in (3, 4, 5)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]
    return sizes[1] - sizes[0]
