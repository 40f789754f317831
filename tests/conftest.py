"""Settings of the whole test run."""

import os
import random

import pytest
import torch

# Without a CUDA device, Triton's kernels are tested on the CPU. Read when they are first imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# One thread: sums are then always taken in the same order, and small tensors are faster.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    torch.manual_seed(0)
