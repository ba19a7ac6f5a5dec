"""How close translations are to the truth, where there is a truth: PSNR, SSIM, L1, features.

Where there is none (unpaired test sets), compare the translations with real images of the target
domain as for any generator: features of both to `frechet.py` and `kid.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.errors import DataError

WINDOW, SIGMA = 11, 1.5  # of SSIM (Wang et al., 2004)
K1, K2 = 0.01, 0.03

Features = Callable[[Tensor], Tensor]  # uint8 [N, C, H, W] -> float [N, D], as `Extractor`


@dataclass(frozen=True)
class Score:
    """The mean over `count` images, and its standard error (0 for a single image)."""

    mean: float
    error: float
    count: int


def l1(outputs: Tensor, truths: Tensor) -> Tensor:
    """`[N]`: mean absolute difference, as a fraction of the range. 0: equal, 1: black on white.

    Images are float `[N, C, H, W]` in [-1, 1], here and below.
    """
    return (outputs - truths).abs().flatten(1).mean(1) / 2


def psnr(outputs: Tensor, truths: Tensor) -> Tensor:
    """`[N]`: peak signal to noise ratio in dB; infinite for equal images."""
    error = (outputs - truths).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)  # the range is 2


def ssim(outputs: Tensor, truths: Tensor) -> Tensor:
    """`[N]`: structural similarity (Wang et al., 2004), 1 for equal images.

    Gaussian window of 11 x 11 with sigma 1.5, without padding; the mean over pixels and channels.
    Raises `DataError` for images smaller than the window.
    """
    if min(outputs.shape[2:]) < WINDOW:
        height, width = outputs.shape[2:]
        raise DataError(f"SSIM needs images of at least {WINDOW} pixels, not {height}x{width}")
    x, y = outputs.double(), truths.double()  # variances are small differences of large numbers
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x.square()
    var_y = _blur(y * y) - mean_y.square()
    covariance = _blur(x * y) - mean_x * mean_y
    # The constants are relative to the range, 2; luminance is counted from black, -1.
    c1, c2 = (K1 * 2) ** 2, (K2 * 2) ** 2
    mean_x, mean_y = mean_x + 1, mean_y + 1
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * structure).flatten(1).mean(1)


def _blur(x: Tensor) -> Tensor:
    """`[N, C, H, W]` -> `[N, C, H - 10, W - 10]`: the weighted mean under SSIM's window."""
    place = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = torch.exp(-place.square() / (2 * SIGMA**2))
    weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, weights, groups=x.shape[1])
    return F.conv2d(x, weights.mT, groups=x.shape[1])


def luma(images: Tensor) -> Tensor:
    """Y of ITU-R BT.601 in its 8-bit form, from 16 to 235 of 255: `[N, 3, H, W]` -> `[N, 1, H, W]`.

    In which super-resolution is scored (MATLAB's rgb2ycbcr); not rounded. In [-1, 1] here too.
    """
    weights = images.new_tensor([65.481, 128.553, 24.966])[:, None, None]
    y = 16 + ((images + 1) / 2 * weights).sum(1, keepdim=True)
    return y / 127.5 - 1


def without_border(images: Tensor, border: int) -> Tensor:
    """`border` pixels less on every side. Raises `DataError` when nothing is left."""
    height, width = images.shape[-2:]
    if min(height, width) <= 2 * border:
        raise DataError(
            f"an image of {height}x{width} has nothing left when {border} pixels are cut at every "
            "side; give larger images"
        )
    return images[..., border : height - border, border : width - border]


def feature_distance(outputs: Tensor, truths: Tensor, features: Features) -> Tensor:
    """`[N]`: Euclidean distance of the feature vectors, each scaled to length 1 (0 to 2)."""
    a, b = (F.normalize(features(_to_uint8(images)), dim=1) for images in (outputs, truths))
    return (a - b).norm(dim=1).cpu()


def _to_uint8(images: Tensor) -> Tensor:
    return (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


class PairedScores:
    """Collects the scores of pairs; the order and the batches do not matter.

    `features` adds the feature distance, for instance `features.open_extractor("resnet50")`.
    `scale` is how many times the images were enlarged: PSNR and SSIM are then those of super-
    resolution, of the luma and without the outermost `scale` pixels.
    """

    def __init__(self, features: Features | None = None, *, scale: int | None = None):
        self.features, self.scale = features, scale
        self.found: dict[str, list[Tensor]] = {}

    def add(self, outputs: Tensor, truths: Tensor) -> dict[str, Tensor]:
        """Float `[N, C, H, W]` in [-1, 1]; returns the scores of these `[N]` pairs."""
        if outputs.shape != truths.shape:
            raise DataError(
                f"a translation has shape {list(outputs.shape[1:])} (channels, height, width) and "
                f"its truth {list(truths.shape[1:])}; they must be the same"
            )
        pair = outputs, truths
        if self.scale:
            pair = [without_border(luma(images), self.scale) for images in pair]
        scores = {"psnr": psnr(*pair), "ssim": ssim(*pair)}
        scores["l1"] = l1(outputs, truths)
        if self.features:
            scores["features"] = feature_distance(outputs, truths, self.features)
        for name, values in scores.items():
            self.found.setdefault(name, []).append(values.double().cpu())
        return scores

    def result(self) -> dict[str, Score]:
        """The mean of every score over all pairs that were added."""
        if not self.found:
            raise DataError("there are no pairs to score")
        return {name: _mean(torch.cat(values)) for name, values in self.found.items()}


def _mean(values: Tensor) -> Score:
    count = len(values)
    spread = float(values.std()) if count > 1 else 0.0
    return Score(float(values.mean()), spread / count**0.5, count)
