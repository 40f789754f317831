"""Whole images: time of a Kodak-size image beside other methods, memory of 24 megapixels.

``python benchmarks/whole_image.py`` measures three things with uGTV of the published size (GRBG,
which demosaicnet needs; random weights unless ``--weights`` names a file, times are the same):

* ``time``: one image of 512 x 768 by uGTV, Menon 2007 (colour-demosaicing) and demosaicnet;
* ``memory``: ``restore(mosaic, model, max_memory=...)`` of 4000 x 6000 pixels in a process of its
  own, peak memory as ``/usr/bin/time -v`` reports it;
* ``halo``: how the result changes with a halo smaller than the reach of a block.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from measure import measure_all, parser, peak_memory, print_table, write_json
from torch import Tensor

from gsp_unroll.data.images import builtin_images, find_images, read_image
from gsp_unroll.evaluation import MethodError, psnr, resolve_method
from gsp_unroll.inference import bytes_per_pixel, restore
from gsp_unroll.models import UGTV, UnrolledNetwork, load_pretrained
from gsp_unroll.observe import CFA, Task

PATTERN = CFA("GRBG")
KODAK, LARGE = (512, 768), (4000, 6000)
PARTS = ("time", "memory", "halo")


def network(weights: Path | None) -> UnrolledNetwork:
    """The published uGTV, random or trained."""
    torch.manual_seed(0)
    return UGTV().eval() if weights is None else load_pretrained(weights)


def photograph(folder: Path | None, size: tuple[int, int]) -> Tensor:
    """The first image of a folder or of scikit-image, brought to a size."""
    image = read_image(find_images(folder)[0]) if folder else builtin_images("test")["coffee"]
    resize = torch.nn.functional.interpolate
    return resize(image[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def compare_times(model: UnrolledNetwork, image: Tensor, quick: bool) -> list[dict[str, Any]]:
    """Seconds and PSNR of each method on one image, in turns."""
    mask = PATTERN.mask(*image.shape[1:])
    y = torch.where(mask, image, 0)
    task = Task("demosaic", PATTERN)
    methods = {"uGTV": lambda: restore(y, model, PATTERN, max_memory="8GB")}
    for name in ("menon", "malvar", "demosaicnet"):
        try:
            method = resolve_method(name, task)
        except MethodError as error:
            print(f"{name} left out: {error}")
            continue
        methods[name] = torch.inference_mode()(lambda method=method: method.restore(y, mask))
    rows = []
    times = measure_all(
        methods, warmup=1, repeats=3 if quick else 7, min_seconds=0, max_seconds=120
    )
    for name, timing in times.items():
        score = psnr(methods[name]()[None].double(), image[None].double())
        rows.append({"method": name, "seconds": timing, "psnr": float(score)})
    return rows


def worker(text: str) -> None:
    """The process whose memory is measured: make a mosaic and restore it, or only make it."""
    task = json.loads(text)
    torch.set_num_threads(task["threads"])
    model = network(task["weights"] and Path(task["weights"]))
    rows, columns = task["size"]
    mosaic = torch.empty(rows, columns).uniform_(generator=torch.Generator().manual_seed(0))
    if task["idle"]:
        return
    start = time.perf_counter()
    out = restore(mosaic, model, PATTERN, max_memory=task["max_memory"], progress=True)
    seconds = time.perf_counter() - start
    # Sample by sample, so that the check needs no memory to speak of.
    rowwise = (out[:, r : r + 1] for r in range(rows))
    exact = all(
        torch.equal(torch.where(PATTERN.mask(1, columns, top=r), row, 0).sum(0), mosaic[r : r + 1])
        for r, row in enumerate(rowwise)
    )
    print(json.dumps({"seconds": seconds, "exact_samples": exact}))


def measure_memory(args: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Peak memory of one restoration in a process of its own, and of the process without it."""
    task = {
        "size": size,
        "max_memory": args.max_memory,
        "threads": args.threads,
        "weights": args.weights and str(args.weights),
    }

    def command(idle: bool) -> list[str]:
        return [sys.executable, __file__, "--worker", json.dumps({**task, "idle": idle})]

    memory = peak_memory(command(idle=False), command(idle=True))
    return {
        **task,
        **json.loads(memory.output),
        "peak": memory.peak,
        "idle": memory.idle,
        "bytes_per_pixel": bytes_per_pixel(network(args.weights).blocks[-1]),
    }


def halo_errors(model: UnrolledNetwork, image: Tensor, quick: bool) -> list[dict[str, float]]:
    """Change of the result against one piece where four tiles meet, by their halo."""
    side = 128 if quick else 256
    image = image[:, :side, :side]
    whole = restore(image, model, PATTERN, max_memory="100GB")
    # Blocks that hand on their maps run together on a tile.
    together = model.blocks if model.config.carry else model.blocks[-1:]
    reach = sum(block.reach for block in together)
    rows = []
    for halo in sorted({h for h in (4, 8, 16, 24, 32, 48, 64) if h < reach} | {reach}):
        tile = max(side // 2 - halo, 1)
        change = (restore(image, model, PATTERN, tile=tile, halo=halo) - whole).abs()
        rows.append({"halo": halo, "largest": float(change.max()), "mean": float(change.mean())})
    return rows


def main() -> None:
    options = parser(__doc__, "whole_image")
    options.add_argument("--worker", help="used by the script itself")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--data", type=Path, help="folder of images (default: scikit-image)")
    options.add_argument("--weights", type=Path, help="trained network (default: random)")
    options.add_argument("--size", type=int, nargs=2, help="of the large image (4000 6000)")
    options.add_argument("--max-memory", default="2GB", help="of the large image")
    args = options.parse_args()
    # colour-demosaicing warns at import about optional packages.
    warnings.simplefilter("ignore")
    if args.worker:
        return worker(args.worker)
    torch.set_num_threads(args.threads)
    model = network(args.weights)
    results: dict[str, Any] = {}
    if "time" in args.parts:
        image = photograph(args.data, (128, 192) if args.quick else KODAK)
        results["time"] = {"size": list(image.shape[1:])}
        results["time"]["methods"] = rows = compare_times(model, image, args.quick)
        print_table(
            ["method", "time", "PSNR"],
            [[row["method"], row["seconds"], f"{row['psnr']:.2f}"] for row in rows],
        )
    if "memory" in args.parts:
        size = tuple(args.size or ((300, 450) if args.quick else LARGE))
        results["memory"] = row = measure_memory(args, size)
        print(
            f"{size[0]} x {size[1]} in {row['seconds']:.1f} s, peak {row['peak'] / 1e9:.2f} GB, "
            f"{row['idle'] / 1e9:.2f} GB of it before; samples exact: {row['exact_samples']}"
        )
    if "halo" in args.parts:
        results["halo"] = halo_errors(model, photograph(args.data, KODAK), args.quick)
        print_table(
            ["halo", "largest change", "mean change"],
            [[r["halo"], f"{r['largest']:.1e}", f"{r['mean']:.1e}"] for r in results["halo"]],
        )
    print(f"wrote {write_json(args.out, results)}")
    return None


if __name__ == "__main__":
    main()
