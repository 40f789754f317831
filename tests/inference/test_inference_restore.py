"""Restoring in tiles equals restoring in one piece, for every size, mask and network."""

from __future__ import annotations

import pytest
import torch
from helpers import uglr_plus_with_all

from gsp_unroll.inference import NoiseAware, bytes_per_pixel, restore
from gsp_unroll.models import IGLR, UGLR, UGTV, UGLRPlus
from gsp_unroll.observe import CFA, decimation_mask, fill_in, random_mask

SMALL = {"blocks": 2, "layers": 2, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
every_network = pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus, uglr_plus_with_all])


def tiny(network=UGLR, channels=3, **changes):
    torch.manual_seed(0)
    return network(channels, **{**SMALL, **changes}).eval()


def in_one_piece(model, y, mask):
    with torch.no_grad():
        return model(torch.where(mask, y, 0)[None], mask[None])[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (6, 1), (17, 16), (33, 50)])
def test_small_images_go_in_one_piece(size):
    truth = torch.rand(3, *size)
    mask = torch.rand(3, *size) < 0.6
    mask[:, 0, 0] = True
    y = truth * mask
    assert torch.equal(restore(y, tiny(), mask), in_one_piece(tiny(), y, mask))


@every_network
@pytest.mark.parametrize("size", [(61, 47), (30, 90), (1, 200)])
def test_tiles_equal_one_piece(network, size):
    model = tiny(network)
    truth, cfa = torch.rand(3, *size), CFA("GRBG" if size[0] > 1 else "GRB/GRB/GRB")
    mask = cfa.mask(*size)
    out = restore(truth, model, cfa, tile=9)
    assert (out - in_one_piece(model, truth, mask)).abs().max() < 1e-5
    assert torch.equal(out[mask], truth[mask])


@every_network
@pytest.mark.parametrize(
    "mask",
    [
        CFA.from_name("xtrans").mask(70, 51),
        random_mask(70, 51, 0.05, channels=3, seed=1),
        decimation_mask(70, 51, 5, channels=3),
        # One sample a channel: the first guess reaches over the whole image.
        torch.zeros(3, 70, 51, dtype=torch.bool).index_fill(2, torch.tensor([50]), True),
    ],
    ids=["xtrans", "random", "decimation", "one-column"],
)
def test_tiles_equal_one_piece_to_rounding(network, mask):
    model = tiny(network, window=3).double()
    truth = torch.rand(3, 70, 51, dtype=torch.float64)
    out = restore(truth, model, mask, tile=8)
    assert (out - in_one_piece(model, truth, mask)).abs().max() < 1e-13


@pytest.mark.parametrize("carry", [False, True])
def test_tiles_of_a_network_that_repeats_and_looks_farther(carry):
    size = {"window": 3, "layers": 1, "cg_steps": 1, "repeats": 2, "residual_pairs": 1}
    model = tiny(uglr_plus_with_all, **size, carry=carry, carry_mix=carry).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    truth, mask = torch.rand(3, 60, 55, dtype=torch.float64), CFA("RGGB").mask(60, 55)
    out = restore(truth, model, mask, tile=8)
    assert (out - in_one_piece(model, truth, mask)).abs().max() < 1e-13


@pytest.mark.parametrize("cell", [2, 3])
@pytest.mark.parametrize("size", [(60, 55), (31, 94)])
def test_tiles_start_at_cells(cell, size):
    options = {"window": 3, "layers": 1, "cg_steps": 1, "residual_pairs": 1}
    model = tiny(uglr_plus_with_all, **options, cell=cell, carry_mix=True).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    truth = torch.rand(3, *size, dtype=torch.float64)
    masks = [CFA(phase).mask(*size) for phase in ("RGGB", "GBRG")]
    for mask in (*masks, random_mask(*size, 0.3, channels=3, seed=1)):
        out = restore(truth, model, mask, tile=8)
        assert (out - in_one_piece(model, truth, mask)).abs().max() < 1e-13


def test_tiles_of_a_method_around_a_network_start_at_its_cells():
    class Plain(NoiseAware):
        def forward(self, y, mask):
            return self.network(y, mask)

    options = {"blocks": 1, "window": 3, "layers": 1, "cg_steps": 1, "cell": 3}
    model = tiny(uglr_plus_with_all, **options).double()
    truth, mask = torch.rand(3, 60, 55).double(), random_mask(60, 55, 0.4, channels=3)
    # The first guess of a tile sees what is around it, too.
    halo = model.blocks[0].reach + 6
    out = restore(truth, Plain(model, 0.1), mask, tile=9, halo=halo)
    assert (out - in_one_piece(model, truth, mask)).abs().max() < 1e-13


