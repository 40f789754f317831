"""GLR and GTV: energies, operators and their dense forms."""

import pytest
import torch
from helpers import (
    as_matrix,
    assert_adjoint,
    assert_null_vector,
    assert_same_function,
    assert_symmetric_psd,
    close,
    dense_adjacency,
    dense_incidence,
    dense_laplacian,
    on_every_topology,
    random_weight,
)

from gsp_unroll.ops.softmax import edge_softmax
from gsp_unroll.priors import GLR, GTV, soft_threshold
from gsp_unroll.topology import Grid

SHAPE = (2, 3)  # leading dimension, channels


def signal(topology):
    return torch.randn(*SHAPE, topology.num_nodes, dtype=torch.float64)


@on_every_topology()
def test_glr_operator_and_energy_equal_dense(topology):
    w, x = random_weight(topology, 2), signal(topology)
    laplacian = dense_laplacian(topology, w)
    prior = GLR(topology, w)
    close(prior.operator(x), x @ laplacian.mT)
    energy = prior.energy(x)
    assert energy.shape == (*SHAPE, topology.num_graphs)
    close(energy.sum(-1), torch.einsum("bci,bij,bcj->bc", x, laplacian, x))


@on_every_topology()
def test_glr_energy_is_the_weighted_sum_of_squared_differences(topology):
    w, x = random_weight(topology, 2), signal(topology)
    differences = x @ dense_incidence(topology, torch.ones_like(w)).mT
    weight = w if topology.used_slots is None else w[..., topology.used_slots]
    close(GLR(topology, w).energy(x).sum(-1), (weight.unsqueeze(-2) * differences**2).sum(-1))


@on_every_topology()
def test_normalised_laplacian_is_identity_minus_weights(topology):
    w = edge_softmax(topology, -random_weight(topology, 2), "symmetric")
    assert_same_function(
        lambda w, x: GLR(topology, w, "normalized").operator(x),
        lambda w, x: x - x @ dense_adjacency(topology, w).mT,
        w,
        signal(topology),
    )
    matrix = as_matrix(GLR(topology, w[0], "normalized").operator, topology.num_nodes)
    assert_symmetric_psd(matrix, 1e-10)


@pytest.mark.parametrize("laplacian", ["combinatorial", "normalized"])
def test_directed_weights_use_the_directed_laplacian(laplacian):
    grid = Grid(4, 5, 3)
    w = edge_softmax(grid, -random_weight(grid), "directed")
    prior = GLR(grid, w, laplacian, directed=True)
    x = torch.randn(1, 20, dtype=torch.float64)
    close(prior.operator(x), x @ dense_laplacian(grid, w, directed=True).mT)
    assert_null_vector(prior.operator, torch.ones_like(x))


@on_every_topology()
def test_gtv_operator_and_energy_equal_dense(topology):
    w, x = random_weight(topology, 2), signal(topology)
    incidence = dense_incidence(topology, w)
    prior = GTV(topology, w)
    close(prior.operator(x), x @ (incidence.mT @ incidence).mT)
    close(prior.divergence(prior.difference(x)), prior.operator(x))
    energy = prior.energy(x)
    assert energy.shape == (*SHAPE, topology.num_graphs)
    close(energy.sum(-1), (x @ incidence.mT).abs().sum(-1))
    e = torch.randn(*SHAPE, topology.num_edges, dtype=torch.float64)
    assert_adjoint(prior.difference, prior.divergence, x, e)


def test_gtv_operator_is_differentiable_in_the_weight():
    grid = Grid(3, 4, 3)
    assert_same_function(
        lambda w, x: GTV(grid, w).operator(x),
        lambda w, x: x @ dense_laplacian(grid, w.square()).mT,
        random_weight(grid, 2).nan_to_num(),
        signal(grid),
    )


@on_every_topology("batch")
def test_energies_of_a_batch_are_per_graph(topology):
    w, x = random_weight(topology, 2), signal(topology)
    changed = x.clone()
    changed[..., :5] += torch.arange(5)
    for prior in (GLR(topology, w), GTV(topology, w)):
        before, after = prior.energy(x), prior.energy(changed)
        assert bool((before[..., 0] != after[..., 0]).all())
        assert torch.equal(before[..., 1:], after[..., 1:])


def test_soft_threshold_is_the_proximal_operator():
    value = torch.linspace(-2, 2, 41, dtype=torch.float64)
    grid = torch.linspace(-3, 3, 60001, dtype=torch.float64)
    for threshold in (0.0, 0.3, 1.5):
        objective = threshold * grid.abs() + (grid - value[:, None]).square() / 2
        close(soft_threshold(value, threshold), grid[objective.argmin(1)], 1e-4)


def test_unknown_laplacian_is_named():
    grid = Grid(2, 2, 3)
    with pytest.raises(ValueError, match=r"laplacian must be one of .*did you mean 'normalized'"):
        GLR(grid, torch.ones(16), "normalised")
