"""Restore an image of any size within a given memory, as if it had been done in one piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from gsp_unroll import checks
from gsp_unroll.inference import ensemble as self_ensemble
from gsp_unroll.inference.memory import (
    bytes_per_pixel,
    fill_bytes_per_pixel,
    format_bytes,
    parse_bytes,
)
from gsp_unroll.inference.noise_aware import NoiseAware
from gsp_unroll.inference.observation import Observation, observation
from gsp_unroll.inference.tiles import Tile, smallest_tile, tiles_by_area, tiles_by_side
from gsp_unroll.models.unrolled import UnrolledNetwork
from gsp_unroll.observe.cfa import CFA
from gsp_unroll.observe.fill import fill_in, fill_reach
from gsp_unroll.topology import Grid

Restorer = Callable[[Tensor, Tensor], Tensor]

_MEMORY = "2GB"
# What tiles of other methods than networks keep and see, unless told otherwise.
_SIDE, _HALO = 512, 32


@torch.inference_mode()
def restore(
    image: Tensor,
    model: Restorer,
    mask: Tensor | CFA | None = None,
    *,
    max_memory: int | str | None = None,
    tile: int | None = None,
    halo: int | None = None,
    ensemble: int = 1,
    progress: bool = False,
) -> Tensor:
    """Restore one image of any size with a network or another method.

    A network runs block by block: between two blocks only the image is kept, and each block runs
    over tiles that see ``block.reach`` pixels beyond what they keep, everything that the block can
    see. So the result is that of one piece, up to the rounding of convolutions of another size.
    Blocks that hand on more than an image (``carry``) run together on each tile, which sees what
    all of them can see.
    Tiles are as large as ``max_memory`` allows and are moved to the network's device one by one.

    Any other method is called tile by tile, and results near tile borders differ from those of one
    piece if it sees farther than ``halo``. Tiles start at multiples of the period of the mask;
    those of a network with cells, also within :class:`~gsp_unroll.inference.NoiseAware`, at whole
    cells.

    Args:
        image: Samples ``[C, H, W]``, in the dtype of the network; read where observed only. With
            a :class:`~gsp_unroll.observe.CFA` also a mosaic ``[H, W]`` or ``[1, H, W]``.
        model: :class:`~gsp_unroll.models.UnrolledNetwork`, or a method called as
            ``model(y [1, C, H, W], mask [1, C, H, W])``.
        mask: Boolean, broadcastable to ``image``, ``True`` = observed, or the colour filter array
            (default: observed where ``image`` is not NaN).
        max_memory: What ``restore`` may allocate on the device of the network, in bytes or as in
            ``"800MB"``; networks only. It holds the tile and, if ``image`` lives there, two more
            images (five with an ``ensemble``), but neither ``image`` itself nor what the process
            had before (default: ``"2GB"``).
        tile: Largest side of what a tile keeps, instead of ``max_memory`` (default for other
            methods: 512).
        halo: Pixels that a tile sees around what it keeps (default: what the network can see, the
            smallest for which tiles change nothing; other methods: 32).
        ensemble: Restore the image in so many orientations (1, 2, 4 or 8: flips and transposes) and
            return their mean, in as many times the time (default: 1). All are in the phase of the
            mask; those that a pattern does not have are left out (RGB stripes have two).
        progress: Show a progress bar (default: ``False``).

    Returns:
        ``[C, H, W]`` on the device of ``image``; a network returns observed samples bit for bit.

    Raises:
        TypeError: If a dtype or type does not fit.
        ValueError: If a shape does not fit, an observed sample is not finite, a channel has no
            sample, or ``max_memory`` is too small for a tile.
    """
    seen = observation(image, mask)
    if not callable(model):
        raise TypeError(f"model must be a network or a method, got {type(model).__name__}")
    if max_memory is not None and tile is not None:
        raise ValueError(f"give max_memory or tile, not both, got {max_memory!r} and {tile}")
    if tile is not None:
        checks.positive_int("tile", tile)
    if halo is not None:
        checks.positive_int("halo", halo, minimum=0)
    self_ensemble.check_size("ensemble", ensemble)
    step = _step(seen, model)
    if isinstance(model, UnrolledNetwork):
        memory = _MEMORY if max_memory is None else max_memory
        budget = None if tile else parse_bytes("max_memory", memory)
        _check_network(model, seen)

        def run(title: str, seen: Observation) -> Tensor:
            plan = _Plan(seen, step, tile, budget)
            return _by_blocks(model, seen, plan, halo, title, progress)

    elif max_memory is not None:
        raise ValueError(
            f"max_memory must be None for {type(model).__name__}, whose needs are not known, "
            f"got {max_memory!r}; use tile"
        )
    else:

        def run(title: str, seen: Observation) -> Tensor:
            sides = _HALO if halo is None else halo, step, _SIDE if tile is None else tile
            return _by_tiles(model, seen, tiles_by_side(*seen.size, *sides), title, progress)

    return self_ensemble.average(seen, ensemble, step, run)


@dataclass(frozen=True)
class _Plan:
    """How large tiles may be: what they keep, or the bytes that a call may allocate."""

    seen: Observation
    step: tuple[int, int]
    side: int | None
    budget: int | None

    def tiles(self, halo: int, per_pixel: int, kept: int) -> list[Tile]:
        """The tiles of a step that needs ``per_pixel`` bytes while ``kept`` bytes are in use."""
        size, period = self.seen.size, self.step
        if self.budget is None:
            return tiles_by_side(*size, halo, period, self.side)
        tiles = tiles_by_area(*size, halo, period, max(self.budget - kept, 0) // per_pixel)
        if not tiles:
            rows, columns = smallest_tile(*size, halo, period)
            needed = kept + per_pixel * rows * columns
            raise ValueError(
                f"max_memory must be at least {format_bytes(needed)} for an image of {size[0]} x "
                f"{size[1]} pixels (one tile of {rows} x {columns}, {per_pixel} bytes a pixel), "
                f"got {format_bytes(self.budget)}"
            )
        return tiles


def _step(seen: Observation, model: Restorer) -> tuple[int, int]:
    """Rows and columns that tiles start at multiples of: the mask's period, in whole cells."""
    network = model.network if isinstance(model, NoiseAware) else model
    cell = network.config.cell if isinstance(network, UnrolledNetwork) else None
    rows, columns = (math.lcm(period, cell or 1) for period in seen.step)
    return rows, columns


