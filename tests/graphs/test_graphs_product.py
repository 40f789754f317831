"""Sequences as signals in space and time, against Kronecker products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import both_ways, dense_laplacian, random_edges, ring
from torch_geometric.data import Batch, Data

from gsp_unroll import Graph, GraphSignalModel, interpolate
from gsp_unroll.graphs import (
    data_to_sequence,
    image_to_data,
    sequence_to_data,
    space_time_edge_index,
)
from gsp_unroll.models import ModelConfig
from gsp_unroll.ops import planar
from gsp_unroll.topology import Topology

NAN = float("nan")
T, N = 5, 7


def symmetric(edges, seed):
    """The same random weight for both directions, by value of the pair."""
    table = torch.rand(N, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (0.1 + table + table.T)[edges[0], edges[1]]


def walk(changing=False, channels=2):
    """A sequence with all that a step may hold."""
    rng = torch.Generator().manual_seed(0)
    steps = []
    for t in range(T):
        seed = t if changing else 0
        edges = random_edges(N, seed=seed, extra=3 + seed)
        steps.append(
            Data(
                x=torch.randn(N, channels, generator=rng, dtype=torch.float64),
                mask=torch.rand(N, channels, generator=rng) < 0.5,
                attributes=torch.randn(N, 3, generator=rng, dtype=torch.float64),
                edge_index=edges,
                edge_weight=symmetric(edges, seed),
                place="here",
            )
        )
    return steps


def laplacian(edges, weight, nodes):
    adjacency = np.zeros((nodes, nodes))
    adjacency[edges[1].numpy(), edges[0].numpy()] = weight.numpy()
    return np.diag(adjacency.sum(1)) - adjacency


def path_laplacian(steps, lag):
    adjacency = np.eye(steps, k=lag) + np.eye(steps, k=-lag)
    return np.diag(adjacency.sum(1)) - adjacency


def expected_laplacian(sequence, *time_weights):
    spatial = np.zeros((T * N, T * N))
    for t, data in enumerate(sequence):
        here = slice(t * N, (t + 1) * N)
        spatial[here, here] = laplacian(data.edge_index, data.edge_weight, N)
    temporal = sum(
        weight * np.kron(path_laplacian(T, lag), np.eye(N))
        for lag, weight in enumerate(time_weights, start=1)
    )
    return spatial + temporal


@pytest.mark.parametrize("weight", [0.3, 20.0])
def test_the_laplacian_is_the_kronecker_sum(weight):
    sequence = walk()
    first = sequence[0]
    found = sequence_to_data([first] * T, weight)
    expected = np.kron(np.eye(T), laplacian(first.edge_index, first.edge_weight, N))
    expected += weight * np.kron(path_laplacian(T, 1), np.eye(N))
    np.testing.assert_allclose(laplacian(found.edge_index, found.edge_weight, T * N), expected)


@pytest.mark.parametrize("weights", [(0.7,), (0.7, 0.2), (0.7, 0.2, 0.1, 0.05)])
def test_changing_graphs_stand_on_the_diagonal_and_reach_adds_longer_steps(weights):
    sequence = walk(changing=True)
    found = sequence_to_data(sequence, weights)
    np.testing.assert_allclose(
        laplacian(found.edge_index, found.edge_weight, T * N),
        expected_laplacian(sequence, *weights),
    )


def test_the_operator_is_that_laplacian_positive_semidefinite_with_constants_in_its_kernel():
    sequence = walk(changing=True)
    data = sequence_to_data(sequence, 0.4)
    topology = Topology.from_data(data)
    assert isinstance(topology, Graph)
    weight = topology.pack_edges(data.edge_weight.unsqueeze(1)).mean(-2).squeeze(0)
    dense = dense_laplacian(topology, weight)
    np.testing.assert_allclose(dense, expected_laplacian(sequence, 0.4), atol=1e-12)
    x = torch.randn(1, T * N, dtype=torch.float64)
    torch.testing.assert_close(planar.laplacian(topology, weight, x), x @ dense)
    eigenvalues = torch.linalg.eigvalsh(dense)
    assert abs(float(eigenvalues[0])) < 1e-12 < float(eigenvalues[1])


def test_eigenvalues_are_sums_of_those_in_space_and_in_time():
    data = sequence_to_data([walk()[0]] * T, 0.4)
    first = walk()[0]
    in_space = np.linalg.eigvalsh(laplacian(first.edge_index, first.edge_weight, N))
    in_time = 2 - 2 * np.cos(np.pi * np.arange(T) / T)
    expected = np.sort(np.add.outer(in_space, 0.4 * in_time), axis=None)
    found = np.linalg.eigvalsh(laplacian(data.edge_index, data.edge_weight, T * N))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_components_are_those_of_the_union_of_the_steps():
    # Two components at every step, but other ones: joined in space and time.
    steps = [both_ways([(0, 1), (2, 3)]), both_ways([(1, 2), (0, 3)])]
    stays = Graph(space_time_edge_index(steps[0], 4, 2)[0], 8)
    changes = Graph(space_time_edge_index(steps, 4, 2)[0], 8)
    assert int(stays.components().max()) == 1
    assert int(changes.components().max()) == 0


def test_lag_counts_the_steps_between_the_ends():
    edges, lag = space_time_edge_index(ring(4), num_nodes=4, steps=3, reach=9)
    assert torch.equal(lag, (edges[0] // 4 - edges[1] // 4).abs())
    assert lag.bincount().tolist() == [3 * 8, 2 * 8, 8]
    assert torch.equal(edges[:, :8], ring(4))
    assert torch.equal(edges[:, 8:16], ring(4) + 4)
    assert torch.equal(edges[0, lag > 0] % 4, edges[1, lag > 0] % 4)


def fields(data):
    return {key: data[key] for key in data.keys()}  # noqa: SIM118


def assert_same(one, other):
    assert fields(one).keys() == fields(other).keys()
    for key, value in fields(one).items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == other[key].dtype
            assert torch.equal(value, other[key]), key
        else:
            assert value == other[key]


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("weights", [0.5, (0.5, 0.1)])
def test_there_and_back_nothing_changes(changing, weights):
    sequence = walk(changing)
    data = sequence_to_data(sequence, weights)
    assert data.steps == T
    back = data_to_sequence(data)
    assert len(back) == T
    for before, after in zip(sequence, back, strict=True):
        assert_same(before, after)


def test_the_order_of_edges_does_not_matter_on_the_way_back():
    sequence = walk(changing=True)
    data = sequence_to_data(sequence)
    order = torch.randperm(data.num_edges, generator=torch.Generator().manual_seed(0))
    data.edge_index, data.edge_weight = data.edge_index[:, order], data.edge_weight[order]
    for before, after in zip(sequence, data_to_sequence(data), strict=True):
        np.testing.assert_array_equal(
            laplacian(before.edge_index, before.edge_weight, N),
            laplacian(after.edge_index, after.edge_weight, N),
        )


def test_a_batch_of_sequences_is_its_sequences():
    short, long = sequence_to_data(walk()[:2]), sequence_to_data(walk())
    batch = Batch.from_data_list([short, long])
    assert Topology.from_data(batch).num_graphs == 2
    for before, after in zip(walk(), data_to_sequence(batch.to_data_list()[1]), strict=True):
        assert torch.equal(before.x, after.x)
    with pytest.raises(ValueError, match=r"one sequence, got 2; use Batch.to_data_list"):
        data_to_sequence(batch)


def test_without_weights_edges_inside_steps_weigh_one():
    sequence = [Data(x=torch.zeros(3), edge_index=ring(3)) for _ in range(2)]
    data = sequence_to_data(sequence, 0.25)
    assert data.edge_weight.tolist() == [1.0] * 12 + [0.25] * 6
    single = sequence_to_data(sequence[:1])
    assert torch.equal(single.edge_index, ring(3))
    assert single.edge_weight.tolist() == [1.0] * 6


@pytest.mark.parametrize("mu", [None, 0.3])
def test_a_sequence_is_interpolated_as_the_dense_systems_say(mu):
    sequence = walk(changing=True)
    found = torch.stack(
        [data.x for data in data_to_sequence(interpolate(sequence_to_data(sequence, 0.6), mu=mu))]
    )
    dense = expected_laplacian(sequence, 0.6)
    seen = torch.cat([data.mask for data in sequence]).numpy()
    x = torch.cat([data.x for data in sequence]).numpy()
    for c in range(2):
        pick = np.eye(T * N)[seen[:, c]]
        if mu is None:
            # Stationarity and constraints together.
            kkt = np.block([[2 * dense, pick.T], [pick, np.zeros((len(pick), len(pick)))]])
            right = np.concatenate([np.zeros(T * N), pick @ x[:, c]])
            expected = np.linalg.solve(kkt, right)[: T * N]
        else:
            expected = np.linalg.solve(pick.T @ pick + mu * dense, pick.T @ pick @ x[:, c])
        np.testing.assert_allclose(found[..., c].flatten(), expected, atol=1e-9)


def hidden(where, total=lambda t, node: 3.0 + t + node):
    """A wave over a ring, with the nodes and steps ``where`` hidden."""
    sequence = []
    for t in range(T):
        x = torch.tensor([total(t, node) for node in range(N)], dtype=torch.float64)
        x[[node for node in range(N) if where(t, node)]] = NAN
        sequence.append(Data(x=x, edge_index=ring(N)))
    return sequence


@pytest.mark.parametrize("prior", ["glr", "gtv"])
def test_a_node_missing_in_all_steps_is_restored(prior):
    sequence = hidden(lambda t, node: node == 2, lambda t, node: 10.0 * t)
    out = interpolate(sequence_to_data(sequence), prior=prior, tolerance=1e-6).x.view(T, N)
    assert bool(out.isfinite().all())
    if prior == "glr":
        # Both neighbours say 10 t; the path through its own steps pulls towards their mean.
        system = 2 * np.eye(T) + path_laplacian(T, 1)
        expected = np.linalg.solve(system, 2 * 10.0 * np.arange(T))
        np.testing.assert_allclose(out[:, 2], expected, atol=1e-4)


def test_a_step_missing_at_all_nodes_is_restored():
    sequence = hidden(lambda t, node: t == 2, lambda t, node: float(t))
    out = interpolate(sequence_to_data(sequence)).x.view(T, N)
    np.testing.assert_allclose(out[2], np.full(N, 2.0), atol=1e-9)
    with pytest.raises(ValueError, match="at least one node"):
        interpolate(sequence[2])


def test_a_component_observed_nowhere_in_space_and_time_is_named():
    sequence = [Data(x=torch.tensor([1.0, 2, NAN, NAN]), edge_index=both_ways([(0, 1), (2, 3)]))]
    data = sequence_to_data(sequence * 3)
    with pytest.raises(ValueError, match=r"component of nodes 2, 3, 6, 7, 10, \.\.\. \(6 nodes\)"):
        interpolate(data)
    sequence.append(sequence[0].clone())
    sequence[1].x = torch.tensor([NAN, NAN, 5.0, NAN])
    out = interpolate(sequence_to_data(sequence)).x.view(2, 4)
    torch.testing.assert_close(out, torch.tensor([[1.0, 2, 5, 5], [4 / 3, 5 / 3, 5, 5]]))


def test_a_film_is_a_sequence_of_images():
    film = torch.rand(3, 1, 4, 5, dtype=torch.float64)
    film[1] = NAN
    data = sequence_to_data([image_to_data(frame, window=3) for frame in film], 2.0)
    assert isinstance(Topology.from_data(data), Graph)
    frames = data_to_sequence(interpolate(data))
    assert (frames[1].height, frames[1].width) == (4, 5)
    assert torch.equal(frames[0].x, image_to_data(film[0]).x)
    assert bool(frames[1].x.isfinite().all())


@pytest.mark.parametrize("name", ["uglr-plus", "ugtv"])
def test_a_model_is_fitted_on_windows_and_restores_another(name):
    network = ModelConfig(
        name, blocks=1, layers=1, cg_steps=3, heads=2, features=3, maps=8, features_from="gnn"
    )

    def window(seed, missing):
        rng = torch.Generator().manual_seed(seed)
        days = []
        for t in range(T):
            x = torch.randn(N, generator=rng)
            x[missing(t)] = NAN
            time = torch.full((N, 1), float(t))
            days.append(Data(x=x, edge_index=ring(N), attributes=time))
        return days

    windows = [sequence_to_data(window(seed, lambda t: [])) for seed in range(4)]
    model = GraphSignalModel(network, trend="linear", steps=3, batch=2, progress=False).fit(windows)
    # A node missing in all steps, and a step missing at all nodes.
    part = window(9, lambda t: slice(None) if t == 1 else [3])
    restored = data_to_sequence(model.predict(sequence_to_data(part)))
    for before, after in zip(part, restored, strict=True):
        seen = ~before.x.isnan()
        assert torch.equal(after.x[seen], before.x[seen])
        assert bool(after.x.isfinite().all())
        assert torch.equal(after.attributes, before.attributes)


def day(**changes):
    data = Data(x=torch.zeros(3), edge_index=ring(3))
    for key, value in changes.items():
        data[key] = value
    return data


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: space_time_edge_index(ring(3), 3, 0), ValueError, "steps must be at least 1"),
        (lambda: space_time_edge_index(ring(3), 0, 2), ValueError, "num_nodes must be at least 1"),
        (lambda: space_time_edge_index(ring(3), 3, 2, reach=0), ValueError, "reach must be at"),
        (lambda: space_time_edge_index(ring(3), 2, 2), ValueError,
         r"edge_index must lie in \[0, num_nodes\) = \[0, 2\), got column 1: \(1, 2\)"),
        (lambda: space_time_edge_index([ring(3), ring(4)], 3, 2), ValueError,
         r"edge_index\[1\] must lie in"),
        (lambda: space_time_edge_index([ring(3)] * 3, 3, 2), ValueError,
         "one tensor or one for each of 2 steps, got 3"),
        (lambda: space_time_edge_index(ring(3).float(), 3, 2), TypeError, "must be an int64"),
        (lambda: space_time_edge_index([[0, 1]], 3, 1), TypeError, r"edge_index\[0\] must be"),
        (lambda: space_time_edge_index(ring(3)[0], 3, 2), ValueError, r"shape \[2, E\]"),
        (lambda: sequence_to_data([]), ValueError, "sequence must hold at least one step"),
        (lambda: sequence_to_data([day(), ring(3)]), TypeError, "got Tensor at 1"),
        (lambda: sequence_to_data([day(), day(x=None)]), ValueError, r"sequence\[1\].x is missing"),
        (lambda: sequence_to_data([day(edge_index=None)]), ValueError, r"\[0\].edge_index is miss"),
        (lambda: sequence_to_data([day(), day(x=torch.zeros(4))]), ValueError,
         r"sequence\[1\].x must be torch.float32 of shape \[3\], as in the first step, got "
         r"torch.float32 of shape \[4\]"),
        (lambda: sequence_to_data([day(), day(x=torch.zeros(3).double())]), ValueError,
         r"got torch.float64"),
        (lambda: sequence_to_data([day(mask=torch.ones(3).bool()), day()]), ValueError,
         r"only one of sequence\[0\] and sequence\[1\] has mask"),
        (lambda: sequence_to_data([day(name="a"), day(name="b")]), ValueError,
         r"sequence\[1\].name must be 'a', as in the first step, got 'b'"),
        (lambda: sequence_to_data([day(wind=torch.ones(2)), day(wind=torch.zeros(2))]), ValueError,
         r"sequence\[1\].wind must be equal in all steps"),
        (lambda: sequence_to_data([day(edge_attr=torch.ones(6, 2))]), ValueError,
         r"sequence\[0\].edge_attr cannot be carried"),
        (lambda: sequence_to_data([Batch.from_data_list([day(), day()])]), ValueError,
         r"sequence\[0\].batch cannot be carried"),
        (lambda: sequence_to_data([sequence_to_data([day()])]), ValueError, "steps cannot be"),
        (lambda: sequence_to_data([day(edge_weight=torch.ones(5))]), ValueError,
         r"sequence\[0\].edge_weight must have shape \[6\]"),
        (lambda: sequence_to_data([day()], 0.0), ValueError, "time_weight must be finite and > 0"),
        (lambda: sequence_to_data([day()], [1.0, -1.0]), ValueError, "time_weight .* got -1.0"),
        (lambda: sequence_to_data([day()], "much"), TypeError, "time_weight must be a number"),
        (lambda: sequence_to_data([day()], ()), ValueError, "time_weight must be a number or"),
        (lambda: data_to_sequence(day()), ValueError, "it has no steps"),
        (lambda: data_to_sequence([day()]), TypeError, "data must be a .*Data, got list"),
        (lambda: data_to_sequence(day(steps=2)), ValueError,
         r"data.x must have a multiple of 2 \(steps\) rows, got 3"),
        (lambda: data_to_sequence(day(steps=0)), ValueError, "data.steps must be at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_steps_of_integers_are_joined_by_real_weights():
    path = torch.tensor([[0, 1], [1, 0]])
    steps = [Data(x=torch.ones(2).long(), edge_index=path) for _ in range(3)]
    weight = sequence_to_data(steps, 0.5).edge_weight
    assert weight.tolist() == [1.0] * 6 + [0.5] * (len(weight) - 6)


def test_steps_on_different_devices_are_refused():
    here = Data(x=torch.zeros(2), edge_index=torch.tensor([[0, 1], [1, 0]]))
    with pytest.raises(ValueError, match=r"one device, got .*sequence\[1\]\.x on meta"):
        sequence_to_data([here, here.clone().to("meta")])
