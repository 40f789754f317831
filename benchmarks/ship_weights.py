"""Put the best weights of a run into the package under a name, with a model card beside them.

    python benchmarks/ship_weights.py ugtv-demosaic --run runs/ugtv
    python benchmarks/evaluate_all.py --data DIR
    python benchmarks/ship_weights.py ugtv-demosaic

Without ``--run`` only the card is written again, with the figures that docs/results has by then.

A run that began with the weights that ship, and went on with other images, has learned these and
lost some of the rest. ``--share 0.5`` ships the mean of both, which is often better on either than
one of them was (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). Of several
runs that began with the same weights the mean is taken first (Wortsman et al., "Model soups", ICML
2022).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from evaluate_all import SETS
from report import table
from results_page import LABELS, TITLES, by_method, load, source

from gsp_unroll.files import write_atomically
from gsp_unroll.models import (
    ModelConfig,
    UnrolledNetwork,
    build,
    load_pretrained,
    pretrained_metadata,
)
from gsp_unroll.models.config import IN_BACKWARD
from gsp_unroll.models.shipped import FOLDER
from gsp_unroll.training import config_from_mapping, load_config
from gsp_unroll.training.init import start_from
from gsp_unroll.training.schema import flatten, to_mapping

DATA = Path(__file__).parents[1] / "docs" / "training_data.md"
LIMITS = {
    "demosaic": """\
* Trained without noise: a noisy mosaic comes back with its noise, see docs/results.md for how much
  is lost, and for colour filter arrays that were not trained on.
* For the masks of colour filter arrays. With random masks little is gained over bilinear
  interpolation (docs/results.md): train for them.
* Values are sRGB as photographs are stored, in [0, 1]. Linear raw data should get that curve first.
* Trained on {megapixels} of photographs: repetitive fine texture near the sampling limit (fences,
  cloth) can still come out as false colour.
""",
    "interpolate": """\
* For images that were decimated without a filter, every second pixel of every second row: their
  fine detail is aliased, and no method brings it back. Images that were scaled down with a filter
  are another task.
