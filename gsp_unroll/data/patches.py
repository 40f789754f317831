"""Training patches as a pure function of (seed, index), from a folder or from images in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gsp_unroll.checks import finite, floating, in_range, positive_int, shape
from gsp_unroll.data.colours import recolour, saturate
from gsp_unroll.data.difficulty import difficulty, importance
from gsp_unroll.data.frames import add_frame
from gsp_unroll.data.images import ImageError, read_image_raw
from gsp_unroll.data.orientation import ORIENTATIONS, reorient
from gsp_unroll.data.scale import LARGEST_FACTOR, scale_down
from gsp_unroll.data.sharpness import blur
from gsp_unroll.observe import Task, observe

logger = logging.getLogger(__name__)

# After so many draws of unusable images the remaining ones are tried in their order.
_DRAWS = 64


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Random patches: truth, what is observed of it, and where.

    Patch ``index`` depends on ``(seed, index)`` and the images alone, whatever worker, thread or
    process asks for it, and in whatever order. An image is drawn with a probability proportional
    to its area, then a crop of it, then one of the eight flips and transposes. All this happens to
    the truth, *before* it is observed: the mask always starts at the patch's top-left pixel, so
    that the phase of a colour filter array is kept.

    An image that cannot be read is skipped, named in a warning, counted in `skipped`, and replaced
    by the next draw; images smaller than the patch likewise.

    Args:
        images: Paths of image files, or a mapping from names to RGB tensors ``[3, H, W]`` in
            [0, 1].
        task: What is observed; decides on the number ``C`` of channels.
        patch: Side of the patches, in pixels.
        length: Number of patches; an index beyond it is an ``IndexError``.
        seed: Seed of all patches.
        augment: Flip and transpose at random.
        distinct: How many different crops there are; they come again and again, in orientations
            that are drawn anew. ``None`` = each patch is a new crop.
        saturation: Colours move away from the grey of their pixel by a factor that is drawn from
            ``[1, 1 + saturation]`` for each patch, then are clipped to [0, 1].
        recolour: Share of the patches whose channels are shuffled and then made darker by
            factors of their own: the strongest of three draws from [0.2, 1] becomes 1.
            Photographs have few edges between strong colours, where one channel is far above the
            others; this makes more.
        shrink: Share of the patches that are scaled down, by a factor that is drawn from
            ``[1, 2.5]`` for each (less where the image is too small for it).
        blur: Patches are blurred by a Gaussian whose standard deviation, in pixels, is drawn from
            ``[0, blur]`` for each.
        framed: Share of the patches that get a frame along one side, see
            :func:`~gsp_unroll.data.frames.add_frame`.
        candidates: Each patch is drawn from so many, with probabilities that grow with their
            difficulty, see :func:`~gsp_unroll.data.difficulty.importance`. Its weight makes up for
            that: the weighted mean loss has the same expectation for any number of candidates,
            and, where gradients grow with the difficulty, less noise. 1 = all patches are equal.
        noise_sigma: Standard deviation of white Gaussian noise on the observed samples.
        cache_bytes: Decoded files are kept in memory up to this many bytes.

    Shapes:
        Each item is a dictionary: ``"truth"`` and ``"y"`` float32 ``[C, patch, patch]``, ``"mask"``
        bool of the same shape; ``y`` is 0 where nothing is observed; ``"weight"`` float32 ``[]``,
        of the patch's loss.

    Raises:
        ImageError: There is no usable image.
    """

    def __init__(
        self,
        images: Sequence[str | Path] | Mapping[str, Tensor],
        task: Task,
        *,
        patch: int = 64,
        length: int = 10_000,
        seed: int = 0,
        augment: bool = True,
        distinct: int | None = None,
        saturation: float = 0.0,
        recolour: float = 0.0,
        shrink: float = 0.0,
        blur: float = 0.0,
        framed: float = 0.0,
        candidates: int = 1,
        noise_sigma: float = 0.0,
        cache_bytes: int = 0,
    ) -> None:
        self.task = task
        self.patch = positive_int("patch", patch)
        self.length = positive_int("length", length)
        self.seed = positive_int("seed", seed, 0)
        self.augment = augment
        self.distinct = None if distinct is None else positive_int("distinct", distinct)
        self.saturation = in_range("saturation", saturation, 0.0)
        self.recolour = in_range("recolour", recolour, 0.0, 1.0)
        self.shrink = in_range("shrink", shrink, 0.0, 1.0)
        self.blur = in_range("blur", blur, 0.0)
        self.framed = in_range("framed", framed, 0.0, 1.0)
        self.candidates = positive_int("candidates", candidates)
        self.noise_sigma = in_range("noise_sigma", noise_sigma, 0.0)
        self.cache_bytes = positive_int("cache_bytes", cache_bytes, 0)
        self.skipped: dict[str, str] = {}
        self._lock = threading.Lock()
        self._cache: dict[int, np.ndarray] = {}
        self._cached = 0
        self._memory: Mapping[str, Tensor] = {}
        if isinstance(images, Mapping):
            for name, image in images.items():
                _check_image(name, image)
            self._memory = dict(images)
        self.names = [str(image) for image in images]
        if not self.names:
            raise ImageError("images must hold at least one image, got none")
        areas = [self._usable_area(k) for k in range(len(self.names))]
        if not any(areas):
            raise ImageError(self._nothing_left())
        self._cumulated = np.cumsum(np.asarray(areas, dtype=np.float64))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"index must lie in [0, {self.length}), got {index}")
        rng = np.random.default_rng((self.seed, int(index)))
        first = int(index) * self.candidates
        truths = [self._truth(first + k, rng) for k in range(self.candidates)]
        mask = self.task.mask(self.patch, self.patch, seed=int(rng.integers(2**31)))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        truth, weight = truths[0], 1.0
        if self.candidates > 1:
            chosen, weight = importance(difficulty(torch.stack(truths), mask), rng)
            truth = truths[chosen]
        y = observe(truth, mask, noise_sigma=self.noise_sigma, generator=generator)
        mask = mask.expand_as(truth).clone()
        return {"truth": truth, "mask": mask, "y": y, "weight": torch.tensor(weight)}

    def _truth(self, number: int, rng: np.random.Generator) -> Tensor:
        """Return candidate ``number``, as it is before it is observed."""
        place = rng
        if self.distinct is not None:
            place = np.random.default_rng((self.seed, number % self.distinct))
        image = self._draw_image(place)
        rgb = self._crop(image, self._crop_side(image, place), place)
        rgb = scale_down(rgb, self.patch, self.patch)
        orientation = int(rng.integers(ORIENTATIONS))
        if self.augment:
            rgb = reorient(rgb, orientation)
        if self.saturation:
            rgb = saturate(rgb, 1 + self.saturation * rng.random())
        if self.recolour and rng.random() < self.recolour:
            rgb = recolour(rgb, rng)
        if self.blur:
            rgb = blur(rgb, self.blur * rng.random())
        if self.framed and rng.random() < self.framed:
            rgb = add_frame(rgb, rng)
        return self.task.prepare(rgb).contiguous()

    def __getstate__(self) -> dict[str, Any]:
        # A worker process starts with an empty cache; locks cannot be sent to it.
        return {**self.__dict__, "_lock": None, "_cache": {}, "_cached": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _draw_image(self, rng: np.random.Generator) -> np.ndarray | Tensor:
        """Return a usable image; the unusable ones never shift a draw that did not meet them."""
        total = self._cumulated[-1]
        for _ in range(_DRAWS):
            k = int(np.searchsorted(self._cumulated, rng.random() * total, side="right"))
            image = self._image(k)
            if image is not None:
                return image
        for k in range(len(self.names)):
            image = self._image(k)
            if image is not None:
                return image
        raise ImageError(self._nothing_left())

    def _crop_side(self, image: np.ndarray | Tensor, rng: np.random.Generator) -> int:
        """Return how many pixels of the image, each way, become a patch."""
        if not self.shrink or rng.random() >= self.shrink:
            return self.patch
        largest = min(LARGEST_FACTOR * self.patch, *_size(image))
        return int(rng.integers(self.patch, int(largest) + 1))

    def _crop(self, image: np.ndarray | Tensor, side: int, rng: np.random.Generator) -> Tensor:
        """Return a random RGB square ``[3, side, side]`` in [0, 1]."""
        height, width = _size(image)
        top = int(rng.integers(height - side + 1))
        left = int(rng.integers(width - side + 1))
        rows, columns = slice(top, top + side), slice(left, left + side)
        if isinstance(image, Tensor):
            return image[:, rows, columns].float()
        return _to_rgb(image[rows, columns])

    def _image(self, k: int) -> np.ndarray | Tensor | None:
        """Return image ``k``, or ``None`` if it is skipped."""
        name = self.names[k]
        if name in self.skipped:
            return None
        return self._memory[name] if self._memory else self._decoded(k)

    def _usable_area(self, k: int) -> int:
        """Return the area of image ``k`` from its header, 0 if it is skipped."""
        name = self.names[k]
        try:
            rows, columns = _header_size(self._memory.get(name, name))
        except ImageError as error:
            self._skip(name, str(error))
            return 0
        if min(rows, columns) < self.patch:
            self._skip(name, self._too_small(name, rows, columns))
            return 0
        return rows * columns

    def _decoded(self, k: int) -> np.ndarray | None:
        """Return the pixels ``[H, W, channels]`` of file ``k``, cached or read."""
        pixels = self._cache.get(k)
        if pixels is not None:
            return pixels
        name = self.names[k]
        try:
            pixels = read_image_raw(name)
        except ImageError as error:
            self._skip(name, str(error))
            return None
        if min(pixels.shape[:2]) < self.patch:
            self._skip(name, self._too_small(name, *pixels.shape[:2]))
            return None
        # Draws are independent, so no rule of eviction beats keeping what came first.
        with self._lock:
            if k not in self._cache and self._cached + pixels.nbytes <= self.cache_bytes:
                self._cache[k] = pixels
                self._cached += pixels.nbytes
        return pixels

    def _skip(self, name: str, reason: str) -> None:
        with self._lock:
            if name in self.skipped:
                return
            self.skipped[name] = reason
            count = len(self.skipped)
        logger.warning("skipping image %d of %d: %s", count, len(self.names), reason)

    def _too_small(self, name: str, rows: int, columns: int) -> str:
        side = self.patch
        return f"{name} is {rows} x {columns} pixels, smaller than a patch of {side} x {side}"

    def _nothing_left(self) -> str:
        first = next(iter(self.skipped.values()))
        return f"none of the {len(self.names)} images can be used; the first: {first}"


def _check_image(name: str, image: Tensor) -> None:
    floating(f"images[{name!r}]", image)
    shape(f"images[{name!r}]", image, (3, "height", "width"))
    finite(f"images[{name!r}]", image)


def _size(image: np.ndarray | Tensor) -> tuple[int, int]:
    """Return rows and columns of pixels ``[H, W, channels]`` or of a tensor ``[3, H, W]``."""
    rows, columns = image.shape[-2:] if isinstance(image, Tensor) else image.shape[:2]
    return rows, columns


def _header_size(image: str | Tensor) -> tuple[int, int]:
    """Return rows and columns without decoding where Pillow knows the format."""
    if isinstance(image, Tensor):
        return _size(image)
    try:
        with Image.open(image) as header:
            return header.height, header.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        rows, columns = read_image_raw(image).shape[:2]
        return rows, columns


def _to_rgb(pixels: np.ndarray) -> Tensor:
    """Return integer pixels ``[h, w, 1 or 3]`` as float32 ``[3, h, w]`` in [0, 1]."""
    scaled = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(scaled).permute(2, 0, 1).expand(3, -1, -1).contiguous()
