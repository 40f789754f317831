"""Restoring missing values as a step of a PyG pipeline."""

from __future__ import annotations

from functools import partial
from inspect import signature
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gsp_unroll import checks
from gsp_unroll.graph_signal_model import GraphSignalModel
from gsp_unroll.interpolation import PRIORS, interpolate
from gsp_unroll.models import UnrolledNetwork


class RestoreMissing(BaseTransform):
    r"""Fill in what is missing of ``data.x``, NaN or outside ``data.mask``.

    Args:
        method: ``"glr"`` or ``"gtv"`` (:func:`gsp_unroll.interpolate` with ``data.edge_weight``), a
            fitted :class:`~gsp_unroll.GraphSignalModel`, or a trained network (default: ``"glr"``).
        **options: Keyword arguments of :func:`gsp_unroll.interpolate` (``mu``, ``tolerance``, ...)
            or, with a model, of :meth:`GraphSignalModel.predict() <gsp_unroll.GraphSignalModel>`
            (``pieces``, ``halo``).

    Raises:
        TypeError: If ``method`` is of another kind, or does not have one of ``options``.
        ValueError: If a prior is unknown, or ``mu`` is not positive.

    Examples:
        >>> import torch
        >>> from torch_geometric.transforms import Compose
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> data = Data(x=torch.tensor([[1.0], [float("nan")], [3.0]]), edge_index=path)
        >>> Compose([RestoreMissing()])(data).x.flatten()
        tensor([1., 2., 3.])
    """

    def __init__(
        self, method: str | GraphSignalModel | UnrolledNetwork = "glr", **options: Any
    ) -> None:
        if isinstance(method, str):
            checks.one_of("method", method, PRIORS)
            restore = partial(interpolate, prior=method)
        elif isinstance(method, GraphSignalModel):
            restore = method.predict
        elif isinstance(method, UnrolledNetwork):
            restore = method.restore
        else:
            raise TypeError(
                "method must be a prior, a GraphSignalModel or a network, got "
                f"{type(method).__name__}"
            )
        self._name = method if isinstance(method, str) else type(method).__name__
        allowed = [name for name in signature(restore).parameters if name not in ("data", "prior")]
        for name in options:
            if name not in allowed:
                known = ", ".join(allowed) or "none"
                raise TypeError(f"options of {self._name} are: {known}; got {name}")
        if options.get("mu") is not None:
            checks.in_range("mu", options["mu"], 0, open_low=True)
        self._restore, self._options = restore, options

    def forward(self, data: Data) -> Data:
        """Return a copy of ``data`` with ``x`` restored; everything else is shared with it."""
        # As data of a pipeline, which is stored and sent between processes: no autograd graph.
        with torch.no_grad():
            return self._restore(data, **self._options)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options.items())
        return f"{type(self).__name__}({self._name!r}{options})"
