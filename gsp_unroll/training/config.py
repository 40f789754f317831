"""One experiment as one typed object, read from YAML: unknown keys and wrong types are errors."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from gsp_unroll import checks
from gsp_unroll.checks import in_range, positive_int
from gsp_unroll.files import write_atomically
from gsp_unroll.models import ModelConfig
from gsp_unroll.observe import Task
from gsp_unroll.training.loss import Loss
from gsp_unroll.training.schema import (
    ConfigError,
    flatten,
    from_mapping,
    set_by_path,
    to_mapping,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class TaskConfig:
    """What is observed.

    Args:
        name: ``"demosaic"`` (a colour filter array), ``"interpolate"`` (decimation by ``factor``,
            luma only) or ``"inpaint"`` (random samples).
        cfa: Colour filter array of ``"demosaic"``: a name or a string read from the top-left pixel.
        factor: Decimation factor of ``"interpolate"``.
        ratio: Share of observed pixels of ``"inpaint"``, in (0, 1].
        noise_sigma: Standard deviation of white Gaussian noise on the samples, images in [0, 1].
    """

    name: Literal["demosaic", "interpolate", "inpaint"] = "demosaic"
    cfa: str = "RGGB"
    factor: int = 2
    ratio: float = 0.25
    noise_sigma: float = 0.0

    def __post_init__(self) -> None:
        positive_int("factor", self.factor, 2)
        in_range("ratio", self.ratio, 0.0, 1.0, open_low=True)
        in_range("noise_sigma", self.noise_sigma, 0.0, 1.0)

    def build(self) -> Task:
        """Return the `gsp_unroll.observe.Task` that this section describes."""
        if self.name == "demosaic":
            return Task.from_name("demosaic", cfa=self.cfa)
        if self.name == "interpolate":
            return Task.from_name("interpolate", factor=self.factor)
        return Task.from_name("inpaint", ratio=self.ratio)


@dataclass(frozen=True)
class DataConfig:
    """Where the patches come from.

    Args:
        folder: Folder of images, searched recursively; null = photographs inside scikit-image.
        validation: Folder of held-out images; null = ``holdout`` images taken from ``folder``.
        holdout: How many images of ``folder`` are kept for validation when ``validation`` is null.
        validation_crop: Side of the central square on which validation is done, in pixels.
        patch: Side of a training patch, in pixels.
        augment: Flip and transpose the truth at random, before it is observed.
        distinct: How many different crops there are; null = as many as patches.
        saturation: Colours of a patch become up to this much stronger, drawn for each patch.
        recolour: Share of the patches whose channels are shuffled and darkened one by one.
        shrink: Share of the patches that are scaled down, by a factor of up to 2.5.
        blur: Patches are blurred by a Gaussian with a standard deviation of up to so many pixels.
        framed: Share of the patches that end in a frame of one grey along one side.
        candidates: Each patch is drawn from so many, the harder the likelier, and weighs less for
            it: the same expected gradient (before ``clip``) with less noise, if ``loss`` is
            ``"mse"``. null = all patches are equal.
        cache_mb: Decoded images are kept in memory up to this many megabytes.
        workers: Threads that prepare batches ahead; 0 = prepare them in the training thread. The
            patches do not depend on it.
    """

    folder: str | None = None
    validation: str | None = None
    holdout: int = 4
    validation_crop: int = 256
    patch: int = 64
    augment: bool = True
    distinct: int | None = None
    saturation: float = 0.0
    recolour: float = 0.0
    shrink: float = 0.0
    blur: float = 0.0
    framed: float = 0.0
    candidates: int | None = None
    cache_mb: int = 4096
    workers: int = 2

    def __post_init__(self) -> None:
        positive_int("holdout", self.holdout, 0)
        positive_int("validation_crop", self.validation_crop, 8)
        positive_int("patch", self.patch, 2)
        if self.distinct is not None:
            positive_int("distinct", self.distinct)
        in_range("saturation", self.saturation, 0.0)
        in_range("recolour", self.recolour, 0.0, 1.0)
        in_range("shrink", self.shrink, 0.0, 1.0)
        in_range("blur", self.blur, 0.0)
        in_range("framed", self.framed, 0.0, 1.0)
        if self.candidates is not None:
            positive_int("candidates", self.candidates)
        positive_int("cache_mb", self.cache_mb, 0)
        positive_int("workers", self.workers, 0)


@dataclass(frozen=True)
class TrainConfig:
    """How the network is fitted.

    Args:
        steps: Optimiser steps of the whole run.
        init: Weights to start from: a path, or a name of ``gsp_unroll.models.shipped_weights``;
            null = at random. The optimiser starts anew. They may have fewer layers and, with
            ``model.offset_scores``, a narrower window; fewer blocks, or more, of which the last
            ones are taken; with ``model.repeats`` their last one repeats, with
            ``model.residual_pairs`` features get deeper.
        max_minutes: Time budget. The schedule then follows ``max(step/steps, elapsed/budget)``, so
            a budgeted run depends on the speed of the machine: it is not step-deterministic.
        batch: Patches per step over *all* processes; each takes an equal share.
        optimizer: ``"adam"``, or ``"muon"``, see :class:`gsp_unroll.training.optimizer.Muon`.
        lr: Peak learning rate.
        final_lr: Learning rate at the end, as a fraction of ``lr``.
        warmup: Steps of linear warm-up (in a time-budgeted run, at most 5 % of the schedule).
        loss: ``"mse"``, ``"l1"``, or ``"rmse"``: the mean over patches of the root of their mean
            squared error, in which smooth patches count for more than in ``"mse"``.
        teacher: A method to learn from beside the truth, by a name as ``evaluate --methods`` knows
            them, or the path of weights, see :class:`gsp_unroll.training.teacher.Teacher`; null =
            none.
        teacher_share: Share of the teacher in what is learned, in (0, 1]; 0 without one.
        clip: Largest norm of the gradient; null = no clipping.
        ema: Decay of the exponential moving average of the weights, which is what is saved and
            evaluated; 0 = the last weights.
        precision: ``"32-true"``, or automatic mixed precision. Graphs and CG stay in float32.
        threads: Threads of torch on the CPU, also for what the process does afterwards; null = as
            torch chooses. Many threads are slow on small images where other programs compute too.
        seed: Seed of the weights and of every patch.
        protocol: Protocol of the validation PSNR: ``"usual"`` is the mean of per-image PSNRs,
            ``"paper"`` the PSNR of the mean of per-image MSEs.
        validate_every: Steps between validations; 0 = only at the end.
        save_every: Steps between saved states; 0 = by time only.
        save_minutes: A state is also saved when the last one is older than this.
        log_every: Steps between rows of the CSV log.
        max_bad_steps: Steps in a row with a non-finite gradient after which the run gives up.
        tensorboard: Also write TensorBoard event files (extra ``tensorboard``).
    """

    steps: int = 50_000
    init: str | None = None
    max_minutes: float | None = None
    batch: int = 16
    optimizer: Literal["adam", "muon"] = "adam"
    lr: float = 1e-3
    final_lr: float = 0.01
    warmup: int = 500
    loss: Loss = "mse"
    teacher: str | None = None
    teacher_share: float = 0.0
    clip: float | None = 1.0
    ema: float = 0.999
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    threads: int | None = None
    seed: int = 0
    protocol: Literal["usual", "paper"] = "usual"
    validate_every: int = 1000
    save_every: int = 500
    save_minutes: float = 10.0
    log_every: int = 10
    max_bad_steps: int = 20
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "log_every", "max_bad_steps"):
            positive_int(name, getattr(self, name))
        if self.threads is not None:
            positive_int("threads", self.threads)
        for name in ("warmup", "seed", "validate_every", "save_every"):
            positive_int(name, getattr(self, name), 0)
        for name in ("lr", "save_minutes", "max_minutes", "clip"):
            if getattr(self, name) is not None:
                in_range(name, getattr(self, name), 0.0, open_low=True)
        in_range("final_lr", self.final_lr, 0.0, 1.0)
        in_range("teacher_share", self.teacher_share, 0.0, 1.0)
        if (self.teacher is None) != (self.teacher_share == 0):
            raise ValueError(
                "teacher and teacher_share must be given together, got "
                f"teacher={self.teacher!r}, teacher_share={self.teacher_share!r}"
            )
        in_range("ema", self.ema, 0.0, 1.0, open_high=True)


@dataclass(frozen=True)
class Config:
    """A whole experiment: task, model, data, training.

    Args:
        task: What is observed.
        model: The network and its size.
        data: Where the patches come from.
        train: How the network is fitted.
        demo: Dotted overrides that shrink the experiment for a machine without a GPU. They are
            applied only when asked for (``demo=True``), and never change what the file means.
    """

    task: TaskConfig
    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    demo: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        channels = self.task.build().channels
        if self.model.in_channels != channels:
            raise ValueError(
                f"model.in_channels must be {channels} for task.name {self.task.name!r}, "
                f"got {self.model.in_channels}"
            )
        if self.model.node_channels:
            raise ValueError(
                f"model.node_channels must be 0 for images, got {self.model.node_channels}"
            )


def load_config(path: str | Path, overrides: Sequence[str] = (), *, demo: bool = False) -> Config:
    """Read an experiment from a YAML file.

    The order is: the file, then its ``demo`` section if ``demo``, then ``overrides``; the later one
    wins, and each is logged.

    Args:
        path: The YAML file.
        overrides: Texts ``"section.key=value"``, the value read as YAML.
        demo: Apply the file's ``demo`` section.

    Raises:
        ConfigError: The file cannot be read or holds an unknown key, a wrong type or value.
    """
    tree = read_yaml(path)
    try:
        config = from_mapping(Config, tree)
        # Built even when it is not asked for: a demo section that has rotted is an error at once.
        shrunk = _override(config, list(config.demo.items()), "demo")
        if demo:
            if not config.demo:
                raise ConfigError("there is no demo section to apply")
            _log_changes(config, shrunk, "demo")
            config = shrunk
        result = _override(config, [_split_override(text) for text in overrides], "set")
        _log_changes(config, result, "set")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return result


def load_config_as(cls: type[T], path: str | Path, overrides: Sequence[str] = ()) -> T:
    """Read an experiment of another kind: any configuration dataclass.

    Args:
        cls: The dataclass, see :func:`.from_mapping`.
        path: The YAML file.
        overrides: Texts ``"section.key=value"``, the value read as YAML; each is logged.

    Raises:
        ConfigError: The file cannot be read or holds an unknown key, a wrong type or value.
    """
    tree = read_yaml(path)
    try:
        config = from_mapping(cls, tree)
        result = _override(config, [_split_override(text) for text in overrides], "set")
        _log_changes(config, result, "set")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return result


def config_from_mapping(mapping: Mapping[str, Any]) -> Config:
    """Build a `Config` from nested mappings, as they stand in a YAML file."""
    return from_mapping(Config, mapping)


def save_config(path: str | Path, config: Config) -> None:
    """Write the resolved configuration as YAML; `load_config` reads back an equal one."""
    text = yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True)
    write_atomically(path, text.encode())


def differing_keys(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return ``{dotted key: (value in a, value in b)}`` for every leaf that differs."""
    left, right = flatten(a), flatten(b)
    keys = [*left, *(key for key in right if key not in left)]
    return {
        key: (left.get(key), right.get(key))
        for key in keys
        if left.get(key) != right.get(key) or (key in left) != (key in right)
    }


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping in which ``1e-4`` is a number and no key stands twice."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    tree = _parse(text, str(path))
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold sections of keys, got {type(tree).__name__}")
    return tree


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` with YAML 1.2 floats, and duplicate keys as errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"{node.start_mark.name}: key {key!r} stands twice (line {line})")
            seen.add(key if isinstance(key, str) else repr(key))
        return super().construct_mapping(node, deep=deep)


# YAML 1.1, which PyYAML follows, wants a dot and a sign (`1.0e-4`); 1.2 and people do not.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _parse(text: str, source: str) -> Any:
    loader = _Loader(text)
    loader.name = source
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}") from error
    finally:
        loader.dispose()


def _split_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"an override must read section.key=value, got {text!r}")
    return key.strip(), _parse(value, f"the value of override {text!r}")


def _override(config: T, changes: Sequence[tuple[str, Any]], origin: str) -> T:
    """Return ``config`` with dotted ``changes``; one that names no known leaf is an error."""
    tree = to_mapping(config)
    known = list(flatten({name: leaf for name, leaf in tree.items() if name != "demo"}))
    for key, value in changes:
        if key not in known:
            hint = checks.did_you_mean(key, known, cutoff=0.4)
            raise ConfigError(f"unknown key {key!r} in an override ({origin}){hint}")
        set_by_path(tree, key, value)
    return from_mapping(type(config), tree)


def _log_changes(before: T, after: T, origin: str) -> None:
    differing = differing_keys(to_mapping(before), to_mapping(after))
    for key, (old, new) in differing.items():
        logger.info("override (%s): %s = %r (was %r)", origin, key, new, old)
