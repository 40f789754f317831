"""What a PSNR means: named, complete descriptions, printed beside every number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor

from gsp_unroll import checks
from gsp_unroll.evaluation.metrics import SSIM_WINDOW

PSNR_OF = ("mean MSE", "each image")


@dataclass(frozen=True)
class ImageScore:
    """Errors of one restored image, with values in [0, 1]."""

    mse: float
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Protocol:
    """How estimates are compared with the truth, and how images are averaged.

    Args:
        name: Name used on the command line and in tables.
        psnr_of: ``"mean MSE"``: 10 log10(1 / mean over images of MSE). ``"each image"``: mean over
            images of 10 log10(1 / MSE), which is never smaller.
        clip: Clip the estimate to [0, 1] first.
        round_to_8_bits: Round the estimate to multiples of 1/255 after that.
        border: Pixels cut from each side before comparing.
    """

    name: str
    psnr_of: str
    clip: bool = False
    round_to_8_bits: bool = False
    border: int = 0

    def __post_init__(self) -> None:
        checks.one_of("psnr_of", self.psnr_of, PSNR_OF)
        checks.positive_int("border", self.border, minimum=0)

    def score(self, estimate: Tensor, truth: Tensor) -> ImageScore:
        """Compare one image with its truth, in float64; SSIM is scikit-image's.

        Args:
            estimate: Floating-point ``[C, H, W]``.
            truth: Same shape, values in [0, 1].

        Returns:
            The scores; all NaN if the estimate holds NaN or infinity.

        Raises:
            ValueError: If the shapes differ or fewer than 7 x 7 pixels are left for SSIM.
        """
        # skimage.metrics takes a second to import; only reports need it.
        from skimage.metrics import structural_similarity

        if estimate.dim() != 3 or estimate.shape != truth.shape:
            raise ValueError(
                "estimate and truth must have one shape [C, H, W], got "
                f"{list(estimate.shape)} and {list(truth.shape)}"
            )
        result, target = (_array(x, self.border) for x in (estimate, truth))
        if min(target.shape[:2]) < SSIM_WINDOW:
            raise ValueError(
                f"image must be at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels inside a border of "
                f"{self.border} for SSIM, got {target.shape[0]} x {target.shape[1]}"
            )
        if not np.isfinite(result).all():
            # A diverged method must show in the table, not vanish from it.
            return ImageScore(mse=math.nan, psnr=math.nan, ssim=math.nan)
        if self.clip:
            result = result.clip(0.0, 1.0)
        if self.round_to_8_bits:
            result = np.round(result * 255.0) / 255.0
        error = float(np.mean((result - target) ** 2))
        similarity = structural_similarity(
            result, target, win_size=SSIM_WINDOW, channel_axis=-1, data_range=1.0
        )
        return ImageScore(mse=error, psnr=decibel(error), ssim=float(similarity))

    def average(self, scores: Sequence[ImageScore]) -> tuple[float, float]:
        """Return PSNR in dB and SSIM of a set of images.

        Raises:
            ValueError: If there is no score.
        """
        if not scores:
            raise ValueError("scores must hold at least one image, got none")
        if self.psnr_of == "mean MSE":
            level = decibel(sum(s.mse for s in scores) / len(scores))
        else:
            level = sum(s.psnr for s in scores) / len(scores)
        return level, sum(s.ssim for s in scores) / len(scores)

    def describe(self) -> str:
        """Return one line that says everything needed to repeat the numbers."""
        average = (
            "PSNR of the mean MSE over images"
            if self.psnr_of == "mean MSE"
            else "mean over images of each image's PSNR"
        )
        clip = "clipped to [0, 1]" if self.clip else "not clipped"
        rounding = "rounded to 8 bits" if self.round_to_8_bits else "not rounded"
        border = f"border of {self.border} pixels cut" if self.border else "no border cut"
        return (
            f"{average}; all pixels and channels, floats in [0, 1], {clip}, {rounding}, {border}; "
            f"SSIM {SSIM_WINDOW}x{SSIM_WINDOW} uniform window, mean over images"
        )

    def fields(self) -> dict[str, object]:
        """Return everything as plain values, for a report file."""
        ssim = f"{SSIM_WINDOW}x{SSIM_WINDOW} uniform, sample covariance, mean over images"
        return {**asdict(self), "ssim": ssim, "data_range": 1.0, "text": self.describe()}


PROTOCOLS = {
    "paper": Protocol("paper", psnr_of="mean MSE"),
    "usual": Protocol("usual", psnr_of="each image"),
}


def protocols_from_name(name: str) -> list[Protocol]:
    """Return the protocol called ``"paper"`` or ``"usual"``, or the two for ``"both"``."""
    checks.one_of("protocol", name, [*PROTOCOLS, "both"])
    return list(PROTOCOLS.values()) if name == "both" else [PROTOCOLS[name]]


def decibel(error: float) -> float:
    """Return 10 log10(1 / error): infinity for 0, NaN for NaN."""
    return math.inf if error == 0 else -10 * math.log10(error)


def _array(image: Tensor, border: int) -> np.ndarray:
    values = image.detach().to("cpu").double().permute(1, 2, 0).numpy()
    return values[border : values.shape[0] - border, border : values.shape[1] - border]
