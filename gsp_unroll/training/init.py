"""Start a network from weights that were trained before."""

from __future__ import annotations

import json
from typing import Any

from gsp_unroll.models import UnrolledNetwork, load_pretrained, pretrained_metadata
from gsp_unroll.models.config import OPTIONS

# Says how gradients are computed, not what is.
_FREE = ("checkpointing",)


def start_from(network: UnrolledNetwork, weights: str) -> list[dict[str, Any]]:
    """Copy ``weights`` into ``network`` and return the runs that these weights have behind them.

    What the network has of :data:`~gsp_unroll.models.config.OPTIONS` beyond the weights is left as
    it is: a new network computes the same with it as without.

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
        for key in ours
        if key not in _FREE and ours[key] != theirs[key] and not (key in OPTIONS and ours[key])
    ]
    if differing:
        raise ValueError(
            f"train.init {weights!r} is of a network of another form ({'; '.join(differing)})"
        )
    network.load_state_dict({**network.state_dict(), **source.state_dict()})
    return json.loads(pretrained_metadata(weights).get("history", "[]"))
