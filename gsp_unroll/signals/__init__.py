"""Signals on graphs to learn from: collected by graph, and with known values hidden."""

from gsp_unroll.signals.collect import SignalGroup, collect
from gsp_unroll.signals.hide import hide

__all__ = ["SignalGroup", "collect", "hide"]
