"""Networks of LAPGAN (Denton et al., 2015, arXiv 1506.05751): small, without normalization.

At the coarsest level they are fully connected, and nothing is coarser. Above it a generator sees
noise and the enlarged coarse image and makes the missing detail (a residual); a discriminator sees
coarse + residual. A class enters as one more map, different in each network.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.resize import pyramid_scale


class ClassMap(nn.Module):
    """Labels `[N]` -> a map `[N, 1, size, size]`: ReLU of a linear map of the one-hot class."""

    def __init__(self, num_classes: int, size: int):
        super().__init__()
        self.num_classes, self.size = num_classes, size
        self.linear = nn.Linear(num_classes, size**2)

    def forward(self, labels: Tensor) -> Tensor:
        one_hot = F.one_hot(labels, self.num_classes).to(self.linear.weight.dtype)
        return self.linear(one_hot).relu().view(-1, 1, self.size, self.size)


def class_map(num_classes: int, size: int) -> ClassMap | None:
    return ClassMap(num_classes, size) if num_classes else None


class ResidualGenerator(nn.Module):
    """Noise `[N, 1, S, S]` in [-1, 1], coarse images `[N, C, S, S]`, labels -> residuals.

    Convolutions 7 x 7, 7 x 7, 5 x 5 (section 4.2 and the authors' code).
    """

    def __init__(
        self, size: int, *, image_channels: int = 3, channels: int = 64, num_classes: int = 0
    ):
        super().__init__()
        self.classes = class_map(num_classes, size)
        inputs = 1 + bool(num_classes) + image_channels
        self.conv1 = nn.Conv2d(inputs, channels, 7, padding=3)
        self.conv2 = nn.Conv2d(channels, channels, 7, padding=3)
        self.conv3 = nn.Conv2d(channels, image_channels, 5, padding=2)

    def forward(self, noise: Tensor, coarse: Tensor, labels: Tensor | None = None) -> Tensor:
        seen = [noise, coarse] if self.classes is None else [noise, self.classes(labels), coarse]
        x = self.conv1(torch.cat(seen, 1)).relu()
        return self.conv3(self.conv2(x).relu())


class ResidualDiscriminator(nn.Module):
    """Residuals and the coarse images they belong to, `[N, C, S, S]`, labels -> logits `[N]`.

    It judges their sum, by two 5 x 5 convolutions without padding.
    """

    def __init__(
        self,
        size: int,
        *,
        image_channels: int = 3,
        channels: int = 64,
        num_classes: int = 0,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.classes = class_map(num_classes, size)
        self.conv1 = nn.Conv2d(image_channels + bool(num_classes), channels, 5)
        self.conv2 = nn.Conv2d(channels, channels, 5, stride=2)
        self.dropout = nn.Dropout(dropout)
        side = (size - 4 - 5) // 2 + 1
        self.linear = nn.Linear(channels * side**2, 1)

    def forward(self, residual: Tensor, coarse: Tensor, labels: Tensor | None = None) -> Tensor:
        image = residual + coarse
        if self.classes is not None:
            image = torch.cat([image, self.classes(labels)], 1)
        x = self.conv2(self.conv1(image).relu()).flatten(1).relu()
        return self.linear(self.dropout(x)).squeeze(1)


class CoarseGenerator(nn.Module):
    """`[N, z_dim]` in [-1, 1] and labels -> the coarsest images `[N, C, S, S]`, unbounded.

    Two hidden layers, ReLU then sigmoid; weights from N(0, 0.05).
    """

    def __init__(
        self,
        size: int,
        *,
        z_dim: int = 100,
        image_channels: int = 3,
        width: int = 8000,
        num_classes: int = 0,
    ):
        super().__init__()
        self.shape, self.num_classes = (image_channels, size, size), num_classes
        self.linear1 = nn.Linear(z_dim + num_classes, width)
        self.linear2 = nn.Linear(width, width)
        self.linear3 = nn.Linear(width, image_channels * size**2)
        init_linear(self, 0.05)

    def forward(self, z: Tensor, coarse: None = None, labels: Tensor | None = None) -> Tensor:
        x = self.linear1(with_class(z, labels, self.num_classes)).relu()
        return self.linear3(self.linear2(x).sigmoid()).unflatten(1, self.shape)


class CoarseDiscriminator(nn.Module):
    """The coarsest images `[N, C, S, S]` and labels -> logits `[N]`; weights from N(0, 0.005)."""

    def __init__(
        self,
        size: int,
        *,
        image_channels: int = 3,
        width: int = 1600,
        num_classes: int = 0,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.linear1 = nn.Linear(image_channels * size**2 + num_classes, width)
        self.linear2 = nn.Linear(width, width)
        self.linear3 = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        init_linear(self, 0.005)

    def forward(self, image: Tensor, coarse: None = None, labels: Tensor | None = None) -> Tensor:
        x = with_class(image.flatten(1), labels, self.num_classes)
        x = self.dropout(self.linear1(x).relu())
        x = self.dropout(self.linear2(x).relu())
        return self.linear3(x).squeeze(1)


class Pyramid(nn.Module):
    """The whole chain `[N, z_dim]` -> images `[N, C, S, S]` in [-1, 1]: a generator per level.

    `z` holds the noise of every level, the coarsest first. `noise_shapes` say its parts.
    """

    def __init__(self, generators: list[nn.Module], sides: list[int], *, z_dim: int):
        super().__init__()
        self.generators, self.sides = nn.ModuleList(generators), sides
        self.noise_shapes = [(z_dim,), *((1, side, side) for side in sides[1:])]

    @property
    def z_dim(self) -> int:
        return sum(math.prod(shape) for shape in self.noise_shapes)

    def images(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """What every level makes, the coarsest first: `[N, C, side, side]` each, unbounded."""
        parts = z.split([math.prod(shape) for shape in self.noise_shapes], 1)
        found: list[Tensor] = []
        for i, part in enumerate(parts):
            found.append(self.grow(i, part, found[-1] if i else None, labels))
        return found

    def grow(self, level: int, noise: Tensor, image: Tensor | None, labels: Tensor | None):
        """A level's images from those of the level before."""
        side, noise = self.sides[level], noise.unflatten(1, self.noise_shapes[level])
        coarse = None if image is None else pyramid_scale(image, (side, side))
        detail = self.generators[level](noise, coarse, labels)
        return detail if coarse is None else coarse + detail

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.images(z, labels)[-1].clamp(-1, 1)


def with_class(x: Tensor, labels: Tensor | None, num_classes: int) -> Tensor:
    """`[N, D]` with the one-hot class behind it, where there are classes."""
    if not num_classes:
        return x
    return torch.cat([x, F.one_hot(labels, num_classes).to(x.dtype)], 1)


def init_linear(net: nn.Module, std: float) -> None:
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
            nn.init.zeros_(module.bias)
