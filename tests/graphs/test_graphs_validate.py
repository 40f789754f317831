"""Signals and masks at the door."""

import math

import pytest
import torch
from helpers import both_ways, graph_batch

from gsp_unroll.graphs.validate import check_observation, check_observed
from gsp_unroll.observe import CFA
from gsp_unroll.topology import Graph, Grid


def test_the_mask_comes_back_in_the_shape_of_the_signal():
    y, mask = torch.zeros(2, 3, 4), torch.tensor([True, False, True, True])
    assert torch.equal(check_observation(y, mask), mask.expand(2, 3, 4))


def test_unobserved_values_may_be_anything():
    y = torch.tensor([1.0, math.nan, math.inf])
    check_observation(y, torch.tensor([True, False, False]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_observed_value_that_is_not_finite_is_named(bad):
    y = torch.zeros(2, 3)
    y[1, 2] = bad
    with pytest.raises(ValueError, match=rf"y must be finite where observed, got {bad} at index "
                       r"\(1, 2\) \(1 such entries\); set mask to False there"):  # fmt: skip
        check_observation(y, torch.tensor([True, False, True]))


@pytest.mark.parametrize(
    ("y", "mask", "error", "message"),
    [
        (torch.ones(3).long(), torch.ones(3) > 0, TypeError, "y must be a floating-point tensor"),
        (torch.ones(3), torch.ones(3), TypeError, r"mask must be a bool tensor .* torch.float32"),
        (torch.ones(3), [True] * 3, TypeError, "mask must be a torch.Tensor, got list"),
        (torch.ones(3, 4, 4), CFA("RGGB"), TypeError, r"got CFA; give what its method mask\("),
        (torch.ones(3), torch.ones(2) > 0, ValueError, r"broadcasts to y \[3\], got \[2\]"),
        (torch.ones(3), torch.ones(2, 3) > 0, ValueError, r"broadcasts to y \[3\], got \[2, 3\]"),
        (torch.ones(3), torch.ones(3, device="meta") > 0, ValueError,
         "one device, got y on cpu, mask on meta"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(y, mask, error, message):
    with pytest.raises(error, match=message):
        check_observation(y, mask)


def test_a_component_without_a_sample_is_named_with_channel_and_nodes():
    graph = Graph(both_ways([(0, 1), (2, 3), (3, 4)]), 5)
    mask = torch.tensor([[True, False, False, True, False], [True, False, False, False, False]])
    with pytest.raises(
        ValueError, match=r"channel 1 has no sample in the component of nodes 2, 3, 4; observe"
    ):
        check_observed(graph, mask)
    mask[1, 2] = True
    check_observed(graph, mask)
    check_observed(graph, mask.expand(4, 2, 5))


def test_an_isolated_node_needs_its_own_sample():
    graph = Graph(both_ways([(0, 1)]), 3)
    with pytest.raises(ValueError, match=r"channel 0 .* component of nodes 2;"):
        check_observed(graph, torch.tensor([[True, True, False]]))


def test_an_empty_mask_is_refused_and_long_lists_are_cut():
    mask = torch.zeros(1, 2, 12, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"channel 0 .* nodes 0, 1, 2, 3, 4, ... \(12 nodes\)"):
        check_observed(Grid(3, 4, 3), mask)


def test_each_graph_of_a_batch_needs_a_sample():
    graph = graph_batch((4, 3))
    mask = torch.zeros(1, 7, dtype=torch.bool)
    mask[0, 1] = True
    with pytest.raises(ValueError, match="nodes 4, 5, 6;"):
        check_observed(graph, mask)
