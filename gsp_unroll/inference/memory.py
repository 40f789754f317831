"""How much memory a block of a network needs to restore one pixel, and amounts in words."""

from __future__ import annotations

import math
import re

import torch

from gsp_unroll.models.config import ModelConfig
from gsp_unroll.models.unrolled import UnrolledBlock
from gsp_unroll.topology.grid import Grid, half_offsets

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


# Tensors alive at the same time, in units of what a part is made of; measured, and held to it by
# tests/inference/test_inference_memory.py. Edge weights [heads, M] while a graph is learned, by
# compiled kernels (the softmax, other norms) and by others; signals [heads, C, N] in the layers of
# uGLR, edge variables [heads, C, M] in those of uGTV, where no compiled solver takes their place;
# mixed signals [heads, C, N] and signals [C, N] in those of uGLR+.
_GRAPH_SOFTMAX, _GRAPH_NORM, _GRAPH = 5, 8, 14
_GLR_LAYERS, _GTV_LAYERS = 28, 17
_JOINT_MIXED, _JOINT_LAYERS = 3, 12
# Activations of the convolutions: input, output, and one that oneDNN reorders.
_CONVOLUTION = 3.2
# Images during the first guess.
_FILL = 12
# Allocators keep some of what was freed (glibc: blocks below 32 MB).
_MARGIN = 1.25


def parse_bytes(argument: str, value: int | str) -> int:
    """Read an amount of memory.

    Args:
        argument: Name used in messages.
        value: Bytes, or a string like ``"3GB"``, ``"1.5 GiB"``, ``"800M"``.

    Raises:
        TypeError: If ``value`` is neither an ``int`` nor a string.
        ValueError: If the string cannot be read or the amount is not positive.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(
            f"{argument} must be an int (bytes) or a string such as '3GB', "
            f"got {type(value).__name__} {value!r}"
        )
    amount = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(I?)B?\s*", value.upper())
        if match is None:
            raise ValueError(
                f"{argument} must be bytes or look like '3GB' or '800MB', got {value!r}"
            )
        number, unit, binary = match.groups()
        amount = int(float(number) * (_BINARY if binary else _UNITS)[unit])
    if amount <= 0:
        raise ValueError(f"{argument} must be more than 0 bytes, got {value!r}")
    return amount


def format_bytes(amount: int) -> str:
    """``amount`` for people, rounded up: ``"1.24 GB"``."""
    for unit in ("GB", "MB", "KB"):
        scale = _UNITS[unit[0]]
        if amount >= scale:
            return f"{-(-100 * amount // scale) / 100:g} {unit}"
    return f"{amount} B"


def bytes_per_pixel(block: UnrolledBlock, itemsize: int = 4) -> int:
    r"""Bytes for each pixel of a tile while ``block`` restores it without gradients.

    The largest of three parts, in numbers for each pixel, with :math:`C` channels, :math:`H` heads,
    :math:`F` features, :math:`K` edges (half the window), :math:`A=\max(maps,HF)`, :math:`L`
    layers, and :math:`T` threads that each work on a head or, if there are more threads than heads,
    on a channel of it:

    =======================  ===============================================================
    features                 :math:`3.2A`
    graph                    :math:`HF+5HK`, other norms :math:`HF+8HK`; :math:`HF+14HK` if
                             nothing is compiled
    uGLR, compiled           :math:`HK+HC+2C+T(K+4C)`
    uGTV, compiled           :math:`HK+HC+2C+T(K+4C+\min(L,4)C)`; :math:`3TCK` more for
                             six layers or more
    uGLR+, compiled          :math:`HK+H+KC(C+1)/2+7C`, for :math:`C\le\max(H,3)`
    uGLR, layer by layer     :math:`HK+28HC`
    uGTV, layer by layer     :math:`HK+17HCK`
    uGLR+, layer by layer    :math:`HK+3HC+12C`
    =======================  ===============================================================

    :math:`3C` for the signal, its mask and the result, and a quarter for what allocators keep.
    Pairs of further convolutions add :math:`maps` to the features, which wait for what is added to
    them. A learned mean adds :math:`3C`, a mask that the features see :math:`C`, and blocks that
    hand on their maps twice :math:`maps`. A ``cell`` has its maps once for all of its pixels.

    Args:
        block: Block of a network, on the device where it will run.
        itemsize: Bytes of a number (default: 4).
    """
    c = block.config
    kernels = Grid(1, 1, c.window, device=block.skip.device).kernels
    slots = len(half_offsets(c.window))
    compiled = getattr(kernels, "unrolled", None) is not None
    maps = c.maps / (c.cell or 1) ** 2
    features = _CONVOLUTION * max(maps, c.heads * c.features)
    if c.residual_pairs:
        features += maps
    learning = _GRAPH_SOFTMAX if c.norm == "softmax" else _GRAPH_NORM
    graph = c.heads * (c.features + slots * (learning if compiled else _GRAPH))
    solver = _compiled_solver(c, slots) if compiled and block.fusible else _layers(c, slots)
    images = 3 + 3 * c.mean + c.sees_mask
    numbers = images * c.in_channels + max(features, graph, c.heads * slots + solver)
    if c.carry:
        numbers += 2 * maps
    return math.ceil(_MARGIN * itemsize * numbers)


def _compiled_solver(c: ModelConfig, slots: int) -> int:
    """Results, mask, and the scratch memory of :mod:`gsp_unroll.ops.backends.numba_unrolled`."""
    if c.name == "uglr-plus":
        pairs = c.in_channels * (c.in_channels + 1) // 2
        return pairs * slots + c.heads + 7 * c.in_channels
    threads = torch.get_num_threads()
    channels = 1 if c.heads < threads else c.in_channels
    scratch = slots + 4 * channels
    if c.name == "ugtv":
        # Not at the top: without Numba it cannot be imported, and nothing is compiled.
        from gsp_unroll.ops.backends.numba_unrolled_loops import KEPT, number_kept

        scratch += min(c.layers, KEPT) * channels
        if number_kept(c.layers) > 0:
            scratch += 3 * channels * slots
    busy = min(threads, c.heads * c.in_channels // channels)
    return (c.heads + 2) * c.in_channels + busy * scratch


def _layers(c: ModelConfig, slots: int) -> int:
    """What one layer after another needs."""
    if c.name == "uglr-plus":
        return c.in_channels * (_JOINT_MIXED * c.heads + _JOINT_LAYERS)
    return c.heads * c.in_channels * (_GTV_LAYERS * slots if c.name == "ugtv" else _GLR_LAYERS)


def fill_bytes_per_pixel(channels: int, itemsize: int = 4) -> int:
    """Bytes for each pixel of a tile during the first guess, :func:`gsp_unroll.observe.fill_in`."""
    return math.ceil(_MARGIN * _FILL * channels * itemsize)
