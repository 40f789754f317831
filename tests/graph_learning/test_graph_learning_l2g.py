"""Unrolled splitting, the autoencoder and L2G: sizes, limits, what they must not change."""

from __future__ import annotations

import pytest
import torch

from gsp_unroll.graph_learning import (
    L2G,
    GraphEncoder,
    TopologyVAE,
    UnrolledPDS,
    gmse,
    l2g_loss,
    pds_step,
    unrolling_loss,
)
from gsp_unroll.graph_learning.half_vector import to_matrix
from gsp_unroll.graph_learning.pds import scalars, start


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def distances(count: int = 4, nodes: int = 6) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return 3 * torch.rand(count, nodes * (nodes - 1) // 2, generator=rng)


def truth_of(z: torch.Tensor) -> torch.Tensor:
    return torch.where(z < 1, 1 + 0.1 * z, 0)


def test_the_published_sizes():
    network = L2G(20)
    assert size(network.vae) == 105_959
    assert size(network) == 105_959 + 60
    assert size(UnrolledPDS()) == 60
    assert size(UnrolledPDS(shared=True)) == 3


@pytest.mark.parametrize("shared", [False, True])
def test_with_equal_scalars_it_is_the_iteration_itself(shared):
    z = distances().double()
    numbers = {"step": 0.05, "alpha": 0.8, "beta": 0.4}
    network = UnrolledPDS(12, shared=shared, **numbers).double()
    passed = network(z)
    given = scalars(*(value.detach()[0] for value in network.parameters()))
    w, v = start(z)
    for k in range(12):
        w, v = pds_step(w, v, z, given)
        assert torch.equal(passed[k], w)


def test_the_gradient_of_all_scalars():
    z = distances(2, 4).double()
    network = UnrolledPDS(3, slope=0.01).double()
    names = [name for name, _ in network.named_parameters()]
    values = [value.detach().requires_grad_() for value in network.parameters()]

    def passed(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), z)

    assert torch.autograd.gradcheck(passed, values)


def test_scalars_that_learning_made_negative_give_no_nan():
    network = UnrolledPDS(5)
    with torch.no_grad():
        network.alpha.fill_(-1.0)
    out = network(distances())
    out.sum().backward()
    assert bool(out.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters())


def test_the_encoding_does_not_depend_on_the_numbering():
    adjacency = to_matrix((distances(3, 7) < 1).float())
    order = torch.randperm(7)
    encoder = GraphEncoder()
    a, b = encoder(adjacency), encoder(adjacency[:, order][:, :, order])
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    other = to_matrix((distances(3, 7) < 2).float())
    assert not torch.allclose(a, encoder(other), rtol=1e-2)


def test_the_divergence_is_that_of_the_normal_distributions():
    z = distances()
    vae, truth = TopologyVAE(6), truth_of(z)
    divergence = vae(truth.roll(1, 0), truth).divergence
    assert bool((divergence >= 0).all())
    binary = [to_matrix((half >= 1e-4).float()) for half in (truth, truth.roll(1, 0))]
    apart = vae.encoder(binary[0]) - vae.encoder(binary[1])
    spread = (-vae.log_variance(apart).abs() / 2).exp()
    law = torch.distributions.Normal(vae.mean(apart), spread)
    expected = torch.distributions.kl_divergence(law, torch.distributions.Normal(0, 1)).mean(-1)
    torch.testing.assert_close(divergence, expected, rtol=1e-4, atol=1e-6)
    # Estimate and truth with the same edges differ in nothing the encoder sees.
    assert vae(truth, truth).divergence.max() <= divergence.max()
    assert vae(truth).divergence is None


def test_before_the_last_layer_l2g_is_unrolling_with_a_leaky_relu():
    z = distances()
    network = L2G(6, layers=5)
    plain = UnrolledPDS(5, slope=0.01)
    passed = network(z, torch.Generator().manual_seed(0))
    assert torch.equal(passed[:4], plain(z)[:4])
    assert not torch.equal(passed[4], plain(z)[4])
    again = network(z, torch.Generator().manual_seed(0))
    assert torch.equal(passed, again)


def test_a_residual_network_starts_as_unrolling_and_has_the_published_size():
    z = distances()
    torch.manual_seed(0)
    plain, residual = L2G(6, 4), L2G(6, 4, residual=True)
    assert sum(p.numel() for p in plain.parameters()) == sum(
        p.numel() for p in residual.parameters()
    )
    # Its last prox is the identity at first, those before leaky.
    w, v = start(z)
    for k, given in enumerate(residual.scalars(), 1):
        w, v = pds_step(w, v, z, given, residual.prox if k < 4 else lambda y: y)
    torch.testing.assert_close(residual(z)[-1], w)
    loss = l2g_loss(residual, z, truth_of(z))
    loss.backward()
    assert bool((residual.vae.decoder[2].weight.grad != 0).any())


def test_the_loss_is_the_sum_of_its_parts():
    z = distances()
    truth = truth_of(z)
    network = L2G(6, layers=3)
    passed, refined = network.refine(z, truth, torch.Generator().manual_seed(1))
    errors = [gmse(w, truth).mean() for w in passed]
    unrolled = 0.9**3 * errors[0] + 0.9**2 * errors[1] + 0.9 * errors[2]
    torch.testing.assert_close(unrolling_loss(passed, truth), unrolled)
    reconstruction = (refined.weight - truth).square().sum(1).mean()
    loss = l2g_loss(network, z, truth, torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss, unrolled + reconstruction + refined.divergence.mean())
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_any_number_of_nodes_for_unrolling_one_for_l2g():
    assert UnrolledPDS(3)(distances(2, 9)).shape == (3, 2, 36)
    assert UnrolledPDS(3)(distances(2, 4).reshape(1, 2, 6)).shape == (3, 1, 2, 6)
    with pytest.raises(ValueError, match="graphs with 6 nodes, got 9"):
        L2G(6)(distances(2, 9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UnrolledPDS(0), "layers must be at least 1"),
        (lambda: UnrolledPDS(step=0.0), "step must"),
        (lambda: UnrolledPDS(slope=2.0), "slope must"),
        (lambda: L2G(1), "nodes must be at least 2"),
        (lambda: L2G(6, latent=0), "latent must"),
        (lambda: UnrolledPDS()(torch.rand(2, 4)), "half vector"),
        (lambda: unrolling_loss(torch.rand(2, 1, 3), torch.rand(1, 3), 0.0), "decay must"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
