"""The training loop: steps, validation, saving, stopping and resuming."""

from __future__ import annotations

import json
import logging
import math
import random
import signal
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsp_unroll.models import build, save_pretrained
from gsp_unroll.training.checkpoint import (
    StateError,
    check_same_experiment,
    load_state,
    rng_state,
    save_state,
    set_rng_state,
)
from gsp_unroll.training.config import Config, save_config
from gsp_unroll.training.counters import Counters
from gsp_unroll.training.ema import EMA
from gsp_unroll.training.engine import leave_group, make_fabric
from gsp_unroll.training.feed import batches, step_indices
from gsp_unroll.training.history import run_record
from gsp_unroll.training.init import start_from
from gsp_unroll.training.interrupt import StopRequest, TrainingInterrupted
from gsp_unroll.training.log import clock
from gsp_unroll.training.loss import patch_loss
from gsp_unroll.training.optimizer import make_optimizer
from gsp_unroll.training.run_report import RunReport
from gsp_unroll.training.schedule import learning_rate, progress
from gsp_unroll.training.schema import to_mapping
from gsp_unroll.training.sources import load_held_out, split_images, training_patches
from gsp_unroll.training.teacher import Teacher
from gsp_unroll.training.validate import psnr, squared_errors

logger = logging.getLogger(__name__)

STATE = "state.pt"
BEST = "best.safetensors"
LAST = "last.safetensors"


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a gradient that is not finite."""


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves.

    Attributes:
        weights: Averaged weights with the best validation PSNR, for `load_pretrained`.
        steps: Optimiser steps done.
        seconds: Time spent, over all resumed parts.
        patches_per_second: Throughput of all processes together over the steps since the start or
            the last resume, without the first one and without validations; 0 if there was none.
        best_psnr: Best validation PSNR in dB; ``None`` without validation images.
        best_step: Step of ``weights``.
        bad_steps: Steps that were skipped since their gradient was not finite.
        skipped_images: Training images that could not be used, with the reason.
        is_main: This is the process that writes files (the only one, or rank 0).
    """

    weights: Path
    steps: int
    seconds: float
    patches_per_second: float
    best_psnr: float | None
    best_step: int
    bad_steps: int
    skipped_images: dict[str, str]
    is_main: bool


def train(config: Config, folder: str | Path, *, resume: bool = False) -> TrainResult:
    """Fit the network of ``config`` and keep everything about the run in ``folder``.

    The folder holds ``config.yaml`` (resolved), ``state.pt`` (to resume from), ``last.safetensors``
    and ``best.safetensors`` (averaged weights), ``train.csv`` and ``validation.csv``. The global
    random generators are seeded. Under ``torchrun`` all processes share the joint batch.

    On the CPU a run without time budget is a function of its configuration: interrupted and
    resumed, it ends with the same weights bit for bit.

    Args:
        config: The experiment.
        folder: The run folder; created if needed.
        resume: Continue from ``state.pt`` if it is there, else start.

    Returns:
        Where the weights are, and how the run went.

    Raises:
        StateError: The folder holds a run and ``resume`` is false, its state is corrupt, or it
            was started with another configuration.
        TrainingInterrupted: SIGTERM or Ctrl-C came; the state was saved before.
        TrainingDiverged: More than ``train.max_bad_steps`` steps in a row were not finite.
    """
    with StopRequest() as stop:
        trainer = _Trainer(config, Path(folder), resume, stop)
        try:
            trainer.fit()
        except TrainingInterrupted:
            trainer.leave()
            raise
        trainer.leave()
        return trainer.result()


