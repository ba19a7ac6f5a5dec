"""DiffAugment: three cheap augmentations, of reals and fakes, in the phases of D and of G.

Zhao et al., 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 4.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DiffAugment(nn.Module):
    """Every image gets every part of the policy, with its own strengths.

    "color": brightness +- 0.5 (in [-1, 1]), saturation x [0, 2], contrast x [0.5, 1.5];
    "translation": up to 1/8 of the size, zeros coming in; "cutout": zeros in a square of half the
    size, anywhere. Saturation needs three channels or more, of which the first three are colours;
    a second or fourth channel is alpha and keeps its values in "color".
    """

    def __init__(self, policy: Sequence[str] = ("color", "translation", "cutout")):
        super().__init__()
        unknown = [name for name in policy if name not in POLICIES]
        if unknown:
            raise ValueError(f"no policy {unknown[0]!r}: there are {', '.join(POLICIES)}")
        self.policy = tuple(policy)

    def forward(self, images: Tensor) -> Tensor:
        """`[N, 1 to 4, H, W]` -> the same shape; gradients of any order flow to the images."""
        for name in self.policy:
            images = POLICIES[name](images)
        return images


def color(images: Tensor) -> Tensor:
    colors = 1 if images.shape[1] < 3 else 3
    x = images[:, :colors]
    x = x + (_uniform(x) - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (_uniform(x) * 2) + grey
    mean = x.mean([1, 2, 3], keepdim=True)
    x = (x - mean) * (_uniform(x) + 0.5) + mean
    return torch.cat([x, images[:, colors:]], 1) if images.shape[1] > colors else x


def translation(images: Tensor, ratio: float = 0.125) -> Tensor:
    n, _, h, w = images.shape
    rows = _shifted(n, h, ratio, images.device)
    columns = _shifted(n, w, ratio, images.device)
    # Row and column 0 of the padded image are what comes in.
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    padded = padded.gather(2, rows[:, None, :, None].expand(-1, images.shape[1], -1, w + 2))
    return padded.gather(3, columns[:, None, None, :].expand(-1, images.shape[1], h, -1))


def _shifted(n: int, size: int, ratio: float, device: torch.device) -> Tensor:
    """`[n, size]`: which pixel of a padded row lands where, 0 or size + 1 outside."""
    most = int(size * ratio + 0.5)
    shift = torch.randint(-most, most + 1, (n, 1), device=device)
    return (torch.arange(size, device=device) + shift + 1).clamp(0, size + 1)


def cutout(images: Tensor, ratio: float = 0.5) -> Tensor:
    n, _, h, w = images.shape
    rows, columns = _covered(n, h, ratio, images.device), _covered(n, w, ratio, images.device)
    covered = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(covered, 0.0)


def _covered(n: int, size: int, ratio: float, device: torch.device) -> Tensor:
    """`[n, size]`: `ratio` of the size around a random centre."""
    length = int(size * ratio + 0.5)
    centre = torch.randint(0, size + 1 - length % 2, (n, 1), device=device)
    first = centre - length // 2
    place = torch.arange(size, device=device)
    return (place >= first) & (place < first + length)


def _uniform(x: Tensor) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device)


POLICIES = {"color": color, "translation": translation, "cutout": cutout}
