"""Fit: a typed experiment in, a folder with weights, state and logs out."""

from __future__ import annotations

from gsp_unroll.training.checkpoint import StateError, load_state, save_state
from gsp_unroll.training.command import Command, one_line_errors, parse_arguments, run
from gsp_unroll.training.config import (
    Config,
    DataConfig,
    TaskConfig,
    TrainConfig,
    config_from_mapping,
    load_config,
    load_config_as,
    save_config,
)
from gsp_unroll.training.ema import EMA
from gsp_unroll.training.interrupt import TrainingInterrupted
from gsp_unroll.training.loop import TrainingDiverged, TrainResult, train
from gsp_unroll.training.schedule import learning_rate, progress
from gsp_unroll.training.schema import ConfigError
from gsp_unroll.training.sources import first_readable, report_sources, split_images

__all__ = [
    "EMA",
    "Command",
    "Config",
    "ConfigError",
    "DataConfig",
    "StateError",
    "TaskConfig",
    "TrainConfig",
    "TrainResult",
    "TrainingDiverged",
    "TrainingInterrupted",
    "config_from_mapping",
    "first_readable",
    "learning_rate",
    "load_config",
    "load_config_as",
    "load_state",
    "one_line_errors",
    "parse_arguments",
    "progress",
    "report_sources",
    "run",
    "save_config",
    "save_state",
    "split_images",
    "train",
]
