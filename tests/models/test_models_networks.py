"""uGLR and uGTV as a whole: size, exact samples, independence, equivariance, precision."""

import functools

import pytest
import torch
from helpers import (
    assert_all_finite,
    assert_batch_independent,
    both_ways,
    close,
    graph_batch,
    permuted,
    random_edges,
    saved_bytes,
    uglr_plus_with_all,
)
from torch_geometric.data import Batch, Data

from gsp_unroll.graphs import data_to_image, image_to_data
from gsp_unroll.models import UGLR, UGTV, UGLRPlus
from gsp_unroll.observe.fill import fill_in
from gsp_unroll.topology import Graph, Grid

SMALL = {"blocks": 2, "layers": 2, "cg_steps": 3, "heads": 2, "features": 3, "maps": 6, "window": 3}
every_network = pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus, uglr_plus_with_all])


def make(network, channels=3, **changes):
    """A small network in float64 whose scalars are no longer all alike."""
    torch.manual_seed(1)
    model = network(channels, **{**SMALL, **changes}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def sample(batch=2, channels=3, height=7, width=6):
    y = torch.rand(batch, channels, height, width, dtype=torch.float64)
    mask = torch.rand(channels, height, width) < 0.4
    mask[:, 0, 0] = True
    return y, mask


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_published_parameter_counts():
    assert count(UGLR()) == 323_410
    assert count(UGTV()) == 323_435
    assert count(UGLR(in_channels=1)) == 319_090
    assert count(UGTV(in_channels=1)) == 319_115


def test_parameter_count_of_uglr_plus():
    plain = UGLRPlus(blocks=3, layers=1)
    # A gate (one more feature of each head) and a 3 x 3 transform, but scalars for one solve.
    gate = 4 * (48 * 9 + 1)
    assert count(plain) == count(UGLR(blocks=3, layers=1)) + 3 * (gate + 36 - 2 * 10 * 3 - 4)
    assert count(UGLRPlus(blocks=4)) < 323_435


def test_what_uglr_plus_may_have_beyond_is_small_and_changes_nothing_at_first():
    options = {"mean": True, "sees_mask": True, "carry": True}
    size = {"layers": 1, "features": 11}
    full, plain = UGLRPlus(**size, **options).double(), UGLRPlus(**size).double()
    mask, mean, carry = 48 * 3, 48 * 3 + 3 + 1, 48
    assert count(full) == count(plain) + 5 * (mask + mean) + 4 * carry <= 323_435
    full.load_state_dict({**full.state_dict(), **plain.state_dict()})
    y, observed = sample(1, 3, 12, 12)
    close(full(y, observed), plain(y, observed), 1e-13)


def test_a_perfect_mean_is_the_result():
    # Samples that agree with the mean leave nothing for the graphs to spread.
    model = make(UGLRPlus, blocks=1, mean=True)
    block = model.blocks[0]
    with torch.no_grad():
        block.skip.fill_(1.0)
        block.mean_share.zero_()
        block.features.mean.weight.zero_()
        block.features.mean.bias.copy_(torch.tensor([0.2, 0.5, 0.8]))
    truth = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 7, 6)
    _, mask = sample()
    close(model(truth, mask), truth, 1e-12)


def test_estimates_keep_within_bounds_and_samples_need_not():
    model = make(UGLRPlus)
    with torch.no_grad():
        for block in model.blocks:
            # Steps far too long: the estimates grow with each of them.
            block.layers[0].cg.alpha.fill_(40.0)
    y, mask = sample()
    free = model(y, mask).detach()
    assert float(free.abs().max()) > 1e3
    bounded = make(UGLRPlus, bounds=(-0.25, 0.5))
    bounded.load_state_dict(model.state_dict())
    for report in bounded.explain(y, mask):
        estimate = report.estimate.view_as(y)
        assert torch.equal(estimate[:, mask], y[:, mask])
        assert float(estimate[:, ~mask].min()) == -0.25
        assert float(estimate[:, ~mask].max()) == 0.5
    assert float(y[:, mask].max()) > 0.5
    # Bounds that are not reached change nothing.
    wide = make(UGLRPlus, bounds=(-1e30, 1e30))
    wide.load_state_dict(model.state_dict())
    assert torch.equal(wide(y, mask), free)


def test_the_mask_and_the_maps_of_the_block_before_are_seen():
    y, mask = sample()
    for part in ("mask", "carry"):
        model = make(uglr_plus_with_all)
        before = model(y, mask)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if f"features.{part}" in name:
                    parameter.zero_()
        assert (model(y, mask) - before).abs().max() > 1e-6


