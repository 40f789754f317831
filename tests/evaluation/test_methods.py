from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch import nn

from gsp_unroll.evaluation import (
    MethodError,
    classical_method,
    module_method,
    resolve_method,
    resolve_methods,
)
from gsp_unroll.inference import NoiseAware, restore
from gsp_unroll.models import load_pretrained, shipped_weights
from gsp_unroll.observe import BAYER_PHASES, CFA, Task, fill_in, observe


def measured(task, height, width):
    truth = torch.rand(task.channels, height, width)
    mask = task.mask(height, width, seed=1)
    return observe(truth, mask), mask


@pytest.mark.parametrize("phase", BAYER_PHASES)
@pytest.mark.parametrize("name", ["bilinear", "malvar", "menon"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 17)])
def test_bayer_methods_know_the_phase(name, phase, height, width):
    # Flat colours: a method that mistakes the phase swaps channels.
    task = Task.from_name("demosaic", cfa=phase)
    truth = torch.tensor([0.8, 0.5, 0.2]).view(3, 1, 1).expand(3, height, width)
    mask = task.mask(height, width)
    result = classical_method(name, task)(observe(truth, mask), mask)
    assert result.shape == truth.shape
    inner = (slice(None), slice(4, -4), slice(4, -4))
    torch.testing.assert_close(result[inner], truth[inner].double(), rtol=0, atol=1e-6)


def test_bilinear_of_a_bayer_mosaic_is_fill_in_inside():
    task = Task("demosaic")
    y, mask = measured(task, 12, 10)
    result = classical_method("bilinear", task)(y, mask)
    fill = classical_method("fill_in", task)(y, mask)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    assert torch.equal(fill, fill_in(y.double(), mask))
    torch.testing.assert_close(result[inner], fill[inner])


@pytest.mark.parametrize(
    "task",
    [
        Task.from_name("demosaic", cfa="xtrans"),
        Task.from_name("demosaic", cfa="quad_bayer"),
        Task.from_name("inpaint", ratio=0.2),
        Task.from_name("interpolate", factor=3),
    ],
)
def test_bilinear_does_every_task_and_keeps_samples(task):
    y, mask = measured(task, 13, 14)
    result = classical_method("bilinear", task)(y, mask)
    assert torch.isfinite(result).all()
    torch.testing.assert_close(result[mask], y.double()[mask], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["malvar", "menon"])
def test_bayer_methods_refuse_what_they_cannot_do(name):
    with pytest.raises(MethodError, match=f"{name}.*Bayer mosaics only.*xtrans"):
        resolve_method(name, Task.from_name("demosaic", cfa="xtrans"))
    with pytest.raises(MethodError, match=f"{name}.*'demosaic' only, not interpolate"):
        resolve_method(name, Task("interpolate"))


@pytest.mark.parametrize("name", ["bicubic", "bicubic_shifted"])
def test_bicubic_refuses_other_tasks(name):
    with pytest.raises(MethodError, match="'interpolate' only, not demosaic"):
        resolve_method(name, Task("demosaic"))


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "colour_demosaicing", None)
    with pytest.raises(MethodError, match="pip install colour-demosaicing"):
        resolve_method("menon", Task("demosaic"))


def test_one_pixel_is_refused_by_name():
    task = Task("demosaic")
    restore = classical_method("bilinear", task)
    with pytest.raises(ValueError, match=r"at least 2 x 2 for method 'bilinear', got 1 x 1"):
        restore(torch.zeros(3, 1, 1), task.mask(1, 1))


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(MethodError, match="got 'menno'; did you mean 'menon'"):
        resolve_method("menno", Task("demosaic"))
    with pytest.raises(MethodError, match=r"\.safetensors"):
        resolve_method("model.pth", Task("demosaic"))
    with pytest.raises(MethodError, match=r"checkpoint not found: nowhere/a\.safetensors"):
        resolve_method("nowhere/a.safetensors", Task("demosaic"))
    with pytest.raises(MethodError, match="distinct, got 'bilinear' twice"):
        resolve_methods(["bilinear", "menon", "bilinear"], Task("demosaic"))
    with pytest.raises(MethodError, match="at least one"):
        resolve_methods([], Task("demosaic"))


def test_a_module_becomes_a_method():
    class Fill(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(3))
            self.fixed = nn.Parameter(torch.ones(5), requires_grad=False)

        def forward(self, y, mask):
            assert y.dim() == 4
            return fill_in(y, mask) * self.gain.view(3, 1, 1)

    method = module_method("fill", Fill())
    y, mask = measured(Task("demosaic"), 8, 8)
    assert method.parameters == 3
    assert torch.equal(method.restore(y, mask), fill_in(y, mask))


