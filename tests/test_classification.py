"""Class labels of some nodes -> class labels of all."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from helpers import both_ways, random_edges
from torch_geometric.data import Batch, Data

import gsp_unroll
from gsp_unroll.classification import classify
from gsp_unroll.graphs import gaussian_edge_weight, knn_edge_index
from gsp_unroll.solvers import SolverError

K = 3


def clusters(labels: int = 2, seed: int = 0, n: int = 60) -> tuple[Data, torch.Tensor]:
    """Three groups of points that touch, ``labels`` of each labelled, and all classes."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(n) % K
    centre = torch.tensor([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]], dtype=torch.float64)
    pos = centre[truth] + torch.randn(n, 2, generator=generator, dtype=torch.float64)
    edge_index = knn_edge_index(pos, 8)
    y = torch.full((n,), -1)
    y[: K * labels] = truth[: K * labels]
    weight = gaussian_edge_weight(pos, edge_index)
    return Data(y=y, edge_index=edge_index, edge_weight=weight, num_nodes=n), truth


def harmonic(data: Data) -> np.ndarray:
    """Dense solution of the harmonic function on one-hot labels."""
    n = data.num_nodes
    w = np.zeros((n, n))
    w[tuple(data.edge_index.numpy())] = data.edge_weight.numpy()
    laplacian = np.diag(w.sum(1)) - w
    known = data.y.numpy() >= 0
    u = np.zeros((n, K))
    u[known] = np.eye(K)[data.y.numpy()[known]]
    u[~known] = np.linalg.solve(
        laplacian[~known][:, ~known], -laplacian[~known][:, known] @ u[known]
    )
    return u


def test_glr_is_the_harmonic_function():
    data, _ = clusters()
    out = classify(data, class_mass=False)
    expected = harmonic(data)
    np.testing.assert_allclose(out.y_score.numpy(), expected, atol=1e-10)
    assert out.y.tolist() == expected.argmax(1).tolist()


def test_class_mass_by_hand():
    data, _ = clusters()
    data.y[1] = -1  # one label of class 1, two of the others
    u = harmonic(data)
    expected = u * (np.array([3, 2, 3]) / 8 / u.sum(0))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(classify(data).y_score.numpy(), expected, atol=1e-10)


def test_class_mass_helps_where_one_class_takes_all():
    right = {True: 0, False: 0}
    for seed in range(8):
        data, truth = clusters(1, seed)
        for class_mass in right:
            right[class_mass] += int((classify(data, class_mass=class_mass).y == truth).sum())
    assert right[True] > right[False] + 8 * 60 // 50  # two points in a hundred


@pytest.mark.parametrize("prior", ["glr", "gtv"])
@pytest.mark.parametrize("class_mass", [True, False])
def test_labels_stay_rows_sum_to_one_and_the_input_is_untouched(prior, class_mass):
    data, truth = clusters(4)
    before = data.y.clone()
    tolerance = {"glr": 1e-12, "gtv": 1e-2}[prior]
    out = classify(data, prior, class_mass=class_mass, tolerance=tolerance)
    known = before >= 0
    assert torch.equal(out.y[known], before[known])
    assert torch.equal(out.y_score[known], torch.eye(K, dtype=torch.float64)[before[known]])
    torch.testing.assert_close(out.y_score.sum(1), torch.ones(60, dtype=torch.float64))
    assert bool((out.y_score >= 0).all())
    assert torch.equal(out.y, out.y_score.argmax(1))
    assert torch.equal(data.y, before)
    assert "y_score" not in data
    assert "x" not in out
    assert float((out.y == truth).double().mean()) > 0.6


def two_cliques() -> Data:
    """Five nodes all joined, twice, one edge between; two labels in each."""
    cliques = [(i, j) for o in (0, 5) for i in range(o, o + 5) for j in range(i + 1, o + 5)]
    y = torch.full((10,), -1)
    y[[0, 1, 8, 9]] = torch.tensor([0, 0, 1, 1])
    return Data(y=y, edge_index=both_ways([*cliques, (4, 5)]), num_nodes=10)