* Values are luma of sRGB in [0, 1], studio range as the paper has it.
* Trained on {megapixels} of photographs, without noise.
""",
}


def card(name: str, model: UnrolledNetwork, metadata: dict[str, str]) -> str:
    """The model card as Markdown."""
    config = model.config
    kind = type(model).__name__
    parameters = sum(p.numel() for p in model.parameters())
    task = metadata["task"]
    sections = [
        f"# {name}",
        f"{kind} with {parameters:,} parameters for {task}. MIT licence. Load it with\n\n"
        f"```python\nfrom gsp_unroll.models import {kind}\n\n"
        f'model = {kind}.from_pretrained("{name}")\n```',
        "## Form\n\n" + table(["", ""], [[k, v] for k, v in config.as_dict().items()]),
        "## Training\n\n" + training(metadata),
        "## Data\n\n" + data(),
        "## Results\n\n" + results(name, config.in_channels),
        "## Limits\n\n" + LIMITS[metadata["task"].split()[0]].format(megapixels="62 megapixels"),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def data() -> str:
    """What the page about the images says, with links that work from where cards are."""
    text = "\n".join(DATA.read_text(encoding="utf-8").splitlines()[2:])
    return re.sub(r"\]\((?=[\w-]+\.md)", "](../../docs/", text)


def training(metadata: dict[str, str]) -> str:
    """What the weights have behind them, run by run."""
    history = json.loads(metadata["history"])
    hours = sum(part["minutes"] for part in history) / 60
    # What was off in all runs says nothing.
    keys = list(dict.fromkeys(key for part in history for key, value in part.items() if value))
    # What a run did not do (None, 0.0) is left out, as what its version did not know.
    rows = [[key, *(part.get(key) or "" for part in history)] for key in keys]
    text = table(["", *(f"run {k + 1}" for k in range(len(history)))], rows)
    chosen = metadata.get("validation")
    share, runs = metadata.get("share"), history[-1].get("side_by_side")
    mean = f" They are the mean of the last {runs} runs, side by side." if runs else ""
    mean += f" What ships is {share} of them and the rest of those before." if share else ""
    return (
        f"{hours:.1f} hours in all; the weights are an exponential average.{mean}\n\n"
        + text
        + (f"\n\nChosen by validation: {chosen}." if chosen else "")
        + f"\n\nThe last run, for `examples/train_*.py --config`:\n\n"
        f"```yaml\n{recipe(metadata['config'])}\n```"
    )


def recipe(text: str) -> str:
    """The configuration of a run without what was off in it and this version does not have."""
    known = flatten(to_mapping(config_from_mapping({})))
    lines, section = [], ""
    for line in text.strip().splitlines():
        key, _, value = line.strip().partition(":")
        if not line.startswith(" "):
            section = key
        elif value and not yaml.safe_load(value) and section in ("model", "demo"):
            name = key if section == "demo" else f"{section}.{key}"
            if name not in known:
                continue
        lines.append(line)
    return "\n".join(lines)


def results(name: str, channels: int) -> str:
    """PSNR on the test sets, beside the others."""
    task = "demosaic" if channels == 3 else "interpolate"
    parts = []
    for images in SETS:
        result = load(f"{task}_{images}")
        found = by_method(result) if result is not None else {}
        if name not in found:
            parts.append(f"{TITLES[images]}: not measured yet.")
            continue
        rows = [
            [LABELS.get(m, m), f"{s['paper']['psnr']:.2f}", f"{s['usual']['psnr']:.2f}"]
            for m, s in found.items()
        ]
        headers = [TITLES[images], "PSNR `paper`", "PSNR `usual`"]
        parts.append(f"{table(headers, rows)}\n\n{source(result)}")
    definition = (
        "`paper`: PSNR of the mean squared error over all images, unclipped, no border cropped. "
        "`usual`: mean of the PSNRs of the images."
    )
    return "\n\n".join([definition, *parts])


def for_use(model: UnrolledNetwork) -> UnrolledNetwork:
    """The same network with gradients computed in the default way, however it was trained."""
    config = dataclasses.replace(model.config, **dict.fromkeys(IN_BACKWARD, False))
    return network(config, model.state_dict())


def begun_with(weights: str, config: ModelConfig, run: Path) -> UnrolledNetwork:
    """The network of ``config`` as ``run`` began it from ``weights``, a name or a path."""
    # What is new in it was drawn at random, and the run has learned around that.
    torch.manual_seed(load_config(run / "config.yaml").train.seed)
    model = build(config)
    start_from(model, weights)
    return model


def of_runs(runs: Sequence[Path]) -> tuple[UnrolledNetwork, dict[str, str]]:
    """The mean of the best weights of runs that began alike, and what it has behind it."""
    paths = [run / "best.safetensors" for run in runs]
    models = [for_use(load_pretrained(path)) for path in paths]
    every = [pretrained_metadata(path) for path in paths]
    metadata = {**every[0], "config": (runs[0] / "config.yaml").read_text(encoding="utf-8")}
    if len(runs) > 1:
        histories = [json.loads(one["history"]) for one in every]
        past = histories[0][:-1]
        if not past or any(history[:-1] != past for history in histories):
            raise ValueError("runs must have begun with the same weights for a mean of them")
        if any(model.config != models[0].config for model in models):
            forms = ", ".join(str(model.config) for model in models)
            raise ValueError(f"runs must have networks of one form for a mean of them, got {forms}")
        last = [{**history[-1], "side_by_side": len(runs)} for history in histories]
        metadata["history"] = json.dumps(past + last)
        metadata.pop("validation", None)  # of the first alone
    return mean(models, [1 / len(models)] * len(models)), metadata


def mean(models: Sequence[UnrolledNetwork], shares: Sequence[float]) -> UnrolledNetwork:
    """A network as the last with so much of the weights of each."""
    states = [model.state_dict() for model in models]
    parts = {
        name: sum(share * state[name] for share, state in zip(shares, states, strict=True))
        for name in states[-1]
    }
    return network(models[-1].config, parts)


def network(config: ModelConfig, weights: Mapping[str, torch.Tensor]) -> UnrolledNetwork:
    """A network with these weights, in evaluation mode."""
    model = build(config).eval()
    model.load_state_dict(weights)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="e.g. ugtv-demosaic")
    parser.add_argument("--run", type=Path, nargs="+", help="folder of a finished run, or several")
    parser.add_argument("--share", type=float, default=1.0, help="of the run (default: all)")
    options = parser.parse_args()
    path = FOLDER / f"{options.name}.safetensors"
    if options.run is not None:
        model, metadata = of_runs(options.run)
        if options.share != 1:
            before = begun_with(str(path), model.config, options.run[0])
            model = mean([before, model], [1 - options.share, options.share])
            metadata["share"] = f"{options.share:g}"
            # Runs that go on from here inherit it.
            history = json.loads(metadata["history"])
            for part in history[-len(options.run) :]:
                part["share"] = options.share
            metadata["history"] = json.dumps(history)
            metadata.pop("validation", None)  # of the run alone
        model.save_pretrained(path, metadata)
        print(f"wrote {path}")
    text = card(options.name, load_pretrained(path), pretrained_metadata(path))
    print(f"wrote {write_atomically(path.with_suffix('.md'), text.encode())}")


if __name__ == "__main__":
    main()
