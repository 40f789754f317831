"""Operators on a large general graph: every backend and the plain ways, side by side.

Nearest neighbours of 400 000 random points, 10 million directed edges, nodes and edges in random
order; 4 heads, 3 channels, float32, as `grid_operators`.

    python benchmarks/graph_operators.py
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from grid_operators import OPERATORS, compare
from measure import parser, write_json

from gsp_unroll.graphs import knn_edge_index
from gsp_unroll.topology import BACKENDS, Graph

NEIGHBOURS = 23  # of each point; 25 after symmetrisation


def make_graph(nodes: int) -> Graph:
    """The graph, numbered and listed at random."""
    rng = torch.Generator().manual_seed(0)
    edges = knn_edge_index(torch.rand(nodes, 2, generator=rng), NEIGHBOURS)
    return Graph(edges[:, torch.randperm(edges.shape[1], generator=rng)], nodes)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "graph_operators")
    options.add_argument("--nodes", type=int, default=400_000)
    options.add_argument("--operators", nargs="+", default=OPERATORS, help="default: all")
    options.add_argument("--backends", nargs="+", default=BACKENDS, help="default: all")
    args = options.parse_args(argv)
    began = time.perf_counter()
    graph = make_graph(1000 if args.quick else args.nodes)
    size = {"nodes": graph.num_nodes, "directed_edges": graph.edge_index.shape[1]}
    size["make_graph_seconds"] = time.perf_counter() - began
    result = compare(graph, args.operators, args)
    write_json(args.out, {"graph": size, **result})
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
