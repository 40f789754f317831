"""One process or several: `lightning-fabric`, told exactly what the environment says."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

# Groups that this process has left; see `leave_group`.
_left: list[object] = []


def make_fabric(precision: str) -> Fabric:
    """Return a launched `Fabric`: one process, or one rank of those that ``torchrun`` started.

    CUDA is used if there is a device, else the CPU (gloo between several processes).

    Args:
        precision: ``"32-true"``, ``"bf16-mixed"`` or ``"16-mixed"``.

    Raises:
        ImportError: ``lightning-fabric`` is not installed.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins import MixedPrecision
        from lightning_fabric.plugins.environments import (
            LightningEnvironment,
            TorchElasticEnvironment,
        )
        from lightning_fabric.strategies import DDPStrategy
    except ImportError:
        try:
            from lightning.fabric import Fabric
            from lightning.fabric.plugins import MixedPrecision
            from lightning.fabric.plugins.environments import (
                LightningEnvironment,
                TorchElasticEnvironment,
            )
            from lightning.fabric.strategies import DDPStrategy
        except ImportError as error:
            raise ImportError(
                'training needs lightning-fabric: pip install "gsp-unroll[train]"'
            ) from error

    class KeepInputs(MixedPrecision):
        """Autocast without rounding the image itself: observed samples are returned bit for bit."""

        def convert_input(self, data: Any) -> Any:
            return data

    cuda = torch.cuda.is_available()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    # Named explicitly, so that an unrelated scheduler's variables are not taken for a launch.
    plugins: list[Any] = [TorchElasticEnvironment() if world > 1 else LightningEnvironment()]
    if precision != "32-true":
        plugins.append(KeepInputs(precision, "cuda" if cuda else "cpu"))
    backend = "nccl" if cuda else "gloo"
    fabric = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=local,
        num_nodes=max(1, world // local),
        strategy=DDPStrategy(process_group_backend=backend) if world > 1 else "auto",
        plugins=plugins,
    )
    fabric.launch()
    if fabric.is_global_zero and precision != "32-true" and not cuda:
        _warn_of_emulation(precision)
    return fabric


def _warn_of_emulation(precision: str) -> None:
    # 30 times slower: 48 to 48 channels, six images of 64 x 64, forward and backward.
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        logger.warning(
            "train.precision=%s: this processor has no instructions for half precision and "
            "emulates them, many times slower than float32; use train.precision=32-true",
            precision,
        )


def leave_group(fabric: Fabric) -> None:
    """Leave the group of processes together: none goes while another still talks to it.

    The group itself lives on until the interpreter ends. Otherwise the gradient reducer of the
    model would be its last owner, and free it while it holds the interpreter lock, for which a
    worker thread of gloo, which the destructor waits for, may be waiting: a deadlock.
    """
    if fabric.world_size == 1:
        return
    _left.append(torch.distributed.group.WORLD)
    fabric.barrier()
    torch.distributed.destroy_process_group()
