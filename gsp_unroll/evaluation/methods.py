"""Methods by name: classical ones, model-based priors, and trained networks from a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gsp_unroll import checks
from gsp_unroll.evaluation.classical import CLASSICAL, MethodError, classical_method
from gsp_unroll.evaluation.demosaicnet import DemosaicNet
from gsp_unroll.inference import ENSEMBLE_SIZES, NoiseAware, restore
from gsp_unroll.models import IGLR, IGTV, UnrolledNetwork, load_pretrained, shipped_weights
from gsp_unroll.observe import Task

MODEL_BASED = {"iglr": IGLR, "igtv": IGTV}
METHODS = (*CLASSICAL, *MODEL_BASED, "demosaicnet", *shipped_weights())


@dataclass(frozen=True)
class Method:
    """Something that restores an image.

    Args:
        name: Row label of the table.
        restore: ``restore(y, mask)``, ``[C, H, W]`` each, gives ``[C, H, W]``.
        parameters: Number of learned parameters.
    """

    name: str
    restore: Callable[[Tensor, Tensor], Tensor]
    parameters: int = 0


# Behind the name of a network: approach noisy samples instead of keeping them, and the mean over
# orientations.
_NOISE_AWARE = ":noise-aware"
_ENSEMBLES = {f":x{size}": size for size in ENSEMBLE_SIZES[1:]}


def resolve_method(
    name: str, task: Task, device: str | torch.device = "cpu", noise_sigma: float = 0.0
) -> Method:
    """Return the method called ``name``, ready to run on ``device``.

    Args:
        name: One of ``METHODS`` (those of shipped weights among them), or the path of a
            ``.safetensors`` checkpoint; either with ``:noise-aware`` behind it for
            :class:`gsp_unroll.inference.NoiseAware`, and then ``:x2``, ``:x4`` or ``:x8`` for the
            mean over so many orientations.
        task: What is restored; a checkpoint must have been built for its number of channels.
        device: Where networks run.
        noise_sigma: Noise of the samples, for ``:noise-aware``.

    Raises:
        MethodError: If the name is unknown (the nearest is suggested), the file is missing, or the
            method cannot do the task.
    """
    if name in CLASSICAL:
        return Method(name, classical_method(name, task))
    if name in MODEL_BASED:
        return module_method(name, MODEL_BASED[name]().to(device).eval())
    if name == "demosaicnet":
        net = DemosaicNet(task).to(device).eval()
        return Method(name, net, sum(p.numel() for p in net.parameters()))
    plain, ensemble = name, 1
    for ending, size in _ENSEMBLES.items():
        if name.endswith(ending):
            plain, ensemble = name.removesuffix(ending), size
    sigma = 0.0
    if plain.endswith(_NOISE_AWARE):
        if not noise_sigma:
            raise MethodError(f"method {name!r} needs noise on the samples, got noise sigma 0")
        plain, sigma = plain.removesuffix(_NOISE_AWARE), noise_sigma
    if plain.endswith(".safetensors") or plain in shipped_weights():
        network = _checkpoint(plain, task, device)
        label = Path(plain).stem if plain.endswith(".safetensors") else plain
        return network_method(label + name.removeprefix(plain), network, sigma, ensemble)
    raise MethodError(
        f"method must be one of {', '.join(METHODS)}, or the path of a .safetensors file (networks "
        f"also with {_NOISE_AWARE} and then {', '.join(_ENSEMBLES)} behind the name), "
        f"got {name!r}{checks.did_you_mean(name.lower(), METHODS)}"
    )


def resolve_methods(
    names: list[str], task: Task, device: str | torch.device = "cpu", noise_sigma: float = 0.0
) -> list[Method]:
    """Resolve several names; two checkpoints of one file name are told apart by their folders.

    Raises:
        MethodError: As ``resolve_method``; also if a name is given twice or none is given.
    """
    if not names:
        raise MethodError("methods must name at least one method, got none")
    for name in names:
        if names.count(name) > 1:
            raise MethodError(f"methods must be distinct, got {name!r} twice")
    methods = [resolve_method(name, task, device, noise_sigma) for name in names]
    labels = [m.name for m in methods]
    return [
        m if labels.count(m.name) == 1 else Method(name, m.restore, m.parameters)
        for name, m in zip(names, methods, strict=True)
    ]


def module_method(name: str, module: nn.Module) -> Method:
    """Wrap a module called as ``module(y [1, C, H, W], mask [C, H, W])`` as a method."""
    return Method(
        name,
        lambda y, mask: module(y[None], mask)[0],
        sum(p.numel() for p in module.parameters() if p.requires_grad),
    )


def network_method(
    name: str, network: UnrolledNetwork, noise_sigma: float = 0.0, ensemble: int = 1
) -> Method:
    """Wrap a trained network as a method; large images are restored in tiles, as memory asks.

    Args:
        name: Row label of the table.
        network: The network.
        noise_sigma: If more than 0, the noise to be taken off the samples.
        ensemble: Orientations to take the mean over, see :func:`gsp_unroll.inference.restore`.
    """
    model = NoiseAware(network, noise_sigma) if noise_sigma else network
    return Method(
        name,
        lambda y, mask: restore(y, model, mask, ensemble=ensemble),
        sum(p.numel() for p in network.parameters()),
    )


def _checkpoint(name: str, task: Task, device: str | torch.device) -> UnrolledNetwork:
    if name.endswith(".safetensors") and not Path(name).is_file():
        raise MethodError(f"checkpoint not found: {name}")
    network = load_pretrained(name, device=device)
    channels = network.config.in_channels
    if channels != task.channels:
        raise MethodError(
            f"checkpoint {name} restores {channels} channel(s), but {task} needs {task.channels}"
        )
    return network
