"""Measure: what a sensor keeps of an image, and the simplest way to fill in the rest."""

from __future__ import annotations

from gsp_unroll.observe.cfa import BAYER_PHASES, CFA
from gsp_unroll.observe.fill import fill_in
from gsp_unroll.observe.luma import luma
from gsp_unroll.observe.masks import decimation_mask, mask_origin, random_mask
from gsp_unroll.observe.noise import observe
from gsp_unroll.observe.task import TASKS, Task

__all__ = [
    "BAYER_PHASES",
    "CFA",
    "TASKS",
    "Task",
    "decimation_mask",
    "fill_in",
    "luma",
    "mask_origin",
    "observe",
    "random_mask",
]
