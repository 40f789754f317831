"""What a network costs, counted in bytes kept for backward and in operations; never in seconds.

Costs are differences between networks that have one CG step or one layer more, in units of one
signal on all graphs. The plain way, messages kept by autograd, costs 25 signals a step.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from helpers import saved_bytes

from gsp_unroll.models import UGLR, UGTV
from gsp_unroll.topology import Grid

NETWORKS = pytest.mark.parametrize("network", [UGLR, UGTV])
SIDE, HEADS, CHANNELS, WINDOW = 8, 2, 3, 5
SIGNAL = 4 * HEADS * CHANNELS * SIDE**2
EDGES = len(Grid(1, 1, WINDOW).offsets) * SIGNAL


def problem(network, backend, *, layers=2, cg_steps=3, **options):
    """A function to the loss, and the topology that it runs on."""
    torch.manual_seed(0)
    model = network(
        blocks=1,
        layers=layers,
        cg_steps=cg_steps,
        heads=HEADS,
        features=2,
        maps=2,
        window=WINDOW,
        **options,
    ).train()
    grid = Grid(SIDE, SIDE, WINDOW, backend=backend)
    mask = torch.rand(CHANNELS, SIDE**2) < 0.5
    mask[:, 0] = True
    y = torch.rand(1, CHANNELS, SIDE**2)
    return lambda: model(y, mask, grid).square().mean(), grid


def kept(network, backend, **size):
    """Signals kept for backward."""
    return saved_bytes(problem(network, backend, **size)[0]) / SIGNAL


def step_and_layer(count, network, backend, **size):
    """What one more CG step costs, and one more layer of three steps."""
    base = count(network, backend, layers=2, cg_steps=3, **size)
    step = (count(network, backend, layers=2, cg_steps=4, **size) - base) / 2
    return step, count(network, backend, layers=3, cg_steps=3, **size) - base


class Counting:
    """Kernels that count their calls."""

    def __init__(self, kernels, calls):
        self._kernels, self._calls = kernels, calls

    def __getattr__(self, name):
        value = getattr(self._kernels, name)
        if name == "unrolled" and value is not None:
            return Counting(value, self._calls)
        if not callable(value):
            return value

        def counted(*arguments, **options):
            self._calls[name] += 1
            return value(*arguments, **options)

        return counted


def calls(network, backend, **size):
    """Calls of the kernels by name, forward and backward."""
    run, grid = problem(network, backend, **size)
    counter = Counter()
    grid.__dict__["kernels"] = Counting(grid.kernels, counter)
    run().backward()
    return counter


def nodes(network, backend, **size):
    """Nodes of the autograd graph."""
    seen, todo = set(), [problem(network, backend, **size)[0]().grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [parent for parent, _ in node.next_functions]
    return len(seen)


@NETWORKS
def test_a_cg_step_keeps_two_signals_and_a_layer_its_steps_and_edge_variables(network):
    step, layer = step_and_layer(kept, network, "gather_scatter")
    assert step == pytest.approx(2, abs=0.02)
    edge_variables = 0 if network is UGLR else 7 * EDGES / SIGNAL
    assert layer <= 3 * step + edge_variables + 0.1


@NETWORKS
def test_a_checkpointed_layer_keeps_its_arguments(network):
    step, layer = step_and_layer(kept, network, "gather_scatter", checkpointing=True)
    assert step == pytest.approx(0, abs=0.01)
    # The state of ADMM is three edge variables.
    arguments = 1 + (0 if network is UGLR else 3 * EDGES / SIGNAL)
    assert layer == pytest.approx(arguments, abs=0.1)


@NETWORKS
def test_a_cg_step_is_one_product_forward_and_two_backward(network):
    base = calls(network, "gather_scatter", layers=1, cg_steps=3)
    more = calls(network, "gather_scatter", layers=1, cg_steps=4)
    more.subtract(base)
    assert {name: count for name, count in more.items() if count} == {
        "laplacian": 2,
        "edge_inner": 1,
    }


@NETWORKS
def test_a_cg_step_is_few_nodes_of_the_autograd_graph(network):
    step, _ = step_and_layer(nodes, network, "gather_scatter")
    assert 0 < step <= 16


def compiled_solvers():
    """Skip where no compiled solver is installed; then the layers run one by one, as above."""
    if getattr(Grid(SIDE, SIDE, WINDOW).kernels, "unrolled", None) is None:
        pytest.skip("no compiled unrolled solver for grids on this machine")


@NETWORKS
def test_a_compiled_block_keeps_nothing_for_steps_and_layers(network):
    compiled_solvers()
    step, layer = step_and_layer(kept, network, "native")
    # Scalars only.
    assert 0 <= step <= 0.2
    assert 0 <= layer <= 0.5


@NETWORKS
def test_kept_directions_are_one_signal_with_its_borders_for_a_step(network):
    compiled_solvers()
    step, layer = step_and_layer(kept, network, "native", keep_directions=True)
    # Rows two up and two down and two columns, in whole cache lines.
    borders = 2 * 16 * -(-(2 * SIDE + 2) // 16) / SIDE**2
    assert step == pytest.approx(1 + borders, abs=0.2)
    # The signal after a layer is kept, too.
    assert layer == pytest.approx(4 * (1 + borders), abs=0.5)
    # The sixth layer of uGTV keeps its edge variables, in blocks of many pixels.
    five, six = (kept(network, "native", layers=layers, keep_directions=True) for layers in (5, 6))
    block = 3 * 1024 / SIDE**2 * EDGES / SIGNAL
    variables = 0 if network is UGLR else block
    assert six - five == pytest.approx(layer + variables, abs=0.5)


@NETWORKS
def test_a_compiled_block_is_one_call_each_way(network):
    compiled_solvers()
    counted = calls(network, "native", layers=1, cg_steps=3)
    prior = "glr" if network is UGLR else "gtv"
    assert counted[f"{prior}_forward"] == counted[f"{prior}_backward"] == 1
    assert counted["difference"] == counted["divergence"] == 0
    # What is left, the first guess and learning the graph, does not grow with the solver.
    assert calls(network, "native", layers=2, cg_steps=4) == counted
