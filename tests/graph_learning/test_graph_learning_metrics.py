"""Relative error, and ranking of edges, against scikit-learn and by hand."""

from __future__ import annotations

import pytest
import torch

from gsp_unroll.graph_learning import edge_auc, edge_average_precision, gmse


def test_by_hand():
    truth = torch.tensor([[2.0, 1.0, 0.0, 0.0]])
    score = torch.tensor([[3.0, 1.0, 1.0, 0.0]])
    assert gmse(score, truth).tolist() == pytest.approx([2 / 5])
    # Four pairs of an edge and a non-edge, one of them with equal scores.
    assert edge_auc(score, truth).tolist() == [3.5 / 4]
    # Thresholds 3, 1 and 0: precision 1, 2/3, 1/2; recall 1/2, 1, 1.
    assert edge_average_precision(score, truth).tolist() == pytest.approx([0.5 + 0.5 * 2 / 3])
    assert edge_auc(truth, truth).tolist() == [1.0]
    assert edge_average_precision(truth, truth).tolist() == [1.0]
    assert edge_auc(torch.zeros(1, 4), truth).tolist() == [0.5]


def test_as_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = torch.Generator().manual_seed(0)
    truth = (torch.rand(5, 40, generator=rng) < 0.3).float()
    score = torch.round(8 * torch.rand(5, 40, generator=rng) + 2 * truth) / 8
    for k in range(5):
        expected = metrics.roc_auc_score(truth[k], score[k])
        assert float(edge_auc(score, truth)[k]) == pytest.approx(expected, rel=1e-12)
        expected = metrics.average_precision_score(truth[k], score[k])
        assert float(edge_average_precision(score, truth)[k]) == pytest.approx(expected, rel=1e-12)


def test_shapes_must_agree():
    for metric in (edge_auc, edge_average_precision):
        with pytest.raises(ValueError, match=r"truth must have shape \[3\], got \[2\]"):
            metric(torch.rand(3), torch.rand(2))


@pytest.mark.parametrize("score", [edge_auc, edge_average_precision])
def test_scores_that_cannot_be_ranked_are_refused(score):
    truth = torch.tensor([1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r"score must be finite, got nan at index \(0,\)"):
        score(torch.tensor([torch.nan, 0.5, 0.2]), truth)
    with pytest.raises(ValueError, match="score must have at least one pair of nodes"):
        score(torch.ones(0), torch.ones(0))


def test_shapes_of_weights_must_go_together():
    with pytest.raises(ValueError, match=r"goes with estimate \[5, 3\], got \[2, 3\]"):
        gmse(torch.ones(5, 3), torch.ones(2, 3))
    assert gmse(torch.ones(5, 3), torch.ones(3)).tolist() == [0.0] * 5
