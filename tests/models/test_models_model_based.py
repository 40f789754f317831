"""iGLR and iGTV: hand-made graphs, exact samples, better than their first guess."""

import pytest
import torch
from helpers import assert_batch_independent, close, dense_laplacian

from gsp_unroll.models import IGLR, IGTV
from gsp_unroll.models.model_based import bilateral_weights
from gsp_unroll.observe import fill_in
from gsp_unroll.priors import GTV
from gsp_unroll.solvers import ConjugateGradient, GTVSolver
from gsp_unroll.topology import Grid

SIGMAS = (1.0, 0.15)
every_method = pytest.mark.parametrize("method", [IGLR, IGTV])


def sample(batch=2, height=9, width=8, dtype=torch.float64):
    y = torch.rand(batch, 2, height, width, dtype=dtype)
    mask = torch.rand(batch, 2, height, width) < 0.4
    mask[..., 0, 0] = True
    return y, mask


def test_bilateral_weights_are_those_of_the_formula():
    grid = Grid(3, 4, 3)
    colour = torch.rand(2, 3, 12, dtype=torch.float64)
    row, col = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
    position = torch.stack([row, col]).flatten(1).double()
    weight = bilateral_weights(grid, position, colour, 1.5, 0.3)
    u, v = grid.ends
    near = (position[:, u] - position[:, v]).square().sum(0) / 1.5**2
    alike = (colour[..., u] - colour[..., v]).square().sum(1) / 0.3**2
    close(weight[:, grid.used_slots], (-near - alike).exp().clamp(min=1e-6))


@every_method
@pytest.mark.parametrize(("height", "width"), [(9, 8), (1, 1), (1, 7), (2, 2)])
def test_observed_pixels_come_back_bit_for_bit(method, height, width):
    y, mask = sample(2, height, width)
    spoiled = torch.where(mask, y, torch.nan)
    out = method()(spoiled, mask)
    assert torch.equal(out[mask], y[mask])
    assert bool(torch.isfinite(out).all())
    assert not list(method().parameters())


def first_graph(y, mask):
    """Grid and weights of the first round with these widths of the weights."""
    grid = Grid(y.shape[2], y.shape[3], 5)
    row, col = torch.meshgrid(*(torch.arange(n).double() for n in y.shape[2:]), indexing="ij")
    guess = fill_in(y, mask).flatten(-2)
    return grid, bilateral_weights(grid, torch.stack([row, col]).flatten(1), guess, *SIGMAS)


def test_one_round_of_iglr_is_the_harmonic_solution_on_the_bilateral_graph():
    y, mask = sample(1)
    out = IGLR(*SIGMAS, rounds=1, cg=ConjugateGradient(tolerance=1e-13))(y, mask).flatten(-2)
    grid, weight = first_graph(y, mask)
    laplacian = dense_laplacian(grid, weight[0])
    for c in range(2):
        known, signal = mask[0, c].flatten(), y[0, c].flatten()
        free = ~known
        expected = torch.linalg.solve(
            laplacian[free][:, free], -laplacian[free][:, known] @ signal[known]
        )
        close(out[0, c][free], expected, 1e-9)


def test_one_round_of_igtv_has_less_total_variation_than_the_guess_and_iglr():
    y, mask = sample(1, 6, 6)
    prior = GTV(*first_graph(y, mask))
    energy = lambda x: prior.energy(x.flatten(-2))  # noqa: E731
    best = energy(IGTV(*SIGMAS, rounds=1, solver=GTVSolver(tolerance=1e-4))(y, mask))
    quick = energy(IGTV(*SIGMAS, rounds=1)(y, mask))
    assert bool((best < energy(IGLR(*SIGMAS, rounds=1)(y, mask))).all())
    assert bool((quick < energy(fill_in(y, mask))).all())


def test_iglr_keeps_within_the_range_of_the_samples():
    y, mask = sample()
    out = IGLR(cg=ConjugateGradient(tolerance=1e-12))(y, mask)
    for b in range(2):
        for c in range(2):
            seen = y[b, c][mask[b, c]]
            assert bool(((out[b, c] >= seen.min() - 1e-9) & (out[b, c] <= seen.max() + 1e-9)).all())


@every_method
def test_an_image_does_not_depend_on_its_batch_mates(method):
    y, mask = sample(3)
    y[1] *= 1e-3

    def run(index):
        k = index.long().flatten()
        return method()(y[k], mask[k])

    assert_batch_independent(run, torch.arange(3.0))


@every_method
def test_constant_images_stay_constant(method):
    y, mask = sample()
    close(method()(torch.full_like(y, 0.3), mask), torch.full_like(y, 0.3), 1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: IGLR(sigma_position=0), ValueError, "sigma_position must be .*> 0, got 0"),
        (lambda: IGLR(sigma_colour=-1), ValueError, "sigma_colour must be .*> 0, got -1"),
        (lambda: IGTV(window=4), ValueError, "window must be odd"),
        (lambda: IGTV(rounds=0), ValueError, "rounds must be at least 1"),
        (lambda: IGLR()(torch.ones(3, 4), torch.ones(3, 4) > 0), ValueError,
         r"y must have shape \[B, C, H, W\], got \[3, 4\]"),
        (lambda: IGLR()(torch.ones(1, 1, 3, 4), torch.ones(3, 4) < 0), ValueError,
         "mask must observe"),
        (lambda: IGTV()(torch.ones(1, 1, 3, 4).long(), torch.ones(3, 4) > 0), TypeError,
         "y must be a floating-point"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_solvers_are_replaceable():
    y, mask = sample(1)
    quick = IGTV(solver=GTVSolver(max_iterations=1))(y, mask)
    full = IGTV()(y, mask)
    assert not torch.equal(quick, full)
