"""Learn graphs from signals: by optimisation, by its unrolling, and by a network (L2G).

    python examples/learn_topology.py                                      # about two minutes
    python examples/learn_topology.py --config configs/l2g_ba20.yaml       # the published recipe
    python examples/learn_topology.py --config configs/l2g_ba20.yaml --resume
    python examples/learn_topology.py --set graphs.relabel=true train.epochs=60

The graphs are random ones, the signals on them smooth; each method sees only the distances of the
signals between nodes. Networks are kept in the run folder as safetensors.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from gsp_unroll.graph_learning import (
    L2GConfig,
    UnrolledPDS,
    edge_auc,
    edge_average_precision,
    estimate_topologies,
    fit_topologies,
    gmse,
    safe_step,
    save_topology_network,
    solve_pds,
    tune_pds,
)
from gsp_unroll.plotting.learned_graphs import learned_graphs_report
from gsp_unroll.training import ConfigError, load_config_as, one_line_errors


def main() -> int:
    args = parse_args()
    config = args.config
    graphs, layers = config.graphs, config.model.layers
    with one_line_errors():
        train, validation, test = (graphs.draw(part) for part in ("train", "validation", "test"))

    # What needs no training, with the alpha and beta that suit such graphs.
    tuned = tune_pds(validation.z[: args.tune], validation.weight[: args.tune])
    scalars = {"alpha": tuned.alpha, "beta": tuned.beta}
    solved = solve_pds(test.z, **scalars)
    print(f"PDS: alpha {tuned.alpha:.3g}, beta {tuned.beta:.3g}; on test graphs {solved.message()}")
    step = safe_step(graphs.nodes, tuned.beta)
    started = UnrolledPDS(layers, shared=True, step=step, **scalars)

    torch.manual_seed(config.train.seed)
    networks = {
        "unrolled": UnrolledPDS(layers),
        "L2G": config.model.build(graphs.nodes),
        "L2G-residual": config.model.build(graphs.nodes, residual=True),
    }
    files = []
    args.out.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        print(f"training {name}: {sum(p.numel() for p in network.parameters())} parameters")
        with logging_redirect_tqdm():
            state = args.out / f"{name.lower()}.state.pt"
            if not args.resume:
                state.unlink(missing_ok=True)
            fit_topologies(network, train, validation, config.train, state=state)
        files.append(save_topology_network(network, args.out / f"{name.lower()}.safetensors"))

    passed = {f"PDS, {layers} iterations": estimate_topologies(started, test.z)}
    passed["PDS, converged"] = solved.value.unsqueeze(0)
    passed |= {name: estimate_topologies(network, test.z) for name, network in networks.items()}
    print(f"\n{graphs.test} test graphs ({graphs.kind}) of {graphs.nodes} nodes, mean ± deviation")
    print(f"{'':20s} {'GMSE':>17s} {'AUC':>7s} {'APS':>7s}")
    for name, weights in passed.items():
        print(f"{name:20s} {row(weights[-1], test.weight)}")
    picture = learned_graphs_report(
        args.out / "graphs.png",
        test.weight[0],
        {name: weights[-1, 0] for name, weights in passed.items()},
        {name: gmse(weights, test.weight).mean(1) for name, weights in passed.items()},
    )
    for path in [*files, picture]:
        print(f"wrote {path}")
    return 0


def row(weight: Tensor, truth: Tensor) -> str:
    error = gmse(weight, truth)
    auc, precision = edge_auc(weight, truth).mean(), edge_average_precision(weight, truth).mean()
    return f"{error.mean():8.4f} ± {error.std():.4f} {auc:7.3f} {precision:7.3f}"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/l2g_ba20_small.yaml", help="(%(default)s)")
    parser.add_argument("--out", type=Path, help="run folder (runs/NAME of the configuration)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--tune", type=int, default=64, help="graphs that PDS is tuned on")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override single values of the configuration",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.tune < 1:
        parser.error(f"--tune must be at least 1, got {args.tune}")
    args.out = args.out or Path("runs") / Path(args.config).stem
    try:
        args.config = load_config_as(L2GConfig, args.config, args.set)
    except ConfigError as error:
        parser.error(str(error))
    return args


if __name__ == "__main__":
    sys.exit(main())
