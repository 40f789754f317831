"""Muon: what it does to a matrix, to everything else, and how it goes on."""

import copy

import pytest
import torch
from torch import nn

from gsp_unroll.training.optimizer import Muon, make_optimizer, orthogonal


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (16, 16)])
def test_orthogonal_keeps_directions_and_makes_singular_values_alike(shape):
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    # Five rounds lift what is a hundredth of the norm.
    matrix = u @ torch.diag(torch.linspace(0.1, 1, len(vh), dtype=torch.float64)) @ vh
    inner = u.T @ orthogonal(matrix) @ vh.T
    values = inner.diagonal()
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.25
    assert (inner - torch.diag(values)).abs().max() < 1e-10
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))


def test_a_kernel_moves_by_the_orthogonal_part_of_its_gradient():
    layer = nn.Conv2d(16, 12, 3, bias=False)
    before = layer.weight.detach().clone()
    optimizer = Muon(layer.parameters(), lr=0.01)
    layer.weight.grad = torch.randn_like(before)
    optimizer.step()
    # The first momentum is the gradient itself, so that both point the same way.
    direction = orthogonal(layer.weight.grad.flatten(1)).view_as(before)
    expected = before - 0.01 * 0.2 * (16 * 9) ** 0.5 * direction
    torch.testing.assert_close(layer.weight.detach(), expected)
    # As large as an update of Adam: 0.2 to 0.4 times the learning rate.
    assert 0.1 < float((layer.weight.detach() - before).square().mean().sqrt()) / 0.01 < 0.4


def test_everything_else_moves_as_with_adam():
    torch.manual_seed(0)
    ours = nn.ParameterList([torch.randn(()), torch.randn(5), torch.randn(4, 3, 3), torch.ones(3)])
    theirs = copy.deepcopy(ours)
    optimizers = Muon(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for _ in range(4):
        for a, b in zip(ours[:3], theirs[:3], strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(ours[3], torch.ones(3))  # no gradient, no change


def test_a_saved_state_goes_on():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 8))
    x = torch.randn(20, 9)

    def train(network, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            network(x).square().mean().backward()
            optimizer.step()

    optimizer = make_optimizer("muon", network.parameters(), 0.01)
    train(network, optimizer, 3)
    other = copy.deepcopy(network)
    resumed = make_optimizer("muon", other.parameters(), 0.5)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(network, optimizer, 2)
    train(other, resumed, 2)
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_closure_gives_the_loss():
    weight = nn.Parameter(torch.eye(8))
    optimizer = Muon([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 8.0
    assert float(weight.detach().square().sum()) < 8.0
    assert isinstance(make_optimizer("adam", [weight], 0.1), torch.optim.Adam)
    with pytest.raises(ValueError, match="optimizer must be one of"):
        make_optimizer("sgd", [weight], 0.1)
