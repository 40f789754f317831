"""Which images are trained on, as patches, and which are held out to choose the best weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gsp_unroll.data.images import ImageError, builtin_images, find_images, read_image
from gsp_unroll.data.patches import PatchDataset
from gsp_unroll.evaluation.harness import Source, builtin_sources, folder_sources, path_sources
from gsp_unroll.observe import observe
from gsp_unroll.training.config import Config, DataConfig

logger = logging.getLogger(__name__)

Images = Sequence[Path] | Mapping[str, Tensor]

# Of the photographs inside scikit-image, this one chooses the weights. `builtin_images("test")` is
# for the final figures, and neither trained on nor chosen on.
BUILTIN_VALIDATION = ("rocket",)
# A star field: black but for points, and large, so that it would be two patches in five.
BUILTIN_UNSUITED = ("hubble_deep_field",)


@dataclass(frozen=True)
class HeldOut:
    """One observed validation image: ``truth``, ``y`` and ``mask`` are ``[1, C, h, w]``."""

    name: str
    truth: Tensor
    y: Tensor
    mask: Tensor


def split_images(data: DataConfig) -> tuple[Images, Images]:
    """Return the images to train on and the ones to validate on; no image is in both.

    Raises:
        ImageError: A folder is missing or empty.
        ValueError: Nothing would be left to train on.
    """
    held: Images
    if data.folder is None:
        images = builtin_images("train")
        images = {name: images[name] for name in images if name not in BUILTIN_UNSUITED}
        if data.validation is not None:
            return images, find_images(data.validation)
        held = {name: images.pop(name) for name in BUILTIN_VALIDATION}
        return images, held
    paths = find_images(data.folder)
    if data.validation is not None:
        held = find_images(data.validation)
        inside = {path.resolve() for path in held}
        train = [path for path in paths if path.resolve() not in inside]
        if not train:
            raise ValueError(
                f"data.validation {data.validation} holds every image of data.folder "
                f"{data.folder}: nothing is left to train on"
            )
        return train, held
    if data.holdout >= len(paths):
        raise ValueError(
            f"data.holdout must be less than the {len(paths)} images of {data.folder}, "
            f"got {data.holdout}; set data.validation to a folder, or data.holdout=0"
        )
    # Evenly spaced, since neighbours in a sorted folder often show the same scene.
    positions = {i * len(paths) // data.holdout for i in range(data.holdout)}
    held = [path for i, path in enumerate(paths) if i in positions]
    return [path for i, path in enumerate(paths) if i not in positions], held


def training_patches(images: Images, config: Config) -> PatchDataset:
    """Return the patches of a run, one item for each patch of each step.

    Raises:
        ValueError: ``images`` is empty, or an option of ``config.data`` is not allowed.
    """
    data = config.data
    return PatchDataset(
        images,
        config.task.build(),
        patch=data.patch,
        length=config.train.steps * config.train.batch,
        seed=config.train.seed,
        augment=data.augment,
        distinct=data.distinct,
        saturation=data.saturation,
        recolour=data.recolour,
        shrink=data.shrink,
        blur=data.blur,
        framed=data.framed,
        candidates=data.candidates or 1,
        noise_sigma=config.task.noise_sigma,
        cache_bytes=data.cache_mb * 1_000_000,
    )


def load_held_out(images: Images, config: Config) -> list[HeldOut]:
    """Observe the central square of every validation image; unreadable ones are skipped and named.

    Raises:
        ImageError: There are images and none of them can be read.
    """
    task = config.task.build()
    items = []
    for k, entry in enumerate(images):
        try:
            rgb = images[entry] if isinstance(images, Mapping) else read_image(entry)
        except ImageError as error:
            logger.warning("skipping validation image: %s", error)
            continue
        truth = task.prepare(central_square(rgb, config.data.validation_crop))
        mask = task.mask(*truth.shape[-2:], seed=k)
        generator = torch.Generator().manual_seed(k)
        y = observe(truth, mask, noise_sigma=config.task.noise_sigma, generator=generator)
        name = Path(entry).stem
        items.append(HeldOut(name, truth[None], y[None], mask.expand_as(truth)[None]))
    if images and not items:
        raise ImageError(f"none of the {len(images)} validation images can be read")
    return items


def report_sources(data: DataConfig, folder: Path | None = None) -> tuple[list[Source], str]:
    """Return the images for the final figures of a run, and a name for them.

    Args:
        data: The data of the experiment.
        folder: Test images; ``None`` takes the test photographs inside scikit-image if the run was
            trained on those, else the validation images (which also chose the weights).

    Raises:
        ImageError: The folder is missing or empty.
        ValueError: Nothing is held out.
    """
    if folder is not None:
        return folder_sources(folder), folder.resolve().name
    if data.folder is None:
        return builtin_sources("test"), "photographs inside scikit-image, not trained on"
    _, held = split_images(data)
    if not held:
        raise ValueError(
            "no image is held out to report on: pass a test folder or set data.holdout"
        )
    root = Path(data.folder if data.validation is None else data.validation)
    return path_sources([Path(path) for path in held], root), "validation"


def first_readable(sources: Sequence[Source]) -> tuple[str, Tensor]:
    """Return name and image of the first source that can be read, for a picture of the result.

    Raises:
        ImageError: None of them can be read; the error of the last one.
    """
    for source in sources[:-1]:
        try:
            return source.name, source.load()
        except ImageError as error:
            logger.warning("no picture of %s: %s", source.name, error)
    return sources[-1].name, sources[-1].load()


def central_square(image: Tensor, side: int) -> Tensor:
    """Cut ``[C, side, side]`` out of the middle of ``[C, H, W]``, or what there is of it."""
    height, width = image.shape[-2:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return image[:, top : top + side, left : left + side]
