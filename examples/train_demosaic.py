"""Train a network that restores colour images from the mosaic of a camera sensor, and judge it.

    python examples/train_demosaic.py --config configs/ugtv.yaml --demo --max-minutes 7
    python examples/train_demosaic.py --config configs/ugtv.yaml --data DIV2K/ --test kodak/
    python examples/train_demosaic.py --config configs/ugtv.yaml --data DIV2K/ --resume
    torchrun --nproc-per-node 4 examples/train_demosaic.py --config configs/ugtv.yaml --data DIV2K/

Without --data it trains on photographs that ship with scikit-image and reports on others of them.
The run folder then holds weights, logs, the table as CSV and JSON, and a picture.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import torch

from gsp_unroll.evaluation import (
    classical_names,
    evaluate,
    format_report,
    network_method,
    protocols_from_name,
    resolve_methods,
    write_report,
)
from gsp_unroll.models import load_pretrained
from gsp_unroll.observe import observe
from gsp_unroll.plotting import restoration_report
from gsp_unroll.training import (
    first_readable,
    one_line_errors,
    parse_arguments,
    report_sources,
    run,
)


def main(usage: str, default_config: str) -> None:
    """Train, compare with classical methods, draw: whatever the task of the configuration is."""
    command = parse_arguments(usage, default_config)
    config = command.config
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task = config.task.build()
    # What the report needs is looked at before the training, not after it.
    with one_line_errors():
        sources, data = report_sources(config.data, command.test)
        methods = resolve_methods(classical_names(task), task, device)
        if config.train.init is not None:
            start = load_pretrained(config.train.init, device=device)
            methods = [*methods, network_method(f"{start.config.name}, before", start)]
    result = run(command)
    if not result.is_main:
        return

    model = load_pretrained(result.weights, device=device)
    methods = [*methods, network_method(config.model.name, model)]
    report = evaluate(
        sources,
        task,
        methods,
        protocols_from_name("both"),
        noise_sigma=config.task.noise_sigma,
        device=device,
        progress=True,
        data=data,
    )
    print(f"\n{format_report(report)}\n")
    files = write_report(report, command.out, stem="metrics", command=shlex.join(sys.argv))

    # The picture: one image, and the graph that the network learned where it matters most.
    name, image = first_readable(sources)
    truth = task.prepare(image)
    mask = task.mask(*truth.shape[-2:])
    y = observe(truth, mask, noise_sigma=config.task.noise_sigma)
    restored = methods[-1].restore(y.to(device), mask.to(device)).cpu()
    picture = command.out / f"{Path(name).stem}.png"
    files.append(restoration_report(picture, truth, y, mask, restored, model.cpu()))

    print(f"trained for {result.steps} steps in {result.seconds / 60:.1f} minutes")
    for path in [result.weights, *files]:
        print(f"wrote {path}")


if __name__ == "__main__":
    main(__doc__, "configs/ugtv.yaml")
