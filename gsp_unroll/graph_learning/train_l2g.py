"""Fit networks that learn graphs, keep them in files, and judge them."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.graph_learning.l2g import L2G, l2g_loss, unrolling_loss
from gsp_unroll.graph_learning.l2g_config import FitConfig, Pairs
from gsp_unroll.graph_learning.metrics import check_truth, gmse
from gsp_unroll.graph_learning.pds import check_distances
from gsp_unroll.graph_learning.unrolled_pds import UnrolledPDS
from gsp_unroll.tensor_file import read_tensors, write_tensors
from gsp_unroll.training.checkpoint import StateError, load_state, save_state
from gsp_unroll.training.gradients import with_gradients
from gsp_unroll.training.log import Progress

# Graphs that are estimated at once.
_PART = 512
# Key of the form of the network in the metadata of a file.
_FORM = "network"


@dataclass(frozen=True)
class Epoch:
    """Figures of one pass over the training graphs.

    Attributes:
        loss: Mean loss of its steps.
        validation: Mean relative squared error (GMSE) on the validation graphs after it.
    """

    loss: float
    validation: float


@with_gradients
def fit_topologies(
    network: UnrolledPDS,
    train: Pairs,
    validation: Pairs,
    config: FitConfig,
    *,
    state: str | Path | None = None,
    progress: bool = True,
) -> list[Epoch]:
    """Fit a network to graphs, in place, from the weights that it has.

    :class:`.L2G` is trained with :func:`.l2g_loss`, :class:`.UnrolledPDS` with
    :func:`.unrolling_loss`. Ctrl-C ends the fit early and keeps what was learned until then, with a
    warning. With ``state`` the same call goes on after the last whole epoch, and ends as if it had
    not been stopped.

    Args:
        network: What to fit; at the end in evaluation mode.
        train: Graphs to train with.
        validation: Graphs to report on after each epoch.
        config: The recipe.
        state: File to keep the state in after each epoch, and to go on from (default: none).
        progress: Report loss, error and remaining time (default: ``True``).

    Returns:
        The figures of each epoch.

    Raises:
        FloatingPointError: If the loss becomes infinite or NaN.
        TypeError: If graphs are not in the dtype of the network.
        ValueError: If graphs do not fit together, are not finite, lack edges, or there are none.
        StateError: If ``state`` is of another network, recipe or training graphs, or damaged.
    """
    for name, pairs in (("train", train), ("validation", validation)):
        _check_pairs(name, pairs, network)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(network.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, config.decay)
    history: list[Epoch] = []
    experiment = {
        "network": repr(network),
        "recipe": asdict(config),
        "graphs": float(train.z.double().sum()),
    }
    if state is not None and Path(state).exists():
        history = _resume(Path(state), experiment, network, optimizer, schedule, generator)
    report, begun = Progress(enabled=progress), time.monotonic()
    batches = -(-len(train.z) // config.batch)
    try:
        for epoch in range(len(history), config.epochs):
            network.train()
            total = 0.0
            order = torch.randperm(len(train.z), generator=generator).split(config.batch)
            for k, chosen in enumerate(order, 1):
                loss = _loss(network, train.z[chosen], train.weight[chosen], generator)
                if not bool(loss.isfinite()):
                    raise FloatingPointError(
                        f"the loss was {loss.item()} in epoch {epoch + 1}, step {k}; try a "
                        f"smaller lr than {config.lr}"
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.item()
                done = (epoch + k / batches) / config.epochs
                shown = {"loss": total / k}
                if history:
                    shown["GMSE"] = history[-1].validation
                report.update(epoch * batches + k, done, time.monotonic() - begun, shown)
            schedule.step()
            error = gmse(estimate_topologies(network, validation.z)[-1], validation.weight).mean()
            history.append(Epoch(total / batches, float(error)))
            if state is not None:
                save_state(
                    state,
                    {
                        "experiment": experiment,
                        "model": network.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "generator": generator.get_state(),
                        "history": [asdict(past) for past in history],
                    },
                )
    except KeyboardInterrupt:
        warnings.warn(
            f"fit was stopped in epoch {len(history) + 1} of {config.epochs}; the network is what "
            "was learned until then",
            stacklevel=2,
        )
    finally:
        report.close()
    network.eval()
    return history


def _check_pairs(name: str, pairs: Pairs, network: UnrolledPDS) -> None:
    """Graphs and what is seen of them, as the network takes them."""
    if not isinstance(pairs, Pairs):
        raise TypeError(f"{name} must be Pairs, got {type(pairs).__name__}")
    checks.shape(f"{name}.z", checks.tensor(f"{name}.z", pairs.z), ["count", "m (m - 1) / 2"])
    if not len(pairs.z):
        raise ValueError(f"{name} must hold at least one graph, got none")
    dtype = next(network.parameters()).dtype
    if pairs.z.dtype != dtype:
        raise TypeError(f"{name}.z must be {dtype} as the network is, got {pairs.z.dtype}")
    check_distances(pairs.z)
    check_truth(f"{name}.weight", pairs.weight, pairs.z)


def _resume(
    path: Path,
    experiment: dict[str, Any],
    network: UnrolledPDS,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> list[Epoch]:
    """Put everything back as it was after the last epoch; the epochs until then."""
    found = load_state(path)
    if found.get("experiment") != experiment:
        raise StateError(
            f"cannot go on from {path}: it is of {found.get('experiment')}, not {experiment}; "
            "delete it to start anew"
        )
    network.load_state_dict(found["model"])
    optimizer.load_state_dict(found["optimizer"])
    schedule.load_state_dict(found["schedule"])
    generator.set_state(found["generator"])
    return [Epoch(**past) for past in found["history"]]


@torch.no_grad()
def estimate_topologies(network: UnrolledPDS, z: Tensor, seed: int = 0) -> Tensor:
    """Nonnegative weights after each layer.

    Args:
        network: A fitted network.
        z: Squared distances ``[count, m (m - 1) / 2]``.
        seed: Of the latent noise of :class:`.L2G` (default: 0).

    Returns:
        ``[layers, count, m (m - 1) / 2]``.

    Raises:
        TypeError: If ``z`` is not floating point.
        ValueError: If ``z`` has another shape, is not finite or has a negative value.
    """
    checks.shape("z", checks.tensor("z", z), ["count", "m (m - 1) / 2"])
    check_distances(z)
    training = network.training
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    parts = []
    try:
        for part in z.split(_PART):
            passed = network(part, generator) if isinstance(network, L2G) else network(part)
            parts.append(passed.clamp(min=0))
    finally:
        network.train(training)
    return torch.cat(parts, dim=1)


def save_topology_network(
    network: UnrolledPDS, path: str | Path, metadata: dict[str, str] | None = None
) -> Path:
    """Write the weights of a network to a ``.safetensors`` file, atomically.

    Args:
        network: What to keep.
        path: The file.
        metadata: Further strings to keep with them (default: none).

    Raises:
        ValueError: If ``path`` does not end in ``.safetensors``.
    """
    return write_tensors(path, network.state_dict(), {**(metadata or {}), _FORM: repr(network)})


def load_topology_network(network: UnrolledPDS, path: str | Path) -> dict[str, str]:
    """Read weights that :func:`save_topology_network` wrote into a network of the same form.

    Returns:
        The strings kept with them.

    Raises:
        CheckpointError: If the file is missing, damaged or changed, or holds no such network.
        ValueError: If the network in it is of another form.
    """
    what = "network that infers topologies; save with save_topology_network"
    tensors, metadata = read_tensors(Path(path), _FORM, what)
    form = metadata.pop(_FORM)
    if form != repr(network):
        raise ValueError(f"{path} holds {form}, not {network!r}")
    network.load_state_dict(tensors)
    network.eval()
    return metadata


def _loss(network: UnrolledPDS, z: Tensor, truth: Tensor, generator: torch.Generator) -> Tensor:
    if isinstance(network, L2G):
        return l2g_loss(network, z, truth, generator)
    return unrolling_loss(network(z), truth)
