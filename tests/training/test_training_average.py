"""Gradients of several processes are those of one process with the data of all of them."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers import random_edges
from torch import distributed
from torch_geometric.data import Batch, Data

from gsp_unroll.models import UGLRPlus
from gsp_unroll.signals import collect
from gsp_unroll.topology import Topology
from gsp_unroll.training.average import average_gradients

# Of unequal sizes, so that a mean of the means would be wrong.
SIZES = (9, 23)


def signals() -> list[Data]:
    rng = torch.Generator().manual_seed(0)
    found = []
    for k, nodes in enumerate(SIZES):
        seen = torch.rand(nodes, generator=rng) < 0.5
        seen[0] = True
        x = torch.randn(nodes, generator=rng, dtype=torch.float64)
        found.append(Data(x=x, seen=seen, edge_index=random_edges(nodes, seed=k)))
    return found


def network() -> UGLRPlus:
    torch.manual_seed(1)
    return UGLRPlus(
        1, blocks=2, layers=1, cg_steps=3, heads=2, features=3, maps=6, features_from="gnn",
        mean=True, sees_mask=True,
    ).double()  # fmt: skip


def backward(made: UGLRPlus, data: Data) -> tuple[torch.Tensor, int]:
    """Gradients of the mean squared error on what is not seen; the loss and over how many."""
    (group,) = collect(data)
    seen = data.seen.view(1, 1, -1)
    restored = made(group.signal, seen, Topology.from_data(data))
    loss = (restored - group.signal)[~seen].square().mean()
    loss.backward()
    return loss, int((~seen).sum())


def gradients(made: UGLRPlus) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in made.parameters()])


def one_of_them(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=len(SIZES)
    )
    made = network()
    loss, count = backward(made, signals()[rank])
    joint = average_gradients(made.parameters(), loss, count, distributed.group.WORLD)
    torch.save((joint, gradients(made)), Path(folder) / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def test_the_average_is_the_gradient_of_the_joint_batch(tmp_path):
    torch.multiprocessing.spawn(one_of_them, (str(tmp_path),), nprocs=len(SIZES))
    made = network()
    loss, _ = backward(made, Batch.from_data_list(signals()))
    expected = gradients(made)
    assert float(expected.abs().max()) > 1e-3
    for rank in range(len(SIZES)):
        joint, found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(joint, loss.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_a_process_with_nothing_to_count_changes_nothing(monkeypatch):
    monkeypatch.setattr(distributed, "all_reduce", lambda message, group: None)
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.full((3,), 5.0)
    average_gradients([parameter], torch.tensor(2.0), 0, None)
    assert torch.equal(parameter.grad, torch.zeros(3))
