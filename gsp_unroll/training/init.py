"""Start a network from weights that were trained before."""

from __future__ import annotations

import json
import logging
from typing import Any

import torch
from torch import Tensor, nn

from gsp_unroll.models import UnrolledNetwork, load_pretrained, pretrained_metadata
from gsp_unroll.models.config import EXTRAS, IN_BACKWARD
from gsp_unroll.topology.grid import half_offsets

logger = logging.getLogger(__name__)

# Networks of one form but for what a layer solves.
_ALIKE = {"uglr", "ugtv"}
# Score of offsets that are new in a wider window, whose features were learned without them.
_NEW_OFFSET = -1.0
_SCORES = "graph.offset_score"
_AGAIN = "skips_again"
_CARRY = "features.carry"
_MIXTURE = "features.carry.weight"


def start_from(network: UnrolledNetwork, weights: str) -> list[dict[str, Any]]:
    """Copy ``weights`` into ``network`` and return the runs that these weights have behind them.

    The weights may be of a smaller network, which learns faster: a network of more blocks or layers
    computes the same at first. Further blocks are copies of the last with a ``skip`` of zero,
    further layers have CG steps of length zero (copies would diverge: learned steps fit what the
    steps before them leave). The same holds for what the network has of
    :data:`~gsp_unroll.models.config.OPTIONS` beyond the weights; bounds may be set anew, not left
    out. Of a network of more blocks the last ones are taken, without what the others did and handed
    on. uGLR may start from uGTV and the other way round, without what their layers have learned.
    With more ``repeats`` the last block goes on as a new one does. With ``offset_scores`` the
    window may be wider: new neighbours weigh :math:`e^{-1}` times what their features say. One step
    wider, 7 instead of 5, that changes little at first.

    Args:
        network: Changed in place.
        weights: A path, or a name of :func:`gsp_unroll.models.shipped_weights`.

    Raises:
        ValueError: If there are no such weights, or they are of a network of another form.
    """
    source = load_pretrained(weights)
    ours, theirs = network.config.as_dict(), source.config.as_dict()
    differing = [
        f"{key}: {theirs[key]!r} there, {ours[key]!r} here"
        + (", so that another block than the last would repeat" if key == "blocks" else "")
        for key in ours
        if ours[key] != theirs[key] and not _may_differ(key, ours, theirs)
    ]
    if differing:
        raise ValueError(
            f"weights {weights!r} are of a network of another form ({'; '.join(differing)})"
        )
    left_out = max(theirs["blocks"] - ours["blocks"], 0)
    if left_out:
        logger.warning(
            "of the %d blocks of %r the first %d are left out", theirs["blocks"], weights, left_out
        )
    for k, block in enumerate(network.blocks):
        given = source.blocks[min(k + left_out, theirs["blocks"] - 1)].state_dict()
        if ours["name"] != theirs["name"]:
            given = {key: v for key, v in given.items() if not key.startswith("layers.")}
        else:
            for layer in block.layers[theirs["layers"] :]:
                nn.init.zeros_(layer.cg.alpha)
        if ours["window"] != theirs["window"]:
            given[_SCORES] = _widened(
                given.get(_SCORES), ours["heads"], theirs["window"], ours["window"]
            )
        if block.config.repeats and k == ours["blocks"] - 1:
            known = given.get(_AGAIN, block.skips_again[:0])
            given[_AGAIN] = torch.cat([known, block.skips_again[len(known) :]])
        _fit_carry(block, given)
        block.load_state_dict({**block.state_dict(), **given})
        if k >= theirs["blocks"]:
            nn.init.zeros_(block.skip)
    return json.loads(pretrained_metadata(weights).get("history", "[]"))


def _fit_carry(block: nn.Module, given: dict[str, Tensor]) -> None:
    """Change ``given`` for a first block, which has nothing to see, and for one that mixes."""
    if block.features.carry is None:
        for key in (_CARRY, _MIXTURE):
            given.pop(key, None)
    elif block.config.carry_mix and _CARRY in given:
        mixture = torch.diag(given.pop(_CARRY).flatten())
        given[_MIXTURE] = mixture.reshape(block.features.carry.weight.shape)


def _widened(score: Tensor | None, heads: int, window: int, wider: int) -> Tensor:
    """Scores ``[heads, offsets, 1]`` of a wider window; ``None`` = zeros in the narrow one."""
    known = half_offsets(window)
    # Both are in the order of rows.
    inside = torch.tensor([offset in known for offset in half_offsets(wider)])
    result = torch.full((heads, len(inside), 1), _NEW_OFFSET)
    result[:, inside] = 0 if score is None else score
    return result


def _may_differ(key: str, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    here, there = ours[key], theirs[key]
    if key == "name":
        return {here, there} == _ALIKE
    if key in ("layers", "repeats", "residual_pairs"):
        return here > there
    if key == "blocks":
        # Were there more of them, it would no longer be the last one that repeats.
        return here < there or not theirs["repeats"]
    if key == "window":
        return ours["offset_scores"] and here > there
    return key in IN_BACKWARD or (key in EXTRAS and key != "cell" and bool(here))