def _check_network(model: UnrolledNetwork, seen: Observation) -> None:
    config = model.config
    checks.shape("image", seen.samples, [config.in_channels, "H", "W"])
    model.check_dtype("image", seen.samples)
    if config.node_channels:
        raise ValueError(
            f"model must have node_channels=0 to restore an image, got {config.node_channels}"
        )


def _by_blocks(
    model: UnrolledNetwork,
    seen: Observation,
    plan: _Plan,
    halo: int | None,
    title: str,
    progress: bool,
) -> Tensor:
    config, device = model.config, model.device
    itemsize = seen.samples.element_size()
    here = seen.samples.device == device
    kept = seen.made + 2 * seen.samples.numel() * itemsize if here else 0
    # All plans are made first: what cannot work must not fail after an hour.
    # What blocks hand on besides the image is too large for an image: those run tile by tile.
    parts = [list(model.blocks)] if config.carry else [[block] for block in model.blocks]
    farthest = max(sum(block.reach for block in part) for part in parts)
    reach = farthest if halo is None else halo
    tiles = plan.tiles(reach, bytes_per_pixel(model.blocks[-1], itemsize), kept)
    first = plan.tiles(
        fill_reach(seen.mask), fill_bytes_per_pixel(config.in_channels, itemsize), kept
    )
    x, after = (
        torch.empty(seen.samples.shape, dtype=seen.samples.dtype, device=seen.samples.device)
        for _ in range(2)
    )
    for tile in first:
        x[tile.kept] = fill_in(*seen.at(tile.seen))[tile.inner]
    height, width = x[tiles[0].seen].shape[1:]
    # Tiles start at multiples of a cell: where cells start is the same in all of them.
    grid = Grid(height, width, config.window, device=device, origin=model.origin(seen.mask))
    with _bar(len(model.blocks) * len(tiles), title, progress) as bar:
        for blocks in parts:
            for tile in tiles:
                part, mask = (
                    value[tile.seen].to(device).flatten(-2).unsqueeze(0) for value in (x, seen.mask)
                )
                maps = None
                for block in blocks:
                    result = block(grid, part, mask, None, maps)
                    part, maps = result.estimate, result.maps
                    bar.update()
                after[tile.kept] = part.view(-1, height, width)[tile.inner].to(after.device)
            x, after = after, x
    return x


def _by_tiles(
    model: Restorer, seen: Observation, tiles: list[Tile], title: str, progress: bool
) -> Tensor:
    out = torch.empty(seen.samples.shape, dtype=seen.samples.dtype, device=seen.samples.device)
    with _bar(len(tiles), title, progress) as bar:
        for tile in tiles:
            y, mask = seen.at(tile.seen)
            out[tile.kept] = model(y[None], mask[None])[0][tile.inner]
            bar.update()
    return out


def _bar(total: int, title: str, progress: bool) -> tqdm:
    return tqdm(total=total, desc=title, unit="tile", disable=not progress, leave=False)
