import json
import signal

import pytest
import torch
from training_helpers import tiny_config

from gsp_unroll.models import UGLR, UGTV, UGLRPlus, build, pretrained_metadata, save_pretrained
from gsp_unroll.observe import CFA
from gsp_unroll.topology.grid import half_offsets
from gsp_unroll.training import TrainingInterrupted, train
from gsp_unroll.training.init import start_from
from gsp_unroll.training.interrupt import StopRequest


@pytest.fixture
def weights(photos, tmp_path):
    """A network that was trained for four steps."""
    config = tiny_config(photos, train={"steps": 4, "ema": 0})
    return config, train(config, tmp_path / "first").weights


def test_a_run_starts_from_the_weights_and_goes_on_with_their_history(weights, photos, tmp_path):
    config, path = weights
    # A learning rate that changes nothing: the result is what the run started from.
    options = {"steps": 3, "ema": 0, "lr": 1e-30, "init": str(path)}
    second = train(tiny_config(photos, train=options), tmp_path / "second").weights
    for old, new in zip(*(load(p, config).values() for p in (path, second)), strict=True):
        assert torch.equal(old, new)
    # Nothing was better than what was given, which is a candidate like any other.
    assert [part["steps"] for part in json.loads(pretrained_metadata(second)["history"])] == [4, 0]
    last = second.with_name("last.safetensors")
    history = json.loads(pretrained_metadata(last)["history"])
    assert [part["steps"] for part in history] == [4, 3]
    assert history[0]["files"] == len(list(photos.iterdir())) - config.data.holdout
    assert history[0]["images"] == config.data.folder


def test_a_resume_does_not_need_the_first_weights_again(weights, photos, tmp_path):
    _, path = weights
    config = tiny_config(photos, train={"steps": 8, "ema": 0, "init": str(path)})
    stop = {"after": 3}

    class Stop(StopRequest):
        @property
        def signum(self):
            stop["after"] -= 1
            return signal.SIGTERM if stop["after"] < 0 else 0

        @signum.setter
        def signum(self, value):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gsp_unroll.training.loop.StopRequest", Stop)
        with pytest.raises(TrainingInterrupted):
            train(config, tmp_path / "run")
    path.unlink()
    train(config, tmp_path / "run", resume=True)
    metadata = pretrained_metadata(tmp_path / "run" / "last.safetensors")
    assert [part["steps"] for part in json.loads(metadata["history"])] == [4, 8]


def load(path, config):
    network = build(config.model)
    start_from(network, str(path))
    return network.state_dict()


def test_weights_of_another_network_are_refused(weights, tmp_path):
    config, _ = weights
    other = {**config.model.as_dict(), "heads": config.model.heads + 1, "checkpointing": True}
    network = build(type(config.model)(**other))
    path = save_pretrained(network, tmp_path / "other.safetensors")
    message = f"heads: {config.model.heads + 1} there, {config.model.heads} here"
    with pytest.raises(ValueError, match=message) as error:
        start_from(build(config.model), str(path))
    assert "checkpointing" not in str(error.value)


def test_weights_that_are_not_there_are_named(photos, tmp_path):
    config = tiny_config(photos, train={"init": "ugtv-demosaick"})
    with pytest.raises(ValueError, match="weights must be one of"):
        train(config, tmp_path / "run")


