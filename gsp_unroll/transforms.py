"""Restoring missing values as a step of a PyG pipeline."""

from __future__ import annotations

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
        mu: With ``"glr"`` and ``"gtv"``: the samples are noisy, see :func:`gsp_unroll.interpolate`
            (default: they are kept).

    Raises:
        TypeError: If ``method`` is of another kind.
        ValueError: If a prior is unknown, or ``mu`` is not positive or given to a learned method.

    Examples:
        >>> import torch
        >>> from torch_geometric.transforms import Compose
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> data = Data(x=torch.tensor([[1.0], [float("nan")], [3.0]]), edge_index=path)
        >>> Compose([RestoreMissing()])(data).x.flatten()
        tensor([1., 2., 3.])
    """

    def __init__(
        self, method: str | GraphSignalModel | UnrolledNetwork = "glr", *, mu: float | None = None
    ) -> None:
        if isinstance(method, str):
            checks.one_of("method", method, PRIORS)
        elif not isinstance(method, GraphSignalModel | UnrolledNetwork):
            raise TypeError(
                "method must be a prior, a GraphSignalModel or a network, got "
                f"{type(method).__name__}"
            )
        elif mu is not None:
            raise ValueError(f"mu must be None for a learned method, got {mu}")
        self.method = method
        self.mu = None if mu is None else checks.in_range("mu", mu, 0, open_low=True)

    def forward(self, data: Data) -> Data:
        """Return a copy of ``data`` with ``x`` restored; everything else is shared with it."""
        if isinstance(self.method, str):
            return interpolate(data, self.method, mu=self.mu)
        if isinstance(self.method, GraphSignalModel):
            return self.method.predict(data)
        # As data of a pipeline, which is stored and sent between processes: no autograd graph.
        with torch.no_grad():
            return self.method.restore(data)

    def __repr__(self) -> str:
        method = self.method if isinstance(self.method, str) else type(self.method).__name__
        return f"{type(self).__name__}({method!r})"
