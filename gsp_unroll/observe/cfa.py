"""Colour filter arrays: which colour each pixel of a sensor saw, for any periodic pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gsp_unroll import checks

COLOURS = "RGB"
BAYER_PHASES = ("RGGB", "BGGR", "GRBG", "GBRG")

_NAMED = {
    "bayer": "RG/GB",
    "quad_bayer": "RRGG/RRGG/GGBB/GGBB",
    "xtrans": "GBGGRG/RGRBGB/GBGGRG/GRGGBG/BGBRGR/GRGGBG",
}
_ALIASES = {"quadbayer": "quad_bayer", "quad": "quad_bayer", "x_trans": "xtrans"}


@dataclass(frozen=True, init=False)
class CFA:
    """Periodic colour filter array, read row by row from the top-left pixel of the mosaic.

    Two arrays are equal if they give the same mosaic: the pattern is stored in its smallest period.

    Args:
        pattern: Letters ``R``, ``G``, ``B``, each at least once. One of: a string with a square
            number of letters (``"RGGB"`` is 2 x 2), a string of rows joined by ``/``
            (``"RG/GB"``), a sequence of rows (``["RG", "GB"]``), or a 2-D array of letters.

    Raises:
        ValueError: If the letters are not a full rectangle, hold anything but R, G, B, or miss one.

    Example:
        >>> CFA("RGGB").shifted(0, 1)
        CFA('GR/BG')
    """

    rows: tuple[str, ...]

    def __init__(self, pattern: str | Sequence[str] | Sequence[Sequence[str]] | np.ndarray) -> None:
        object.__setattr__(self, "rows", _smallest_period(_validated(_split(pattern), pattern)))

    @classmethod
    def from_name(cls, name: str) -> CFA:
        """Return the array called ``name``.

        Args:
            name: ``"bayer"`` (RGGB), ``"quad_bayer"``, ``"xtrans"`` (upper or lower case, ``-`` or
                ``_``), or the letters themselves (``"GRBG"``, ``"RG/GB"``).

        Raises:
            ValueError: If the name is unknown; the message suggests the nearest one.
        """
        if not isinstance(name, str):
            raise TypeError(f"cfa must be a name or a string of letters, got {type(name).__name__}")
        key = name.strip().lower().replace("-", "_")
        key = _ALIASES.get(key, key)
        if key in _NAMED:
            return cls(_NAMED[key])
        if key and set(key.upper()) <= set(COLOURS + "/"):
            return cls(key.upper())
        hint = checks.did_you_mean(key, [*_NAMED, *(phase.lower() for phase in BAYER_PHASES)])
        raise ValueError(
            f"cfa must be one of {', '.join(_NAMED)}, or letters such as RGGB or RG/GB, "
            f"got {name!r}{hint}"
        )

    @property
    def period(self) -> tuple[int, int]:
        """Rows and columns after which the pattern repeats."""
        return len(self.rows), len(self.rows[0])

    @property
    def bayer_phase(self) -> str | None:
        """``"RGGB"``, ``"BGGR"``, ``"GRBG"`` or ``"GBRG"``; ``None`` if not a Bayer array."""
        letters = "".join(self.rows)
        return letters if self.period == (2, 2) and letters in BAYER_PHASES else None

    @property
    def name(self) -> str:
        """The known name if there is one (``"RGGB"``, ``"xtrans"``), else the rows joined by /."""
        if self.bayer_phase:
            return self.bayer_phase
        joined = "/".join(self.rows)
        return next((name for name, rows in _NAMED.items() if rows == joined), joined)

    def mask(self, height: int, width: int, top: int = 0, left: int = 0) -> Tensor:
        """Return which sample of which channel the sensor keeps.

        ``mask(h, w, top, left)`` is rows ``top:top+h``, columns ``left:left+w`` of the larger mask.

        Args:
            height: Rows, at least 1.
            width: Columns, at least 1.
            top: Row of the mosaic that becomes row 0; any integer.
            left: Column of the mosaic that becomes column 0; any integer.

        Returns:
            bool ``[3, height, width]``, channels R, G, B; exactly one ``True`` per pixel.
        """
        checks.positive_int("height", height)
        checks.positive_int("width", width)
        period_rows, period_columns = self.period
        letters = torch.tensor([[COLOURS.index(c) for c in row] for row in self.rows])
        rows = (torch.arange(height) + top) % period_rows
        columns = (torch.arange(width) + left) % period_columns
        channel = letters[rows][:, columns]
        return channel.unsqueeze(0) == torch.arange(len(COLOURS)).view(-1, 1, 1)

    def shifted(self, top: int, left: int) -> CFA:
        """Return the array of the mosaic cropped so that pixel (``top``, ``left``) comes first."""
        period_rows, period_columns = self.period
        row_of = [(top + i) % period_rows for i in range(period_rows)]
        column_of = [(left + j) % period_columns for j in range(period_columns)]
        return CFA(["".join(self.rows[i][j] for j in column_of) for i in row_of])

    def flipped(
        self, height: int, width: int, *, vertical: bool = False, horizontal: bool = False
    ) -> CFA:
        """Return the array of the flipped mosaic; the phase depends on the mosaic's size.

        Args:
            height: Rows of the mosaic that is flipped.
            width: Columns of the mosaic that is flipped.
            vertical: Swap top and bottom (``image.flip(-2)``).
            horizontal: Swap left and right (``image.flip(-1)``).
        """
        checks.positive_int("height", height)
        checks.positive_int("width", width)
        period_rows, period_columns = self.period
        row_of = [(height - 1 - i) if vertical else i for i in range(period_rows)]
        column_of = [(width - 1 - j) if horizontal else j for j in range(period_columns)]
        return CFA(
            [
                "".join(self.rows[i % period_rows][j % period_columns] for j in column_of)
                for i in row_of
            ]
        )

    def transposed(self) -> CFA:
        """Return the array of the transposed mosaic (``image.transpose(-1, -2)``)."""
        return CFA(["".join(column) for column in zip(*self.rows, strict=True)])

    def __repr__(self) -> str:
        return f"CFA({'/'.join(self.rows)!r})"

    def __str__(self) -> str:
        return self.name


def _split(pattern: object) -> list[str]:
    """Bring any accepted form to a list of row strings."""
    if isinstance(pattern, str):
        if "/" in pattern:
            return pattern.split("/")
        side = math.isqrt(len(pattern))
        if side * side != len(pattern):
            raise ValueError(
                f"pattern must have a square number of letters or rows joined by '/', got "
                f"{pattern!r} with {len(pattern)} letters; names go to CFA.from_name"
            )
        return [pattern[i * side : (i + 1) * side] for i in range(side)]
    if isinstance(pattern, np.ndarray):
        if pattern.ndim != 2:
            raise ValueError(f"pattern must be a 2-D array of letters, got {pattern.ndim}-D")
        pattern = pattern.tolist()
    if not isinstance(pattern, Sequence):
        raise TypeError(
            f"pattern must be a string, rows or a 2-D array, got {type(pattern).__name__}"
        )
    return ["".join(str(letter) for letter in row) for row in pattern]


def _validated(rows: list[str], pattern: object) -> list[str]:
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"pattern must be a full rectangle of letters, got {pattern!r}")
    letters = set("".join(rows))
    if letters != set(COLOURS):
        raise ValueError(
            f"pattern must use the letters R, G and B, each at least once, got {pattern!r}"
        )
    return rows


def _smallest_period(rows: list[str]) -> tuple[str, ...]:
    def shortest(sequence: Sequence[str]) -> int:
        n = len(sequence)
        return next(
            p
            for p in range(1, n + 1)
            if n % p == 0 and all(sequence[i] == sequence[i % p] for i in range(n))
        )

    height = shortest(rows)
    width = shortest(["".join(column) for column in zip(*rows, strict=True)])
    return tuple(row[:width] for row in rows[:height])