@pytest.mark.parametrize("network", [UGLR, UGTV])
def test_parameter_count_of_smaller_variants(network):
    extra = 1 if network is UGTV else 0

    def expected(c, blocks, layers, steps, heads, features, maps):
        f = heads * features
        cnn = 9 * (c * maps + 2 * maps * maps + maps * f) + 3 * maps + f
        scalars = layers * (2 * steps * heads + 1 + extra)
        return blocks * (cnn + heads * features**2 + scalars + heads + 1)

    sizes = {"blocks": 3, "layers": 2, "cg_steps": 4, "heads": 3, "features": 5, "maps": 7}
    assert count(network(2, **sizes)) == expected(2, 3, 2, 4, 3, 5, 7)


@every_network
@pytest.mark.parametrize(("height", "width"), [(7, 6), (1, 1), (1, 9), (2, 2)])
def test_observed_pixels_come_back_bit_for_bit(network, height, width):
    model = make(network)
    y, mask = sample(2, 3, height, width)
    y = torch.where(mask, y, torch.nan)  # what was not observed is never read
    out = model(y, mask)
    assert out.shape == y.shape
    assert_all_finite(out)
    kept = mask.expand_as(y)
    assert torch.equal(out[kept], y[kept])


@every_network
def test_the_network_does_something(network):
    model = make(network)
    y, mask = sample()
    out = model(y, mask)
    free = ~mask.expand_as(y)
    guess = fill_in(torch.where(mask, y, 0), mask)
    assert bool((out[free] != guess[free]).all())


@every_network
@pytest.mark.parametrize("norm", ["softmax", "symmetric"])
def test_gradients_reach_every_parameter_and_are_finite(network, norm):
    model = make(network, norm=norm)
    y, mask = sample()
    y.requires_grad_()
    (model(y, mask) - torch.rand(y.shape)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        if name.endswith("cg.beta"):
            assert bool((parameter.grad[:-1] != 0).all()), name
        elif "features" not in name:
            assert bool((parameter.grad != 0).any()), name
    assert_all_finite(y.grad)


@every_network
def test_gradcheck_of_a_one_block_network(network):
    model = make(network, 1, blocks=1)
    y, mask = sample(1, 1, 4, 3)
    names = [name for name, _ in model.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in model.parameters()]

    def run(y, *values):
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, parameters, (y, mask))

    assert torch.autograd.gradcheck(
        run, (y.requires_grad_(), *values), fast_mode=True, atol=1e-4, rtol=1e-3
    )


@every_network
def test_checkpointing_changes_no_value_and_no_gradient(network):
    y, mask = sample()
    results = []
    for checkpointing in (False, True):
        model = make(network, checkpointing=checkpointing).train()
        out = model(y, mask)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad for p in model.parameters())])
    for plain, recomputed in zip(*results, strict=True):
        assert torch.equal(plain, recomputed)


@every_network
def test_checkpointing_keeps_less_memory(network):
    y, mask = sample(1, 3, 24, 24)
    models = [make(network, cg_steps=8, checkpointing=c) for c in (False, True)]
    plain, recomputed = (saved_bytes(functools.partial(model, y, mask)) for model in models)
    assert recomputed < 0.8 * plain


@every_network
def test_an_image_does_not_depend_on_its_batch_mates(network):
    model = make(network)
    y, mask = sample(3)
    # The convolutions may sum in another order for another batch size: rounding only.
    assert_batch_independent(lambda y: model(y, mask), y, tolerance=1e-13)


@every_network
@pytest.mark.parametrize("features_from", ["mlp", "gnn"])
def test_a_graph_signal_does_not_depend_on_its_batch_mates(network, features_from):
    model = make(network, 2, features_from=features_from)
    sizes = (6, 1, 9)
    data = []
    for k, size in enumerate(sizes):
        mask = torch.rand(size, 2) < 0.4
        mask[0] = True
        data.append(
            Data(
                x=(10.0**k) * torch.rand(size, 2, dtype=torch.float64),
                mask=mask,
                edge_index=random_edges(size, seed=k, extra=size),
            )
        )
    together = model.restore(Batch.from_data_list(data)).to_data_list()
    for alone, among in zip(data, together, strict=True):
        close(model.restore(alone).x, among.x, 1e-12)
        assert torch.equal(among.x[alone.mask], alone.x[alone.mask])


