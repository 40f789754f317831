"""The judge: images in, methods side by side, one row per image and method out."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from gsp_unroll import checks
from gsp_unroll.data.images import builtin_images, find_images, read_image
from gsp_unroll.evaluation.methods import Method
from gsp_unroll.evaluation.peak import peak_memory
from gsp_unroll.evaluation.protocols import ImageScore, Protocol
from gsp_unroll.observe import Task, observe
from gsp_unroll.observe.noise import check_sigma

# Side of the corner of an image that a method sees before it is timed.
_WARM_UP = 48


class EvaluationError(ValueError):
    """No image could be evaluated."""


@dataclass(frozen=True)
class Source:
    """An image by name; ``load()`` gives RGB ``[3, H, W]`` in [0, 1] when it is needed."""

    name: str
    load: Callable[[], Tensor]


@dataclass(frozen=True)
class Row:
    """One image restored by one method: seconds, bytes at the peak, and a score per protocol."""

    image: str
    height: int
    width: int
    method: str
    seconds: float
    peak_bytes: int
    scores: Mapping[str, ImageScore]


@dataclass(frozen=True)
class Skipped:
    """An image that is in no row, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """One method over all images under one protocol; memory is that of the worst image."""

    method: str
    parameters: int
    protocol: str
    psnr: float
    ssim: float
    images: int
    seconds_per_megapixel: float
    megabytes_per_megapixel: float


@dataclass(frozen=True)
class Report:
    """All that an evaluation measured.

    ``rows`` holds the same images for every method, so the summaries are comparable.
    """

    task: Task
    protocols: Sequence[Protocol]
    methods: Sequence[Method]
    rows: Sequence[Row]
    skipped: Sequence[Skipped]
    noise_sigma: float = 0.0
    seed: int = 0
    device: str = "cpu"
    data: str = ""

    @property
    def images(self) -> int:
        """Number of images evaluated."""
        return len({row.image for row in self.rows})

    @property
    def megapixels(self) -> float:
        """Pixels of all images evaluated, in millions."""
        return sum({r.image: r.height * r.width for r in self.rows}.values()) / 1e6

    def summaries(self) -> list[Summary]:
        """Average over the images: one entry per method and protocol, in their order."""
        result = []
        for method in self.methods:
            rows = [row for row in self.rows if row.method == method.name]
            pace = sum(row.seconds for row in rows) / self.megapixels
            memory = max(row.peak_bytes / (row.height * row.width) for row in rows)
            for protocol in self.protocols:
                psnr, ssim = protocol.average([row.scores[protocol.name] for row in rows])
                result.append(
                    Summary(
                        method=method.name,
                        parameters=method.parameters,
                        protocol=protocol.name,
                        psnr=psnr,
                        ssim=ssim,
                        images=len(rows),
                        seconds_per_megapixel=pace,
                        megabytes_per_megapixel=memory,
                    )
                )
        return result


def folder_sources(folder: str | Path, limit: int | None = None) -> list[Source]:
    """List the images of a folder, named by their path inside it; read later, one at a time.

    Raises:
        ImageError: If the folder does not exist or holds no image file.
    """
    folder = Path(folder)
    return path_sources(find_images(folder)[: _checked_limit(limit)], folder)


def path_sources(paths: Sequence[Path], folder: Path) -> list[Source]:
    """List image files, named by their path inside ``folder``; read later, one at a time."""
    return [Source(p.relative_to(folder).as_posix(), lambda p=p: read_image(p)) for p in paths]


def builtin_sources(split: str = "test", limit: int | None = None) -> list[Source]:
    """List the photographs that ship with scikit-image (``data.builtin_images``)."""
    images = list(builtin_images(split).items())[: _checked_limit(limit)]
    return [Source(name, lambda image=image: image) for name, image in images]


