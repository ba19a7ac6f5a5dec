"""DiffAugment: three cheap augmentations, of reals and fakes, in the phases of D and of G.

Zhao et al., 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 4.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DiffAugment(nn.Module):
    """Every image gets every part of the policy, with its own strengths.

    "color": brightness +- 0.5 (in [-1, 1]), saturation x [0, 2], contrast x [0.5, 1.5];
    "translation": up to 1/8 of the size, zeros coming in; "cutout": zeros in a square of
    `cutout_ratio` of the size, anywhere. Saturation needs three channels or more, of which the
    first three are colors; a second or fourth channel is alpha and keeps its values in "color".
    """

    def __init__(
        self,
        policy: Sequence[str] = ("color", "translation", "cutout"),
        *,
        cutout_ratio: float = 0.5,
    ):
        super().__init__()
        unknown = [name for name in policy if name not in POLICIES]
        if unknown:
            raise ValueError(f"no policy {unknown[0]!r}: there are {', '.join(POLICIES)}")
        self.policy, self.cutout_ratio = tuple(policy), cutout_ratio

    def forward(self, images: Tensor) -> Tensor:
        """`[N, 1 to 4, H, W]` -> the same shape; gradients of any order flow to the images."""
        for name in self.policy:
            ratio = (self.cutout_ratio,) if name == "cutout" else ()
            images = POLICIES[name](images, *ratio)
        return images


def color(images: Tensor) -> Tensor:
    colors = 1 if images.shape[1] < 3 else 3
    x = brightness(images[:, :colors], _uniform(images))
    x = contrast(saturation(x, _uniform(x)), _uniform(x))
    return torch.cat([x, images[:, colors:]], 1) if images.shape[1] > colors else x


def brightness(x: Tensor, u: Tensor) -> Tensor:
    """The strength `u` of this and the next two is `[N, 1, 1, 1]` in [0, 1); 0.5 does nothing."""
    return x + (u - 0.5)


def saturation(x: Tensor, u: Tensor, like: Tensor | None = None) -> Tensor:
    """Away from the mean over channels, which is that of `like` where it is given."""
    gray = (x if like is None else like).mean(1, keepdim=True)
    return (x - gray) * (u * 2) + gray


def contrast(x: Tensor, u: Tensor, like: Tensor | None = None) -> Tensor:
    """Away from the mean of the image, or of `like`."""
    mean = (x if like is None else like).mean([1, 2, 3], keepdim=True)
    return (x - mean) * (u + 0.5) + mean


def translation(images: Tensor, ratio: float = 0.125) -> Tensor:
    n, _, h, w = images.shape
    return translated(images, *(_shift(n, size, ratio, images.device) for size in (h, w)))


def _shift(n: int, size: int, ratio: float, device: torch.device) -> Tensor:
    most = int(size * ratio + 0.5)
    return torch.randint(-most, most + 1, (n, 1), device=device)


def translated(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Pixel (a, b) becomes the one at (a + down, b + right), int64 `[N, 1]`; zeros outside."""
    h, w = images.shape[2:]
    rows, columns = _source(down, h), _source(right, w)
    # Row and column 0 of the padded image are what comes in.
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    padded = padded.gather(2, rows[:, None, :, None].expand(-1, images.shape[1], -1, w + 2))
    return padded.gather(3, columns[:, None, None, :].expand(-1, images.shape[1], h, -1))


def _source(shift: Tensor, size: int) -> Tensor:
    """`[N, size]`: which pixel of a padded row lands where, 0 or size + 1 outside."""
    return (torch.arange(size, device=shift.device) + shift + 1).clamp(0, size + 1)


def cutout(images: Tensor, ratio: float = 0.5) -> Tensor:
    n, _, h, w = images.shape
    centers = (_center(n, size, ratio, images.device) for size in (h, w))
    return cut(images, *centers, ratio)


def _center(n: int, size: int, ratio: float, device: torch.device) -> Tensor:
    return torch.randint(0, size + 1 - int(size * ratio + 0.5) % 2, (n, 1), device=device)


def cut(images: Tensor, row: Tensor, column: Tensor, ratio: float = 0.5) -> Tensor:
    """Zeros in `ratio` of the size around row and column, int64 `[N, 1]`."""
    rows, columns = (
        _covered(center, size, ratio)
        for center, size in zip((row, column), images.shape[2:], strict=True)
    )
    covered = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(covered, 0.0, images)  # in the images' memory format


def _covered(center: Tensor, size: int, ratio: float) -> Tensor:
    """`[N, size]`: `ratio` of the size around a center."""
    length = int(size * ratio + 0.5)
    first = center - length // 2
    place = torch.arange(size, device=center.device)
    return (place >= first) & (place < first + length)


def _uniform(x: Tensor) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device)


POLICIES = {"color": color, "translation": translation, "cutout": cutout}