def test_gtv_cuts_where_the_cut_is_cheapest():
    data = two_cliques()
    out = classify(data, "gtv", class_mass=False)
    assert out.y.tolist() == [0] * 5 + [1] * 5
    torch.testing.assert_close(out.y_score.max(1).values, torch.ones(10), rtol=0, atol=1e-2)


def test_mask_hides_labels():
    data, truth = clusters()
    hidden = copy.copy(data)
    hidden.y, hidden.mask = truth, data.y >= 0
    assert torch.equal(classify(hidden).y_score, classify(data).y_score)


def test_graphs_of_a_batch_do_not_mix():
    parts = [clusters(2, seed)[0] for seed in range(3)]
    together = classify(Batch.from_data_list(parts))
    alone = torch.cat([classify(part).y_score for part in parts])
    torch.testing.assert_close(together.y_score, alone, rtol=0, atol=1e-10)


def test_noisy_labels_may_change():
    data = two_cliques()
    data.y[2] = 1
    assert int(classify(data).y[2]) == 1
    assert classify(data, mu=1.0).y.tolist() == [0] * 5 + [1] * 5


def test_a_class_without_a_label_gets_nothing():
    data, _ = clusters()
    out = classify(data, num_classes=5)
    assert out.y_score.shape == (60, 5)
    assert not out.y_score[:, 3:].any()
    assert bool(out.y_score.isfinite().all())


def test_without_weights_scores_are_single():
    edges = random_edges(12)
    y = torch.full((12,), -1)
    y[[0, 5]] = torch.tensor([0, 1])
    assert classify(Data(y=y, edge_index=edges)).y_score.dtype == torch.float32


def test_a_solver_that_stops_early_can_raise():
    data, _ = clusters()
    with pytest.raises(SolverError, match="max_iterations"):
        classify(data, max_iterations=1, on_failure="raise")
    with pytest.warns(gsp_unroll.NotConvergedWarning):
        classify(data, max_iterations=1)


def changed(**attributes: object) -> Data:
    data = clusters()[0]
    for name, value in attributes.items():
        data[name] = value
    return data


NONE = torch.full((60,), -1)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (torch.zeros(3), {}, TypeError, "data must be a torch_geometric.data.Data, got Tensor"),
        (changed(y=None), {}, ValueError, "data.y is missing"),
        (changed(y=NONE.float()), {}, TypeError, "data.y must be int64, got torch.float32"),
        (changed(y=NONE[:, None]), {}, ValueError, r"data.y must have shape \[60\], got \[60, 1\]"),
        (changed(y=NONE), {}, ValueError, "at least one known label, got none"),
        (changed(mask=torch.ones(60)), {}, TypeError, "data.mask must be a bool tensor"),
        (changed(mask=torch.ones(59).bool()), {}, ValueError, r"shape \[60\], got \[59\]"),
        (changed(mask=NONE == -1), {}, ValueError, "between 0 and 2 where known, got -1"),
        (changed(), {"num_classes": 2}, ValueError, "between 0 and 1 where known, got 2"),
        (changed(), {"num_classes": 2.0}, TypeError, "num_classes must be an int"),
        (changed(), {"prior": "gvt"}, ValueError, "did you mean 'gtv'"),
        (changed(edge_index=both_ways([(0, 1)]), edge_weight=None), {}, ValueError,
         "has no sample in the component"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(data, options, error, message):
    with pytest.raises(error, match=message):
        classify(data, **options)


def test_half_precision_weights_and_a_wrong_number_of_labels():
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    label = torch.tensor([0, -1, 1])
    out = classify(Data(y=label, edge_index=edges, edge_weight=torch.ones(4).half()))
    assert out.y_score.dtype == torch.float32
    with pytest.raises(ValueError, match=r"data\.y must have shape \[4\], got \[3\]"):
        classify(Data(y=label, edge_index=edges, num_nodes=4))
    with pytest.raises(ValueError, match="prior must be one of 'glr', 'gtv'"):
        classify(Data(y=label, edge_index=edges), prior=["glr"])
