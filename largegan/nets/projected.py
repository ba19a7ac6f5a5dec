"""Projected GAN's judges (Sauer et al., 2021, arXiv 2111.01007): discriminators on mixed features.

The maps of a frozen, pre-trained network are mixed across channels (1x1 convolutions) and across
scales (from the deepest up), by weights that are drawn once and never trained. So no judge can
concentrate on a few features, and each sees what the others do. A small discriminator a scale is
all that learns.
"""

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.spectral_norm import SNConv2d, Spectral
from largegan.nets.pretrained import STRIDES

SPECTRAL = Spectral(eps=1e-12)
WIDTHS = {4: 512, 8: 512, 16: 256, 32: 128, 64: 64, 128: 64, 256: 32}
NOMINAL = 256  # judges are built for the maps of images of this size, whatever the size is
LAST = 8  # judges halve maps to this nominal size
KERNEL = 4  # of a judge's last convolution
PATCH_START = 16
CLASS_FEATURES, CLASS_EMBEDDING = 64, 128
conv = partial(SNConv2d, spectral=SPECTRAL)
Mixing = Literal["none", "channels", "scales"]


class Projector(nn.Module):
    """Four maps of a backbone -> four mixed ones, finest first; frozen.

    `widths` are theirs: without mixing the backbone's, else `features`, or with `expand`
    `features` times 1, 2, 4, 8 after the mixing of channels. Mixing scales doubles every map and
    halves the widths of expanded ones, but the finest.
    """

    def __init__(self, channels: list[int], *, features: int, expand: bool, mixing: Mixing):
        super().__init__()
        self.mixing, self.widths = mixing, list(channels)
        self.across_channels, self.across_scales = nn.ModuleList(), nn.ModuleList()
        if mixing != "none":
            self.widths = [features << i if expand else features for i in range(len(channels))]
            pairs = zip(channels, self.widths, strict=True)
            self.across_channels.extend(nn.Conv2d(a, b, 1) for a, b in pairs)
        if mixing == "scales":
            before = self.widths
            self.widths = [before[0], *before[:-1]] if expand else before
            pairs = zip(before, self.widths, strict=True)
            self.across_scales.extend(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.requires_grad_(False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        if self.mixing == "none":
            return maps
        maps = [mix(x) for mix, x in zip(self.across_channels, maps, strict=True)]
        if self.mixing == "channels":
            return maps
        mixed, coarser = [], None
        for mix, x in zip(reversed(self.across_scales), reversed(maps), strict=True):
            x = x if coarser is None else x + coarser
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            coarser = mix(x)
            mixed.append(coarser)
        return mixed[::-1]


class Down(nn.Module):
    """Halves a map `[N, inputs, H, W]`: convolution, batch norm, leaky ReLU.

    `separable` convolves channels one by one and then across, and averages 2 x 2; `patch` adds a
    1x1 convolution with its norm.
    """

    def __init__(self, inputs: int, outputs: int, *, separable: bool, patch: bool, norm: str):
        super().__init__()
        self.separable = separable
        if separable:
            self.depthwise = conv(inputs, inputs, 3, 1, 1, bias=False, groups=inputs)
            self.pointwise = conv(inputs, outputs, 1, bias=False)
        else:
            self.conv = conv(inputs, outputs, 4, 2, 1)
        make_norm = BatchNorm2d if norm == "batch" else nn.Identity
        self.norm = make_norm(outputs)
        self.patch = conv(outputs, outputs, 1, bias=False) if patch else None
        self.patch_norm = make_norm(outputs) if patch else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.pointwise(self.depthwise(x)) if self.separable else self.conv(x)
        x = F.leaky_relu(self.norm(x), 0.2)
        x = F.avg_pool2d(x, 2) if self.separable else x
        return x if self.patch is None else F.leaky_relu(self.patch_norm(self.patch(x)), 0.2)


class ClassQuery(nn.Module):
    """Labels `[N]` -> `[N, CLASS_FEATURES, 1, 1]`: which maps matter for a class."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.embed = nn.Embedding(num_classes, CLASS_EMBEDDING)
        self.project = nn.Linear(CLASS_EMBEDDING, CLASS_FEATURES)

    def forward(self, labels: Tensor) -> Tensor:
        return F.leaky_relu(self.project(self.embed(labels)), 0.2)[:, :, None, None]


class ScaleDiscriminator(nn.Module):
    """One judge: maps `[N, channels, H, W]` (and labels `[N]`) -> logits `[N, h * w]`."""

    def __init__(
        self,
        channels: int,
        size: int,
        *,
        num_classes: int = 0,
        separable: bool = False,
        patch: bool = False,
        norm: str = "batch",
        channel_max: int = max(WIDTHS.values()),
    ):
        super().__init__()
        start = PATCH_START if patch else size
        widths = {size: min(width, channel_max) for size, width in WIDTHS.items()}
        widths[start] = channels
        sizes = [size for size in sorted(widths, reverse=True) if LAST < size <= start]
        self.down = nn.Sequential(
            *(
                Down(widths[s], widths[s // 2], separable=separable, patch=patch, norm=norm)
                for s in sizes
            )
        )
        self.query = ClassQuery(num_classes) if num_classes else None
        self.logits = conv(widths[LAST], CLASS_FEATURES if num_classes else 1, KERNEL, bias=False)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.logits(self.down(x))
        if self.query is not None:
            x = (x * self.query(labels)).sum(1, keepdim=True) / CLASS_FEATURES**0.5
        return x.flatten(1)


class Discriminators(nn.Module):
    """Mixed maps, finest first (and labels `[N]`) -> all logits `[N, L]` of the `count` judges."""

    def __init__(
        self,
        projector: Projector,
        *,
        count: int = 4,
        num_classes: int = 0,
        separable: bool = False,
        patch: bool = False,
        norm: str = "batch",
        channel_max: int = max(WIDTHS.values()),
    ):
        super().__init__()
        self.enlarged = 2 if projector.mixing == "scales" else 1
        shape = {"num_classes": num_classes, "separable": separable, "patch": patch, "norm": norm}
        shape["channel_max"] = channel_max
        self.scales = nn.ModuleList(
            ScaleDiscriminator(width, NOMINAL // stride * self.enlarged, **shape)
            for width, stride in list(zip(projector.widths, STRIDES, strict=True))[:count]
        )

    def smallest_map(self, size: int) -> int:
        """Side of the smallest map that a judge's last convolution gets, for images of `size`.

        It has to be `KERNEL` at least.
        """
        pairs = zip(self.scales, STRIDES, strict=False)
        return min(size * self.enlarged // stride >> len(judge.down) for judge, stride in pairs)

    def forward(self, maps: list[Tensor], labels: Tensor | None = None) -> Tensor:
        pairs = zip(self.scales, maps, strict=False)  # fewer judges than maps
        return torch.cat([judge(x, labels) for judge, x in pairs], dim=1)
