"""Memory for results, ready at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Below this NumPy does not ask for huge pages, and PyTorch aligns better.
_LARGE = 1 << 22


def empty(*shape: int, like: Tensor) -> Tensor:
    """An uninitialised CPU tensor of the dtype of ``like``, float32 or float64.

    The first touch of new memory costs a page fault for every 4 KiB, several times as long as
    computing what is written there. NumPy asks Linux for huge pages, PyTorch does not unless it is
    told to (``THP_MEM_ALLOC_ENABLE=1``).
    """
    size = int(np.prod(shape, dtype=np.int64)) * like.element_size()
    if size < _LARGE:
        return torch.empty(shape, dtype=like.dtype)
    number = np.float32 if like.dtype == torch.float32 else np.float64
    return torch.from_numpy(np.empty(shape, number))