@pytest.mark.parametrize("name", ["iglr", "igtv"])
@pytest.mark.parametrize("task", [Task("demosaic"), Task("interpolate"), Task("inpaint")])
def test_model_based_methods_run_and_keep_samples(name, task):
    method = resolve_method(name, task)
    y, mask = measured(task, 12, 13)
    result = method.restore(y, mask)
    assert method.parameters == 0
    assert torch.equal(result[mask], y[mask])
    assert torch.isfinite(result).all()


def test_a_checkpoint_is_a_method(tmp_path):
    from gsp_unroll.models import UGLR, save_pretrained

    size = {"blocks": 1, "layers": 1, "cg_steps": 2, "heads": 2, "features": 3, "maps": 4}
    model = UGLR(in_channels=3, **size).eval()
    paths = [tmp_path / folder / "net.safetensors" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        save_pretrained(model, path)
    method = resolve_method(str(paths[0]), Task("demosaic"))
    y, mask = measured(Task("demosaic"), 9, 10)
    with torch.inference_mode():
        assert torch.equal(method.restore(y, mask), model(y[None], mask)[0])
    assert method.name == "net"
    assert method.parameters == sum(p.numel() for p in model.parameters())
    # Two files of one name keep their folders as labels.
    pair = resolve_methods([str(p) for p in paths], Task("demosaic"))
    assert [m.name for m in pair] == [str(p) for p in paths]
    with pytest.raises(MethodError, match=r"restores 3 channel.*interpolate.* needs 1"):
        resolve_method(str(paths[0]), Task("interpolate"))


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        resolve_method(str(path), Task("demosaic"))


def test_classical_results_are_float64_and_leave_the_input_alone():
    task = Task.from_name("demosaic", cfa=CFA("GRBG"))
    y, mask = measured(task, 10, 10)
    before = y.clone()
    for name in ("bilinear", "malvar", "menon"):
        assert classical_method(name, task)(y, mask).dtype == torch.float64
    assert np.array_equal(y.numpy(), before.numpy())


@pytest.mark.skipif(
    importlib.util.find_spec("demosaicnet") is None, reason="demosaicnet is not installed"
)
@pytest.mark.parametrize("phase", BAYER_PHASES)
@pytest.mark.parametrize(("height", "width"), [(24, 26), (23, 25)])
def test_demosaicnet_knows_the_phase(phase, height, width):
    task = Task.from_name("demosaic", cfa=phase)
    truth = torch.tensor([0.8, 0.5, 0.2]).view(3, 1, 1).expand(3, height, width)
    mask = task.mask(height, width)
    method = resolve_method("demosaicnet", task)
    with torch.inference_mode():
        result = method.restore(observe(truth, mask), mask)
    assert method.parameters == 560_886
    torch.testing.assert_close(result, truth, rtol=0, atol=0.02)


def test_demosaicnet_says_what_it_cannot_do(monkeypatch):
    with pytest.raises(MethodError, match="'demosaicnet' knows Bayer mosaics only, not"):
        resolve_method("demosaicnet", Task.from_name("demosaic", cfa="xtrans"))
    monkeypatch.setitem(sys.modules, "demosaicnet", None)
    with pytest.raises(MethodError, match=r"needs its package .*pip install"):
        resolve_method("demosaicnet", Task("demosaic"))


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_weights_are_methods(name):
    channels = load_pretrained(name).config.in_channels
    task = Task("demosaic" if channels == 3 else "interpolate")
    method = resolve_method(name, task)
    y, mask = measured(task, 12, 13)
    result = method.restore(y, mask)
    assert method.name == name
    assert torch.equal(result[mask], y[mask])


def test_noise_aware_networks_by_name():
    task, name = Task("demosaic"), "uglr-plus-demosaic:noise-aware"
    method = resolve_method(name, task, noise_sigma=0.1)
    y, mask = measured(task, 12, 13)
    assert method.name == name
    assert not torch.equal(method.restore(y, mask)[mask], y[mask])
    with pytest.raises(MethodError, match="needs noise on the samples, got noise sigma 0"):
        resolve_method(name, task)


def test_ensembles_by_name():
    task = Task("demosaic")
    y, mask = measured(task, 12, 13)
    name = "uglr-plus-demosaic:x8"
    method = resolve_method(name, task)
    network = load_pretrained("uglr-plus-demosaic")
    assert method.name == name
    assert torch.equal(method.restore(y, mask), restore(y, network, mask, ensemble=8))
    both = resolve_method("uglr-plus-demosaic:noise-aware:x2", task, noise_sigma=0.1)
    expected = restore(y, NoiseAware(network, 0.1), mask, ensemble=2)
    assert torch.equal(both.restore(y, mask), expected)
    with pytest.raises(MethodError, match="menon:x8"):
        resolve_method("menon:x8", task)
