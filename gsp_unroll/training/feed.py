"""Joint batches by step number: the same patches for one process, many, or many threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor
from torch.utils.data import Dataset


def step_indices(step: int, batch: int, rank: int = 0, world: int = 1) -> range:
    """Return which patches process ``rank`` of ``world`` takes at ``step``.

    Step ``t`` uses patches ``[t batch, (t + 1) batch)``; the processes cut them into equal slices,
    so that together they see exactly what one process would.

    Raises:
        ValueError: ``batch`` is not a multiple of ``world``.
    """
    if batch % world:
        raise ValueError(
            f"train.batch is the joint batch and must be a multiple of the number of processes "
            f"{world}, got {batch}"
        )
    share = batch // world
    first = step * batch + rank * share
    return range(first, first + share)


def batches(
    dataset: Dataset[dict[str, Tensor]],
    batch: int,
    first_step: int,
    last_step: int,
    *,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Yield the batch of every step in ``[first_step, last_step)``, prepared ahead by threads.

    Threads, since decoding releases the interpreter lock and all of them can share one cache of
    decoded images. An exception of a worker is raised where its batch is asked for.

    Args:
        dataset: A pure function of the index, see `gsp_unroll.data.PatchDataset`.
        batch: Joint batch size.
        first_step: Step to start at (not 0 when a run is resumed).
        last_step: Step to stop before.
        rank: This process.
        world: Number of processes.
        workers: Threads; 0 prepares each batch when it is asked for.
    """

    def load(step: int) -> dict[str, Tensor]:
        items = [dataset[index] for index in step_indices(step, batch, rank, world)]
        return {key: torch.stack([item[key] for item in items]) for key in items[0]}

    if not workers:
        for step in range(first_step, last_step):
            yield load(step)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="patches")
    try:
        ahead: deque[Future[dict[str, Tensor]]] = deque()
        for step in range(first_step, last_step):
            while len(ahead) <= workers and step + len(ahead) < last_step:
                ahead.append(pool.submit(load, step + len(ahead)))
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