def evaluate(
    sources: Iterable[Source],
    task: Task,
    methods: Sequence[Method],
    protocols: Sequence[Protocol],
    *,
    noise_sigma: float = 0.0,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = False,
    data: str = "",
) -> Report:
    """Restore every image with every method and score it.

    All methods see the same observation. Noise and random masks depend on ``seed`` and the image's
    name only, so a subset of the images gives the same rows. An image that cannot be read, or that
    one of the methods cannot restore, is left out for all of them and listed in
    ``Report.skipped``.

    Args:
        sources: Images to restore, each with a name of its own.
        task: What is restored from what.
        methods: Distinct names; see ``resolve_methods``.
        protocols: At least one.
        noise_sigma: Standard deviation of the noise on observed samples, in units of [0, 1].
        seed: Seed of noise and random masks.
        device: Where the observation is put before a method gets it.
        progress: Show a bar on stderr if it is a terminal.
        data: Name of the set of images, kept in the report.

    Raises:
        EvaluationError: If no image could be evaluated; the message holds the first reason.
        ValueError: If an argument is out of its range, or two images have one name.
    """
    sources = list(sources)
    if not sources:
        raise EvaluationError("sources must hold at least one image, got none")
    names = Counter(source.name for source in sources)
    if len(names) < len(sources):
        [(often, _)] = names.most_common(1)
        raise ValueError(f"sources must have distinct names, got {often!r} more than once")
    if not methods or not protocols:
        raise ValueError("methods and protocols must each hold at least one entry")
    check_sigma(noise_sigma)
    checks.positive_int("seed", seed, minimum=0)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    # disable=None: shown on a terminal only. Its lines go to stderr, results to stdout.
    with tqdm(total=len(sources), unit="image", disable=None if progress else True) as bar:
        for source in sources:
            bar.set_postfix_str(source.name)
            try:
                rows += _evaluate_one(
                    source, task, methods, protocols, noise_sigma, seed, device, first=not rows
                )
            except (ValueError, MemoryError, torch.cuda.OutOfMemoryError) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                skipped.append(Skipped(source.name, reason))
            bar.update()
    if not rows:
        raise EvaluationError(
            f"none of the {len(sources)} images could be evaluated; "
            f"{skipped[0].image}: {skipped[0].reason}"
        )
    return Report(
        task=task,
        protocols=tuple(protocols),
        methods=tuple(methods),
        rows=tuple(rows),
        skipped=tuple(skipped),
        noise_sigma=noise_sigma,
        seed=seed,
        device=str(device),
        data=data,
    )


def _evaluate_one(
    source: Source,
    task: Task,
    methods: Sequence[Method],
    protocols: Sequence[Protocol],
    noise_sigma: float,
    seed: int,
    device: str | torch.device,
    *,
    first: bool,
) -> list[Row]:
    truth = task.prepare(source.load())
    height, width = truth.shape[-2:]
    # From the name, not from the position: the same image gets the same noise in every subset.
    image_seed = zlib.crc32(f"{seed}/{source.name}".encode())
    mask = task.mask(height, width, seed=image_seed)
    generator = torch.Generator().manual_seed(image_seed)
    y = observe(truth, mask, noise_sigma, generator).to(device)
    mask = mask.to(device)
    rows = []
    for method in methods:
        try:
            if first:
                _warm_up(method, y, mask)
            (estimate, seconds), peak = peak_memory(
                lambda method=method: _timed(method, y, mask), y.device
            )
            scores = {p.name: p.score(estimate, truth) for p in protocols}
        except ValueError as error:
            raise ValueError(f"{method.name}: {error}") from error
        rows.append(Row(source.name, height, width, method.name, seconds, peak, scores))
    return rows


def _warm_up(method: Method, y: Tensor, mask: Tensor) -> None:
    """What is loaded or compiled at a first call is neither time nor memory of an image."""
    corner = (..., slice(_WARM_UP), slice(_WARM_UP))
    with torch.inference_mode(), contextlib.suppress(ValueError):
        method.restore(y[corner].clone(), mask[corner].clone())


def _timed(method: Method, y: Tensor, mask: Tensor) -> tuple[Tensor, float]:
    with torch.inference_mode():
        _synchronise(y.device)
        start = time.perf_counter()
        # A copy, so that no method can change what the next one sees; too cheap to matter.
        estimate = method.restore(y.clone(), mask.clone())
        _synchronise(y.device)
        return estimate, time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _checked_limit(limit: int | None) -> int | None:
    return None if limit is None else checks.positive_int("limit", limit)
