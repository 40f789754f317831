"""Large results go past the cache: the same bits as small ones, which do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit

from gsp_unroll.ops.backends import numba_grid_loops, numba_stream
from gsp_unroll.topology import Grid

WIDTH, ALIGNED = 352, 64
SYSTEMS = {torch.float32: 8, torch.float64: 4}


def operators(grid, make, dtype):
    """Results on edges, by name, of what is computed for each system on its own."""
    systems, nodes = SYSTEMS[dtype], grid.num_nodes
    score = -torch.rand(systems, grid.num_edges, generator=make, dtype=dtype)
    w = torch.rand(systems, grid.num_edges, generator=make, dtype=dtype)
    x, g = torch.rand(2, systems, 2, nodes, generator=make, dtype=dtype)
    flow = torch.rand(systems, 2, grid.num_edges, generator=make, dtype=dtype)
    kernels = grid.kernels
    return {
        "softmax": (lambda s: kernels.edge_softmax(s, "softmax", False), (score,)),
        "softmax kept": (lambda s: kernels.edge_softmax(s, "softmax", True), (score,)),
        "softmax backward": (
            lambda g, s: kernels.edge_softmax_backward(
                g, "softmax", *kernels.edge_softmax(s, "softmax")
            ),
            (w, score),
        ),
        "difference": (kernels.difference, (w, x)),
        "edge_inner": (kernels.edge_inner, (x, g)),
        "edge_dot": (kernels.edge_dot, (x, flow)),
        "scale_ends": (kernels.scale_ends, (w, x[:, 0])),
        "scaled_gradient": (kernels.scaled_gradient, (w, x[:, 0], x[:, 1], g[:, 0])),
    }


def results(function, *inputs):
    value = function(*inputs)
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("dtype", SYSTEMS)
def test_large_results_have_the_bits_of_small_ones(dtype):
    make = torch.Generator().manual_seed(0)
    grid = Grid(256, WIDTH)
    found = {}
    for name, (function, inputs) in operators(grid, make, dtype).items():
        large = found[name] = results(function, *inputs)
        for value in large:
            size = value.numel() * value.element_size()
            assert size >= numba_stream.LARGE, name
            assert value.data_ptr() % ALIGNED == 0, name
        for k in range(SYSTEMS[dtype]):
            small = results(function, *(v[k : k + 1].clone() for v in inputs))
            assert small[0].numel() * small[0].element_size() < numba_stream.LARGE, name
            for whole, part in zip(large, small, strict=True):
                assert torch.equal(whole[k : k + 1], part), (name, k)
    assert torch.equal(found["softmax"][0], found["softmax kept"][0])


def test_rows_that_do_not_fill_cache_lines():
    make = torch.Generator().manual_seed(1)
    grid = Grid(257, WIDTH + 3)
    for name, (function, inputs) in operators(grid, make, torch.float32).items():
        large = results(function, *inputs)
        small = results(function, *(v[-1:].clone() for v in inputs))
        for whole, part in zip(large, small, strict=True):
            assert torch.equal(whole[-1:], part), name


def test_memory_that_does_not_begin_at_a_cache_line():
    rng = np.random.default_rng(0)
    systems, height = 8, 256
    offsets = np.array(Grid(height, WIDTH).offsets)
    w = rng.random((systems, len(offsets), height, WIDTH), np.float32)
    s = rng.random((systems, height, WIDTH), np.float32)
    size = systems * len(offsets) * height * WIDTH
    memory = np.full(size + 32, np.nan, np.float32)
    start = -memory.ctypes.data % ALIGNED // 4
    results = []
    for shift in (0, 5):
        out = memory[start + shift :][:size].reshape(systems, len(offsets), height, WIDTH)
        assert out.nbytes >= numba_stream.LARGE
        numba_grid_loops.scale_ends(offsets, w, s, out, 0, systems * height)
        results.append(out.copy())
        assert np.isnan(memory[: start + shift]).all()
        memory[:] = np.nan
    assert np.array_equal(*results)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stream_with_and_without_a_compiler(dtype):
    @njit
    def compiled(y, i, x):
        numba_stream.stream(y, i, x)

    count = 2 * ALIGNED // np.dtype(dtype).itemsize
    x = np.arange(1, count + 1).astype(dtype)
    for function in (compiled, numba_stream.stream):
        memory = np.zeros(5 * count, dtype)
        start = -memory.ctypes.data % ALIGNED // memory.itemsize
        function(memory, start + count, x)
        assert np.array_equal(memory[start + count :][:count], x)
        assert np.count_nonzero(memory) == count
