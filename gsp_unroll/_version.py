"""The version, read by the packaging without importing torch."""

from __future__ import annotations

__version__ = "0.1.0"