@every_network
def test_restore_on_images_equals_the_call(network):
    model = make(network)
    y, mask = sample(2)
    expected = model(y, mask)
    data = [image_to_data(image, mask, window=3) for image in y]
    batch = model.restore(Batch.from_data_list(data))
    close(data_to_image(batch), expected, 1e-13)
    for k, single in enumerate(data):
        close(data_to_image(model.restore(single)), data_to_image(batch)[k], 1e-13)
    assert batch.edge_index is not None
    kept = mask.expand_as(y)
    assert torch.equal(data_to_image(batch)[kept], y[kept])


@every_network
def test_restore_does_not_change_its_argument(network):
    model = make(network)
    y, mask = sample(1)
    data = image_to_data(y[0], mask, window=3)
    before = data.x.clone()
    out = model.restore(data)
    assert torch.equal(data.x, before)
    assert out is not data
    assert not torch.equal(out.x, before)


@every_network
@pytest.mark.parametrize("norm", ["softmax", "symmetric"])
@pytest.mark.parametrize("features_from", ["mlp", "gnn"])
def test_equivariant_to_a_renumbering_of_the_nodes(network, features_from, norm):
    model = make(network, 2, features_from=features_from, norm=norm, node_channels=1)
    graph = Graph(random_edges(12), 12)
    order = torch.randperm(12)
    other, _ = permuted(graph, order)
    y, extra = torch.rand(2, 2, 12).double(), torch.rand(2, 1, 12).double()
    mask = torch.rand(2, 12) < 0.4
    mask[:, 0] = True
    before = model(y, mask, graph, extra)
    after = model(y[..., order], mask[:, order], other, extra[..., order])
    close(after, before[..., order])


@every_network
def test_grid_equals_graph_of_its_edge_index(network):
    model = make(network, 2, features_from="gnn")
    grid = Grid(5, 6, 3)
    y, mask = torch.rand(2, 2, 30).double(), torch.rand(2, 30) < 0.3
    mask[:, 0] = True
    expected = model(y, mask, grid)
    close(model(y, mask, Graph(grid.edge_index, 30)), expected)
    close(model(y, mask, grid.with_backend("gather_scatter")), expected)


@pytest.mark.parametrize(
    "changes",
    [{"norm": "symmetric", "laplacian": "normalized"}, {"norm": "directed"},
     {"laplacian": "normalized"}],
)  # fmt: skip
def test_other_forms_of_uglr_run_and_keep_the_samples(changes):
    model = make(UGLR, **changes)
    y, mask = sample()
    out = model(y, mask)
    kept = mask.expand_as(y)
    assert torch.equal(out[kept], y[kept])
    out.sum().backward()
    assert_all_finite(out, *(p.grad for p in model.parameters()))


@pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus])
def test_constant_images_stay_constant(network):
    # Constants have no energy: with head weights that sum to one nothing may move them.
    model = network(3, **SMALL).double()
    _, mask = sample()
    y = torch.full((2, 3, 7, 6), 0.7, dtype=torch.float64)
    close(model(y, mask), y, 1e-12)


@every_network
def test_untrained_network_is_finite_on_extreme_input_under_autocast(network):
    model = network(3, **SMALL)
    _, mask = sample()
    for size in (1.0, 1e4):
        y = (size * torch.rand(2, 3, 7, 6)).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(y, mask)
        assert out.dtype == torch.float32
        (out / size).square().mean().backward()
        assert_all_finite(out, y.grad, *(p.grad for p in model.parameters()))
        kept = mask.expand_as(y)
        assert torch.equal(out[kept], y[kept])