class _Trainer:
    def __init__(self, config: Config, folder: Path, resume: bool, stop: StopRequest) -> None:
        self._started = time.monotonic()
        self._saved = self._started
        self.config, self.folder, self.stop = config, folder, stop
        self.now = Counters()
        # Steps of this process behind its first, which warms up, and the time they took.
        self._timed_steps, self._timed_seconds = -1, 0.0
        state = self._find_state(resume)
        if config.train.threads is not None:
            torch.set_num_threads(config.train.threads)
        self.fabric = make_fabric(config.train.precision)
        step_indices(0, config.train.batch, self.fabric.global_rank, self.fabric.world_size)
        self._seed()
        self._load_images()
        self._build(resumed=state is not None)
        if state is not None:
            self._restore(state)
        self._open_logs(resumed=state is not None)

    # -- set-up ------------------------------------------------------------------------------------

    def _find_state(self, resume: bool) -> dict[str, Any] | None:
        path = self.folder / STATE
        if not path.exists():
            return None
        if not resume:
            raise StateError(
                f"{self.folder} already holds a run; resume it (--resume), or choose another folder"
            )
        state = load_state(path)
        check_same_experiment(state["config"], to_mapping(self.config), str(path))
        return state

    def _seed(self) -> None:
        seed = self.config.train.seed
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - whatever a model draws from must be seeded
        torch.manual_seed(seed)

    def _load_images(self) -> None:
        config = self.config
        images, held_out = split_images(config.data)
        self.dataset = training_patches(images, config)
        self.held_out = load_held_out(held_out, config)

    def _build(self, *, resumed: bool) -> None:
        config = self.config
        self.network = build(config.model)
        self._past: list[dict[str, Any]] = []
        if config.train.init is not None and not resumed:
            self._past = start_from(self.network, config.train.init)
        self.teacher: Teacher | None = None
        if config.train.teacher is not None:
            share, task = config.train.teacher_share, config.task.build()
            self.teacher = Teacher(config.train.teacher, share, task, self.fabric.device)
        self.averaged = build(config.model).to(self.fabric.device).eval()
        parameters = self.network.parameters()
        self.inner = make_optimizer(config.train.optimizer, parameters, config.train.lr)
        self.model, self.optimizer = self.fabric.setup(self.network, self.inner)
        self.scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        self.ema = EMA(self.network, config.train.ema)
        logger.info(
            "%s, %s parameters, %d process(es) on %s, %s: %d training images, %d held out",
            config.model.name,
            f"{sum(p.numel() for p in self.network.parameters()):,}",
            self.fabric.world_size,
            self.fabric.device.type,
            config.task.build(),
            len(self.dataset.names) - len(self.dataset.skipped),
            len(self.held_out),
        )

    def _restore(self, state: dict[str, Any]) -> None:
        if state.get("images") != self._images():
            then, now = state.get("images", ["?"])[0], len(self.dataset.names)
            raise StateError(
                f"cannot resume {self.folder / STATE}: the training images are others than at its "
                f"start ({then} then, {now} now); put them back, or start a new run"
            )
        try:
            self.now = Counters(**state["counters"])
            # Absent in states from before networks could start from others.
            self._past = state.get("past", [])
            self.network.load_state_dict(state["model"])
            self.inner.load_state_dict(state["optimizer"])
            self.ema.load_state_dict(state["ema"])
            if self.scaler is not None:
                self.scaler.load_state_dict(state["scaler"])
            generators = state["rng"]
            if self.fabric.global_rank < len(generators):
                set_rng_state(generators[self.fabric.global_rank])
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise StateError(
                f"the training state {self.folder / STATE} does not fit this run: {error}"
            ) from error
        # Time spent before the interruption counts against the budget.
        self._started -= self.now.elapsed
        logger.info("resumed %s at step %d", self.folder, self.now.step)

    def _images(self) -> list[int]:
        """Return the number of training images and a checksum of their names."""
        names = "\n".join(self.dataset.names)
        return [len(self.dataset.names), zlib.crc32(names.encode())]

    def _open_logs(self, *, resumed: bool) -> None:
        main = self.fabric.is_global_zero
        if main:
            self.folder.mkdir(parents=True, exist_ok=True)
            # At a resume, too: what says how a run is carried out may have changed.
            save_config(self.folder / "config.yaml", self.config)
        options = self.config.train
        self.report = RunReport(self.folder, options, self.now, resumed=resumed, enabled=main)

    # -- the loop ----------------------------------------------------------------------------------

    def fit(self) -> None:
        config = self.config
        feed = batches(
            self.dataset,
            config.train.batch,
            self.now.step,
            config.train.steps,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            workers=config.data.workers,
        )
        try:
            while True:
                signum, done = self._agree()
                if not signum and self._validation_is_due(done):
                    self._validate()
                    signum, _ = self._agree()
                if signum:
                    self._interrupt(signum)
                if done >= 1.0:
                    break
                started = time.monotonic()
                self._step(next(feed), done)
                self._count_time(time.monotonic() - started)
                if self._save_is_due():
                    self._save()
        finally:
            feed.close()
            self.report.close_progress()
        if not self.held_out:
            self.now.best_step = self.now.step
            self._save_weights(BEST)
        self._save()

    def _agree(self) -> tuple[int, float]:
        """Return a stop signal that reached any process, and the progress by rank 0's clock."""
        clocks = time.monotonic()
        mine = (float(self.stop.signum), clocks - self._started, clocks - self._saved)
        signum, self.now.elapsed, self._unsaved = mine
        if self.fabric.world_size > 1:
            everyone = self._gather(torch.tensor(mine, dtype=torch.float64))
            signum = float(everyone[:, 0].max())
            self.now.elapsed, self._unsaved = everyone[0, 1:].tolist()
        minutes = self.config.train.max_minutes
        budget = None if minutes is None else 60.0 * minutes
        return int(signum), progress(
            self.now.step, self.config.train.steps, self.now.elapsed, budget
        )

    def _step(self, batch: dict[str, Tensor], done: float) -> None:
        options, now = self.config.train, self.now
        rate = learning_rate(
            now.step,
            done,
            peak=options.lr,
            final=options.final_lr,
            warmup=options.warmup,
            budgeted=options.max_minutes is not None,
        )
        for group in self.inner.param_groups:
            group["lr"] = rate
        batch = {name: value.to(self.fabric.device) for name, value in batch.items()}
        self.network.train()
        error = self.model(batch["y"], batch["mask"]).float() - batch["truth"]
        judged = error
        if self.teacher is not None:
            judged = error - self.teacher.correction(batch["y"], batch["mask"], batch["truth"])
        loss = (batch["weight"] * patch_loss(judged, options.loss)).mean()
        self.fabric.backward(loss)
        limit = math.inf if options.clip is None else options.clip
        norm = float(
            self.fabric.clip_gradients(
                self.network, self.optimizer, max_norm=limit, error_if_nonfinite=False
            )
        )
        finite = math.isfinite(norm)
        loss_value = squared_value = float(loss.detach())
        if judged is not error or options.loss != "mse":
            squared = patch_loss(error.detach(), "mse")
            squared_value = float((batch["weight"] * squared).mean())
        if finite or self.scaler is not None:
            # The scaler of float16 skips the step by itself, and lowers its scale.
            self.optimizer.step()
        self.inner.zero_grad(set_to_none=True)
        now.step += 1
        if finite:
            self.ema.update(self.network)
            sums = (1.0, loss_value, squared_value)
            now.window = [old + new for old, new in zip(now.window, sums, strict=True)]
        self._count_bad(finite)
        if now.step % options.log_every == 0:
            self._log_row(rate, norm)
        if finite:
            self.report.progress(loss_value, squared_value, done)

    def _count_time(self, seconds: float) -> None:
        self._timed_steps += 1
        if self._timed_steps:
            self._timed_seconds += seconds

    def _count_bad(self, finite: bool) -> None:
        now, limit = self.now, self.config.train.max_bad_steps
        if finite:
            now.bad_in_row = 0
            return
        now.bad_steps += 1
        now.bad_in_row += 1
        logger.warning("step %d skipped: its gradient is not finite", now.step)
        if now.bad_in_row > limit:
            raise TrainingDiverged(
                f"{now.bad_in_row} steps in a row, up to step {now.step}, had a gradient that is "
                f"not finite (train.max_bad_steps is {limit}); lower train.lr, set train.clip, or "
                f"use train.precision=32-true"
            )

    def _validation_is_due(self, done: float) -> bool:
        every, step = self.config.train.validate_every, self.now.step
        if not self.held_out or self.now.validated_at == step:
            return False
        # Weights that were given may stay the best ones; random ones need not be looked at.
        first = 1 if self.config.train.init is None else 0
        return done >= 1.0 or (every > 0 and step >= first and step % every == 0)

    def _validate(self) -> None:
        now, rank, world = self.now, self.fabric.global_rank, self.fabric.world_size
        self.ema.copy_to(self.averaged)
        mine = squared_errors(
            self.averaged, self.held_out[rank::world], self.fabric.device, self._is_stopped
        )
        errors = torch.zeros(len(self.held_out), dtype=torch.float64)
        if mine is None:
            errors += math.nan
        else:
            errors[rank::world] = mine
        if world > 1:
            errors = self._gather(errors).sum(0)
        if bool(errors.isnan().all()) and self._any_stopped():
            return
        value = psnr(errors, self.config.train.protocol)
        now.validated_at = now.step
        if now.best_psnr is None or math.isnan(now.best_psnr) or value > now.best_psnr:
            now.best_psnr, now.best_step = value, now.step
            self._save_weights(BEST)
        self.report.validation(value)
        # Together with the weights: the state always knows which step `best` is from.
        self._save()

    def _log_row(self, rate: float, norm: float) -> None:
        sums = torch.tensor(self.now.window, dtype=torch.float64)
        if self.fabric.world_size > 1:
            sums = self._gather(sums).sum(0)
        self.now.window = [0.0, 0.0, 0.0]
        self.report.training(sums.tolist(), rate, norm)

    # -- saving ------------------------------------------------------------------------------------

    def _save_is_due(self) -> bool:
        options = self.config.train
        at_step = options.save_every > 0 and self.now.step % options.save_every == 0
        return at_step or self._unsaved >= 60.0 * options.save_minutes

    def _save(self) -> None:
        self._saved = time.monotonic()
        generators = [rng_state()]
        if self.fabric.world_size > 1:
            everyone: list[Any] = [None] * self.fabric.world_size
            torch.distributed.all_gather_object(everyone, generators[0])
            generators = everyone
        if self.fabric.is_global_zero:
            self._save_weights(LAST)
            save_state(
                self.folder / STATE,
                {
                    "counters": dict(vars(self.now)),
                    "config": to_mapping(self.config),
                    "images": self._images(),
                    "past": self._past,
                    "model": self.network.state_dict(),
                    "optimizer": self.inner.state_dict(),
                    "ema": self.ema.state_dict(),
                    "scaler": self.scaler.state_dict() if self.scaler is not None else {},
                    "rng": generators,
                },
            )
        self.fabric.barrier()

    def _save_weights(self, name: str) -> None:
        if not self.fabric.is_global_zero:
            return
        self.ema.copy_to(self.averaged)
        config, now = self.config, self.now
        metadata = {
            "task": str(config.task.build()),
            "step": str(now.step),
            "history": json.dumps([*self._past, self._record()]),
        }
        if now.validated_at == now.step and now.best_psnr is not None and name == BEST:
            metadata["validation"] = f"{now.best_psnr:.2f} dB ({config.train.protocol} protocol)"
        save_pretrained(self.averaged, self.folder / name, metadata)

    def _record(self) -> dict[str, Any]:
        return run_record(
            self.config,
            files=len(self.dataset.names),
            steps=self.now.step,
            seconds=self.now.elapsed,
            device=self.fabric.device,
        )

    def _interrupt(self, signum: int) -> None:
        self._save()
        raise TrainingInterrupted(
            f"stopped by {signal.Signals(signum).name} after step {self.now.step}; "
            f"the state is saved in {self.folder / STATE}, --resume continues from it",
            signum,
        )

    def result(self) -> TrainResult:
        now = self.now
        skipped = dict(self.dataset.skipped)
        patches = self.config.train.batch * max(0, self._timed_steps)
        rate = patches / self._timed_seconds if self._timed_seconds else 0.0
        logger.info(
            "finished after %d steps in %s, %.2f patches/s; %d steps and %d images skipped",
            now.step,
            clock(now.elapsed),
            rate,
            now.bad_steps,
            len(skipped),
        )
        return TrainResult(
            weights=self.folder / BEST,
            steps=now.step,
            seconds=now.elapsed,
            patches_per_second=rate,
            best_psnr=now.best_psnr,
            best_step=now.best_step,
            bad_steps=now.bad_steps,
            skipped_images=skipped,
            is_main=self.fabric.is_global_zero,
        )

    def leave(self) -> None:
        """Close what is open and leave the group of processes."""
        self.report.close()
        leave_group(self.fabric)

    # -- between processes -------------------------------------------------------------------------

    def _gather(self, values: Tensor) -> Tensor:
        """Return the ``values`` of every process, one row each, on the CPU."""
        return self.fabric.all_gather(values.to(self.fabric.device)).cpu()

    def _is_stopped(self) -> bool:
        return self.stop.signum != 0

    def _any_stopped(self) -> bool:
        return self._agree()[0] != 0
