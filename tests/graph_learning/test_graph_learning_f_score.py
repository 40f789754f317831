"""F-score against scikit-learn's, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gsp_unroll.graph_learning import f_score

PATH = torch.tensor([[0.0, 2, 0], [2, 0, 1], [0, 1, 0]])


def test_it_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(5):
        found, true = (np.triu(rng.random((9, 9)) * (rng.random((9, 9)) < 0.4), 1) for _ in "ab")
        row, column = np.triu_indices(9, 1)
        seen = found[row, column] > 0.2 * found.max()
        expected = metrics.f1_score(true[row, column] > 0, seen)
        ours = f_score(torch.tensor(found + found.T), torch.tensor(true + true.T), threshold=0.2)
        assert ours == pytest.approx(expected)


def test_one_for_the_truth_and_zero_for_none_of_it():
    assert f_score(5 * PATH, PATH) == 1
    assert f_score(torch.zeros(3, 3), PATH) == 0
    assert f_score(torch.tensor([[0.0, 0, 1], [0, 0, 0], [1, 0, 0]]), PATH) == 0


def test_small_weights_are_no_edges():
    dusty = PATH + 1e-3 * (1 - torch.eye(3)) * (PATH == 0)
    assert f_score(dusty, PATH) == 1
    assert f_score(dusty, PATH, threshold=0.0) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: f_score(torch.ones(2, 2), PATH), r"estimate must have shape \[3, 3\]"),
        (lambda: f_score(PATH, torch.ones(3)), r"truth must have shape \[N, N\]"),
        (
            lambda: f_score(PATH, PATH, threshold=1.0),
            "threshold .* and < 1, got 1.0",
        ),
        (lambda: f_score(PATH, torch.zeros(3, 3)), "truth must have at least one edge"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_matrices_that_are_not_those_of_graphs_are_refused():
    path = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    with pytest.raises(ValueError, match="estimate must be symmetric"):
        f_score(path.tril(), path)
    with pytest.raises(ValueError, match=r"estimate must be finite, got nan at index \(1, 0\)"):
        f_score(torch.where(path.tril() > 0, torch.nan, path), path)
