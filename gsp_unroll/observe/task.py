"""A task: which image is looked for and which of its samples are seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.observe.cfa import CFA
from gsp_unroll.observe.luma import luma
from gsp_unroll.observe.masks import decimation_mask, random_mask

TASKS = ("demosaic", "interpolate", "inpaint")


@dataclass(frozen=True)
class Task:
    """What is restored: the truth made from an RGB image, and the mask of its observed samples.

    Args:
        name: ``"demosaic"`` (RGB from a mosaic), ``"interpolate"`` (one-channel luma from a
            decimated one) or ``"inpaint"`` (RGB from random pixels).
        cfa: Colour filter array of ``"demosaic"``.
        factor: Decimation per axis of ``"interpolate"``, at least 2.
        ratio: Share of observed pixels of ``"inpaint"``, in (0, 1].
    """

    name: str
    cfa: CFA = field(default_factory=lambda: CFA("RGGB"))
    factor: int = 2
    ratio: float = 0.25

    def __post_init__(self) -> None:
        checks.one_of("task", self.name, TASKS)
        if not isinstance(self.cfa, CFA):
            raise TypeError(f"cfa must be a CFA, got {type(self.cfa).__name__}")
        checks.positive_int("factor", self.factor, minimum=2)
        checks.in_range("ratio", self.ratio, 0.0, 1.0, open_low=True)

    @classmethod
    def from_name(
        cls, name: str, *, cfa: str | CFA = "RGGB", factor: int = 2, ratio: float = 0.25
    ) -> Task:
        """Build a task from plain values; ``cfa`` may be any name that ``CFA.from_name`` takes."""
        checks.one_of("task", name, TASKS)
        array = cfa if isinstance(cfa, CFA) else CFA.from_name(cfa)
        return cls(name, cfa=array, factor=factor, ratio=ratio)

    @property
    def channels(self) -> int:
        """Channels of the truth: 1 for interpolation, else 3."""
        return 1 if self.name == "interpolate" else 3

    def mask(self, height: int, width: int, seed: int = 0) -> Tensor:
        """Return bool ``[channels, height, width]``; ``seed`` matters to ``"inpaint"`` only."""
        if self.name == "demosaic":
            return self.cfa.mask(height, width)
        if self.name == "interpolate":
            return decimation_mask(height, width, self.factor, self.channels)
        return random_mask(height, width, self.ratio, self.channels, seed)

    def prepare(self, rgb: Tensor) -> Tensor:
        """Turn an RGB image ``[3, H, W]`` into the truth ``[channels, H, W]`` (luma or itself)."""
        checks.floating("rgb", rgb)
        checks.shape("rgb", rgb, [3, "H", "W"])
        return luma(rgb) if self.name == "interpolate" else rgb

    def __str__(self) -> str:
        detail = {
            "demosaic": f"CFA {self.cfa}",
            "interpolate": f"x{self.factor}, luma",
            "inpaint": f"{self.ratio:.4g} of the pixels observed",
        }
        return f"{self.name} ({detail[self.name]})"
