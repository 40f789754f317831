"""The sum of priors on mixed channels against its dense matrix."""

import pytest
import torch
from helpers import (
    assert_same_function,
    close,
    dense_laplacian,
    gradcheck,
    on_every_topology,
    random_weight,
)

from gsp_unroll.priors import GLR, JointGLR
from gsp_unroll.topology import Grid

BATCH, HEADS, CHANNELS = 2, 3, 3


def case(topology, channels=CHANNELS, mixed=CHANNELS):
    w = random_weight(topology, BATCH * HEADS).unflatten(0, (BATCH, HEADS))
    transform = torch.randn(HEADS, mixed, channels, dtype=torch.float64)
    x = torch.randn(BATCH, channels, topology.num_nodes, dtype=torch.float64)
    return w, transform, x


def dense(topology, w, transform):
    """``sum_h (T_h^T T_h) kron L_h`` of each sample, ``[B, C N, C N]``."""
    laplacian = dense_laplacian(topology, w)
    metric = torch.einsum("hdc,hde->hce", transform, transform)
    matrix = torch.einsum("hce,bhij->bciej", metric, laplacian)
    size = metric.shape[-1] * topology.num_nodes
    return matrix.reshape(w.shape[0], size, size)


@on_every_topology()
@pytest.mark.parametrize("mixed", [1, CHANNELS])
def test_operator_and_energy_equal_dense(topology, mixed):
    w, transform, x = case(topology, mixed=mixed)
    prior = JointGLR(topology, w, transform)
    matrix = dense(topology, w, transform)
    flat = x.flatten(1)
    close(prior.operator(x).flatten(1), torch.einsum("bij,bj->bi", matrix, flat))
    energy = prior.energy(x)
    assert energy.shape == (BATCH, topology.num_graphs)
    close(energy.sum(-1), torch.einsum("bi,bij,bj->b", flat, matrix, flat))


@on_every_topology("grid5x4w3", "graph")
def test_symmetric_positive_semidefinite_and_constants_cost_nothing(topology):
    w, transform, x = case(topology)
    matrix = dense(topology, w, transform)
    close(matrix, matrix.mT)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-9
    constant = torch.randn(BATCH, CHANNELS, 1, dtype=torch.float64).expand_as(x)
    close(JointGLR(topology, w, transform).operator(constant), torch.zeros_like(x))


@on_every_topology("grid5x4w3", "graph")
def test_identity_transforms_are_the_sum_of_the_priors(topology):
    w, _, x = case(topology)
    identity = torch.eye(CHANNELS, dtype=torch.float64).expand(HEADS, -1, -1)
    heads = x.unsqueeze(1).expand(-1, HEADS, -1, -1)
    close(JointGLR(topology, w, identity).operator(x), GLR(topology, w).operator(heads).sum(1))


def test_a_prior_on_colour_differences_does_not_see_grey():
    grid = Grid(4, 5, 3)
    w, _, x = case(grid)
    difference = (torch.eye(3, dtype=torch.float64) - 1 / 3).expand(HEADS, -1, -1)
    grey = x[:, :1].expand_as(x)
    close(JointGLR(grid, w, difference).operator(grey), torch.zeros_like(x))


def test_gradients():
    grid = Grid(3, 4, 3)
    w, transform, x = case(grid)
    gradcheck(lambda w, t, x: JointGLR(grid, w, t).operator(x), w, transform, x)


@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 3), (3, 3, 3, 3)])
def test_a_transform_for_other_heads_is_refused(shape):
    grid = Grid(3, 4, 3)
    with pytest.raises(ValueError, match=r"transform must have shape \[3, mixed channels, C\]"):
        JointGLR(grid, case(grid)[0], torch.zeros(shape))


def test_same_numbers_on_every_backend():
    grid = Grid(5, 4, 3)
    w, transform, x = case(grid)
    assert_same_function(
        lambda w, t, x: JointGLR(grid, w, t).operator(x),
        lambda w, t, x: JointGLR(grid.with_backend("torch"), w, t).operator(x),
        w, transform, x,
    )  # fmt: skip