@every_network
def test_autocast_changes_the_result_by_half_precision_rounding_only(network):
    torch.manual_seed(0)
    model = network(3, **SMALL)
    y, mask = sample()
    y = y.float()
    expected = model(y, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(model(y, mask), expected, 0.05)


@every_network
def test_values_are_the_same_without_gradients(network):
    # Convolutions work on pixels then, not on planes.
    model = make(network)
    y, mask = sample()
    expected = model(y, mask).detach()
    with torch.no_grad():
        close(model(y, mask), expected, 1e-12)


@every_network
def test_explain_tells_what_each_block_did(network):
    model = make(network)
    y, mask = sample()
    reports = model.explain(y, mask)
    assert len(reports) == 2
    for report in reports:
        assert isinstance(report.topology, Grid)
        assert report.weight.shape == (2, 2, report.topology.num_edges)
        assert not report.weight.requires_grad
    with torch.no_grad():
        expected = model(y, mask)
    assert torch.equal(reports[-1].estimate.view_as(y), expected)


MODEL = UGTV(2, **SMALL)
GNN = UGLR(2, **{**SMALL, "features_from": "mlp"}, node_channels=1)
Y, MASK = torch.rand(1, 2, 4, 5), torch.rand(2, 4, 5) < 2.0
PAIRS = Graph(both_ways([(0, 1), (2, 3)]), 4)
SIGNAL = torch.rand(1, 2, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MODEL(Y[0], MASK), ValueError,
         r"y must have shape \[B, 2, H, W\], got \[2, 4, 5\]"),
        (lambda: MODEL(Y[:, :1], MASK[:1]), ValueError, r"y must have shape \[B, 2, H, W\]"),
        (lambda: MODEL(Y[..., :0], MASK[..., :0]), ValueError, "y must not be empty"),
        (lambda: MODEL([1.0], MASK), TypeError, "y must be a torch.Tensor, got list"),
        (lambda: MODEL(Y.to(torch.uint8), MASK), TypeError, "y must be a floating-point tensor"),
        (lambda: UGLR(2, **SMALL).bfloat16()(Y.bfloat16(), MASK), TypeError,
         "parameters of the network must be float32 or float64, got torch.bfloat16; use autocast"),
        (lambda: MODEL(Y.half(), MASK), TypeError,
         "y must be torch.float32 as .*got torch.float16"),
        (lambda: MODEL(Y.double(), MASK), TypeError,
         "y must be torch.float32 as .*got torch.float64"),
        (lambda: MODEL(Y, MASK.float()), TypeError, "mask must be a bool tensor"),
        (lambda: MODEL(Y, MASK[:, :3]), ValueError, r"mask .* broadcasts to y \[1, 2, 4, 5\]"),
        (lambda: MODEL(Y * torch.nan, MASK), ValueError,
         "y must be finite where observed, got nan"),
        (lambda: MODEL(Y, ~MASK), ValueError, "mask must observe .* sample 0, channel 0"),
        (lambda: MODEL(Y, MASK.to("meta")), ValueError, "one device, got y on cpu, mask on meta"),
        (lambda: MODEL(SIGNAL, SIGNAL > 0, Grid(2, 3, 3)), ValueError,
         r"y must have shape \[B, 2, 6\], got \[1, 2, 4\]"),
        (lambda: MODEL(SIGNAL, SIGNAL > -1, PAIRS), TypeError, 'features_from="mlp" or "gnn"'),
        (lambda: GNN(SIGNAL, SIGNAL > -1, PAIRS), ValueError,
         r"attributes must be given with shape \[1, 1, 4\], got None"),
        (lambda: GNN(SIGNAL, SIGNAL > -1, PAIRS, torch.ones(1, 2, 4)), ValueError,
         r"attributes must have shape \[1, 1, 4\], got \[1, 2, 4\]"),
        (lambda: GNN(SIGNAL, SIGNAL > -1, PAIRS, torch.full((1, 1, 4), torch.nan)), ValueError,
         "attributes must be finite"),
        (lambda: GNN(SIGNAL, torch.tensor([True, False, False, False]), PAIRS, SIGNAL[:, :1]),
         ValueError, "channel 0 has no sample in the component of nodes 2, 3"),
        (lambda: GNN(SIGNAL, SIGNAL > -1, PAIRS.to("meta"), SIGNAL[:, :1]), ValueError,
         "one device, got .*topology on meta"),
        (lambda: GNN.restore(Data(edge_index=PAIRS.edge_index, num_nodes=4)), ValueError,
         "data.x is missing"),
        (lambda: GNN.restore(Data(x=torch.nan * SIGNAL[0].T, edge_index=PAIRS.edge_index)),
         ValueError, "mask must observe at least one node"),
        (lambda: GNN.restore(Data(x=SIGNAL[0].T, mask=torch.ones(3) > 0,
                                  edge_index=PAIRS.edge_index)), ValueError,
         r"data.mask must have shape \[4\] or \[4, 2\], got \[3\]"),
        (lambda: GNN.restore(Data(x=SIGNAL[0, 0], mask=torch.ones(4) > 0,
                                  edge_index=PAIRS.edge_index)), ValueError,
         r"y must have shape \[B, 2, 4\], got \[1, 1, 4\]"),
        (lambda: GNN.restore(SIGNAL), TypeError, "data must be a torch_geometric.data.Data"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_batch_of_graphs_through_the_topology_argument():
    model = make(UGLR, 2, features_from="mlp")
    graph = graph_batch((5, 4))
    y, mask = torch.rand(1, 2, 9).double(), torch.rand(1, 2, 9) < 0.4
    mask[..., [0, 5]] = True
    expected = model(y, mask, graph)
    changed = y.clone()
    changed[..., 5:] += 3
    assert torch.equal(model(changed, mask, graph)[..., :5], expected[..., :5])