def test_what_the_weights_lack_of_the_options_stays_as_it_began(tmp_path):
    size = {"blocks": 2, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    plain = UGLRPlus(**size).eval()
    path = plain.save_pretrained(tmp_path / "plain.safetensors")
    full = UGLRPlus(**size, mean=True, sees_mask=True, carry=True, offset_scores=True).eval()
    start_from(full, str(path))
    y, mask = torch.rand(1, 3, 8, 8), CFA("RGGB").mask(8, 8)
    with torch.no_grad():
        torch.testing.assert_close(full(y, mask), plain(y, mask))
    # The other way round something would be lost.
    path = full.save_pretrained(tmp_path / "full.safetensors")
    with pytest.raises(ValueError, match="carry: True there, False here"):
        start_from(plain, str(path))


@pytest.mark.parametrize("scored", [False, True])
def test_a_wider_window_begins_with_the_scores_of_the_narrow_one(scored, tmp_path):
    size = {"blocks": 2, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    narrow = UGLRPlus(**size, window=3, offset_scores=scored).eval()
    if scored:
        with torch.no_grad():
            for block in narrow.blocks:
                block.graph.offset_score.normal_()
    path = str(narrow.save_pretrained(tmp_path / "narrow.safetensors"))
    wide = UGLRPlus(**size, window=5, offset_scores=True).eval()
    start_from(wide, path)
    new = []
    for before, after in zip(narrow.blocks, wide.blocks, strict=True):
        known = before.graph.offset_score[..., 0].tolist() if scored else [[0] * 4] * 2
        for head in range(2):
            given = dict(
                zip(half_offsets(5), after.graph.offset_score[head, :, 0].tolist(), strict=True)
            )
            assert [given.pop(offset) for offset in half_offsets(3)] == known[head]
            new += given.values()
    assert new == [-1] * 32
    # New neighbours that weigh nothing leave the narrow network.
    y, mask = torch.rand(1, 3, 9, 8), CFA("RGGB").mask(9, 8)
    with torch.no_grad():
        far = torch.tensor([offset not in half_offsets(3) for offset in half_offsets(5)])
        for block in wide.blocks:
            block.graph.offset_score[:, far] = -100.0
        torch.testing.assert_close(wide(y, mask), narrow(y, mask))
    with pytest.raises(ValueError, match="window: 5 there, 3 here"):
        start_from(narrow, str(wide.save_pretrained(tmp_path / "wide.safetensors")))
    with pytest.raises(ValueError, match="window: 3 there, 5 here"):
        start_from(UGLRPlus(**size, window=5), path)


def test_bounds_may_be_set_anew_but_not_lost(tmp_path):
    size = {"blocks": 1, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    free = UGLRPlus(**size)
    bounded = UGLRPlus(**size, bounds=(0, 1))
    start_from(bounded, str(free.save_pretrained(tmp_path / "free.safetensors")))
    path = str(bounded.save_pretrained(tmp_path / "bounded.safetensors"))
    start_from(UGLRPlus(**size, bounds=(-1, 2)), path)
    with pytest.raises(ValueError, match=r"bounds: \(0.0, 1.0\) there, None here"):
        start_from(free, path)


@pytest.mark.parametrize("network", [UGLR, UGTV, UGLRPlus])
def test_a_larger_network_computes_the_same_at_first_and_learns(network, tmp_path):
    size = {"cg_steps": 3, "heads": 2, "features": 3, "maps": 4}
    small = network(blocks=2, layers=1, **size).eval()
    large = network(blocks=3, layers=2, **size).eval()
    start_from(large, str(small.save_pretrained(tmp_path / "small.safetensors")))
    y, mask = torch.rand(1, 3, 8, 8), CFA("RGGB").mask(8, 8)
    torch.testing.assert_close(large(y, mask), small(y, mask))
    large.train()(y, mask).square().sum().backward()
    assert bool((large.blocks[0].layers[1].cg.alpha.grad != 0).all())
    assert bool(large.blocks[2].skip.grad != 0)
    # A block that does nothing yet has what the last one has learned.
    learned = dict(small.blocks[1].features.named_parameters())
    assert all(
        torch.equal(value, learned[name])
        for name, value in large.blocks[2].features.named_parameters()
    )
    # The other way round something would be lost.
    path = large.save_pretrained(tmp_path / "large.safetensors")
    with pytest.raises(ValueError, match=r"form \(layers: 2 there, 1 here\)"):
        start_from(small, str(path))


@pytest.mark.parametrize("network", [UGTV, UGLRPlus])
def test_a_network_of_fewer_blocks_takes_the_last_ones(network, tmp_path, caplog):
    size = {"layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    if network is UGLRPlus:
        size |= {"carry": True, "repeats": 1}
    long = network(blocks=4, **size).eval()
    with torch.no_grad():
        for parameter in long.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
        # What the first two of them do, and hand on, is nothing.
        for block in long.blocks[:2]:
            block.skip.zero_()
        if network is UGLRPlus:
            long.blocks[2].features.carry.zero_()
    path = str(long.save_pretrained(tmp_path / "long.safetensors"))
    short = network(blocks=2, **size).eval()
    start_from(short, path)
    assert "of the 4 blocks" in caplog.text
    assert "the first 2 are left out" in caplog.text
    y, mask = torch.rand(1, 3, 8, 8), CFA("RGGB").mask(8, 8)
    with torch.no_grad():
        torch.testing.assert_close(short(y, mask), long(y, mask))


def test_deeper_features_and_a_mixture_of_maps_change_nothing_at_first(tmp_path):
    size = {"layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4, "carry": True}
    plain = UGLRPlus(blocks=3, **size).eval()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if "carry" in name:
                parameter.normal_()
    path = str(plain.save_pretrained(tmp_path / "plain.safetensors"))
    y, mask = torch.rand(1, 3, 8, 8), CFA("RGGB").mask(8, 8)
    made = {}
    for pairs in (1, 2):
        made[pairs] = UGLRPlus(blocks=3, **size, carry_mix=True, residual_pairs=pairs).eval()
        start_from(made[pairs], path)
        with torch.no_grad():
            torch.testing.assert_close(made[pairs](y, mask), plain(y, mask))
            for parameter in made[pairs].parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    # From one pair of layers to two, and to fewer blocks, the first of which mixes nothing.
    path = str(made[1].save_pretrained(tmp_path / "deep.safetensors"))
    for blocks in (3, 2):
        deeper = UGLRPlus(blocks=blocks, **size, carry_mix=True, residual_pairs=2).eval()
        start_from(deeper, path)
        if blocks == 3:
            with torch.no_grad():
                torch.testing.assert_close(deeper(y, mask), made[1](y, mask))
    lost = {"carry_mix": {"residual_pairs": 1}, "residual_pairs": {"carry_mix": True}}
    for there, here in lost.items():
        with pytest.raises(ValueError, match=rf"{there}: (True|1) there, (False|0) here"):
            start_from(UGLRPlus(blocks=3, **size, **here), path)


def test_cells_are_of_another_form(tmp_path):
    size = {"blocks": 1, "layers": 1, "cg_steps": 1, "heads": 2, "features": 3, "maps": 4}
    made = {cell: UGLRPlus(**size, cell=cell) for cell in (None, 2)}
    for there, here in ((None, 2), (2, None)):
        path = str(made[there].save_pretrained(tmp_path / f"{there}.safetensors"))
        with pytest.raises(ValueError, match=f"cell: {there} there, {here} here"):
            start_from(made[here], path)


def test_the_published_networks_start_from_each_other_but_for_their_layers(tmp_path):
    size = {"blocks": 1, "layers": 2, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    ugtv, uglr = UGTV(**size), UGLR(**size)
    for parameter in uglr.parameters():
        torch.nn.init.uniform_(parameter)
    own = {name: value.clone() for name, value in ugtv.state_dict().items()}
    start_from(ugtv, str(uglr.save_pretrained(tmp_path / "uglr.safetensors")))
    for name, value in ugtv.state_dict().items():
        expected = own if ".layers." in name else uglr.state_dict()
        assert torch.equal(value, expected[name]), name
    plus = UGLRPlus(**size)
    with pytest.raises(ValueError, match="name: 'uglr' there, 'uglr-plus' here"):
        start_from(plus, str(tmp_path / "uglr.safetensors"))


def test_a_last_block_may_repeat_from_now_on(tmp_path):
    size = {"blocks": 2, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    path = str(UGLRPlus(**size).save_pretrained(tmp_path / "once.safetensors"))
    made, y, mask = {}, torch.rand(1, 3, 8, 8), CFA("RGGB").mask(8, 8)
    for repeats in (1, 2):
        made[repeats] = UGLRPlus(**size, repeats=repeats).eval()
        start_from(made[repeats], path)
        again = made[repeats].blocks[1].skips_again
        assert torch.equal(again, torch.full((repeats,), 0.3))
        with torch.no_grad():
            again[0] = 0.7
    # What is known stays, and a further time begins as new.
    path = str(made[1].save_pretrained(tmp_path / "again.safetensors"))
    start_from(made[2], path)
    with torch.no_grad():
        assert made[2].blocks[1].skips_again.tolist() == pytest.approx([0.7, 0.3])
        made[2].blocks[1].skips_again[1] = 0
        torch.testing.assert_close(made[2](y, mask), made[1](y, mask))
    with pytest.raises(ValueError, match="repeats: 1 there, 0 here"):
        start_from(UGLRPlus(**size), path)
    # The block that repeats would no longer be the last one.
    with pytest.raises(ValueError, match="blocks: 2 there, 3 here, so that another block"):
        start_from(UGLRPlus(**{**size, "blocks": 3}, repeats=1), path)