def test_the_halo_is_not_too_wide():
    model = tiny(UGTV, layers=1).double()
    truth, mask = torch.rand(3, 50, 50).double(), CFA("RGGB").mask(50, 50)
    whole = in_one_piece(model, truth, mask)
    reach = model.blocks[0].reach
    error = [
        (restore(truth, model, mask, tile=10, halo=halo) - whole).abs().max()
        for halo in (reach, reach - 1, reach // 2)
    ]
    assert error[0] < 1e-13 < error[1] < error[2] < 0.1


@pytest.mark.parametrize("network", [UGLR, uglr_plus_with_all])
def test_any_halo_works_on_any_mask(network):
    # A tile need not hold a sample: the first guess has a halo of its own.
    model, mask = tiny(network), torch.zeros(3, 50, 40, dtype=torch.bool)
    mask[:, 3, 4] = True
    out = restore(torch.rand(3, 50, 40), model, mask, tile=9, halo=0)
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("features_from", ["mlp", "gnn"])
def test_tiles_with_other_features(features_from):
    model = tiny(features_from=features_from).double()
    truth, mask = torch.rand(3, 40, 33).double(), CFA("RGGB").mask(40, 33)
    out = restore(truth, model, mask, tile=7)
    assert (out - in_one_piece(model, truth, mask)).abs().max() < 1e-13


def test_all_ways_to_say_what_was_observed():
    model, cfa = tiny(), CFA("GBRG")
    mask = cfa.mask(20, 31)
    truth = torch.rand(3, 20, 31)
    mosaic = (truth * mask).sum(0)
    expected = restore(truth * mask, model, mask)
    for image, observed in (
        (truth, cfa),
        (mosaic, cfa),
        (mosaic[None], cfa),
        (torch.where(mask, truth, torch.nan), mask),
        (torch.where(mask, truth, torch.nan), None),
    ):
        assert torch.equal(restore(image, model, observed), expected)
    grey = random_mask(20, 31, 0.3)
    alike = grey.expand(3, -1, -1)
    assert torch.equal(restore(truth, model, grey), restore(truth, model, alike))


def test_memory_decides_about_the_tiles(capsys):
    model = tiny()
    truth, cfa = torch.rand(3, 120, 130), CFA("RGGB")
    whole = in_one_piece(model, truth, cfa.mask(120, 130))
    images = truth.numel() * (1 + 2 * truth.element_size())
    tile = (2 * model.blocks[0].reach + 20) ** 2 * bytes_per_pixel(model.blocks[0])
    out = restore(truth, model, cfa, max_memory=images + tile, progress=True)
    assert (out - whole).abs().max() < 1e-5
    # The progress bar counts tiles of all blocks, and there are several.
    total = int(capsys.readouterr().err.split("/")[1].split("[")[0])
    assert total > len(model.blocks)
    assert total % len(model.blocks) == 0


def test_too_little_memory_is_an_error_that_names_enough():
    model, truth, cfa = tiny(), torch.rand(3, 36, 41), CFA("RGGB")
    with pytest.raises(ValueError, match=r"max_memory must be at least .* got 10 KB") as error:
        restore(truth, model, cfa, max_memory="10KB")
    enough = str(error.value).split("at least ")[1].split(" for")[0]
    assert restore(truth, model, cfa, max_memory=enough).isfinite().all()


def test_other_methods_see_a_halo_and_the_phase():
    truth, cfa = torch.rand(3, 45, 70), CFA("GRBG")
    mask = cfa.mask(45, 70)
    sizes = []

    def method(y, observed):
        # Knows the pattern by its phase only, as classical demosaicking does.
        assert torch.equal(observed[0], cfa.mask(*y.shape[2:]))
        sizes.append(y.shape)
        return fill_in(y, observed)

    assert torch.equal(restore(truth, method, cfa, tile=15, halo=5), fill_in(truth, mask))
    assert len(sizes) > 1
    assert torch.equal(restore(truth, method, mask, tile=15, halo=5), fill_in(truth, mask))
    out = restore(truth, IGLR(rounds=1), mask, tile=15, halo=5)
    assert torch.equal(out[mask], truth[mask])


def test_an_interruption_leaves_nothing_behind():
    truth, cfa = torch.rand(3, 30, 30), CFA("RGGB")
    before = truth.clone()

    def interrupted(y, mask):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(truth, interrupted, cfa, progress=True)
    assert torch.equal(truth, before)


def test_bad_input_is_named():
    y, mask = torch.rand(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
    for arguments, kind, message in [
        ((y[0], tiny(), mask), ValueError, "image must have shape"),
        ((y[:2], tiny(), mask[:2]), ValueError, r"image must have shape \[3, H, W\]"),
        ((y[:2], tiny(), CFA("RGGB")), ValueError, "image must have shape"),
        ((y[:, :0], tiny(), mask[:, :0]), ValueError, "image must not be empty"),
        ((tiny(), y, mask), TypeError, "image must be a torch.Tensor"),
        ((y, None, mask), TypeError, "model must be a network or a method"),
        ((y.double(), tiny(), mask), TypeError, "image must be torch.float32"),
        ((y, tiny(), mask.float()), TypeError, "mask must be a bool"),
        ((y, tiny(), "RGGB"), TypeError, "mask must be .* a colour filter array .* got str 'RGGB'"),
        ((y, tiny(), mask[:2]), ValueError, "mask must have a shape that broadcasts to image"),
        ((y, tiny(), ~mask), ValueError, "mask must observe at least one pixel of every channel"),
        ((y / 0, tiny(), mask), ValueError, "image must be finite"),
    ]:
        with pytest.raises(kind, match=message):
            restore(*arguments)
    for options, message in [
        ({"tile": 0}, "tile must be at least 1"),
        ({"halo": -1}, "halo must be at least 0"),
        ({"tile": 8, "max_memory": "1GB"}, "give max_memory or tile, not both"),
        ({"max_memory": 0}, "max_memory must be more than 0 bytes, got 0"),
        ({"max_memory": "much"}, "max_memory must be bytes or look like"),
    ]:
        with pytest.raises(ValueError, match=message):
            restore(y, tiny(), mask, **options)
    with pytest.raises(ValueError, match="max_memory must be None for IGLR"):
        restore(y, IGLR(), mask, max_memory="1GB")
    model = UGLR(3, **SMALL, features_from="mlp", node_channels=1)
    with pytest.raises(ValueError, match="node_channels=0"):
        restore(y, model, mask)
