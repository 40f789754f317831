"""Look: pictures of restorations and of the graphs that networks learn."""

from __future__ import annotations

from gsp_unroll.plotting.neighbours import neighbour_weights
from gsp_unroll.plotting.report import restoration_report

__all__ = ["neighbour_weights", "restoration_report"]
