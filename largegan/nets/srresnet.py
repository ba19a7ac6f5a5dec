"""SRGAN's generator, SRResNet, and its discriminator (Ledig et al., 2017, arXiv 1609.04802)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.plain_norm import BatchNorm2d

Norm = Literal["batch", "none"]


def init_weights(net: nn.Module, *, scale: float = 1.0) -> None:
    """Kaiming-normal convolutions (fan in, gain sqrt 2) times `scale`, biases 0, gains 1."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data.mul_(scale)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Upsample(nn.Module):
    """A convolution to `factor`^2 times the channels, pixel shuffle, and one PReLU slope."""

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels * factor**2, 3, padding=1)
        self.shuffle, self.act = nn.PixelShuffle(factor), nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shuffle(self.conv(x)))  # [N, C, factor H, factor W]


class Block(nn.Module):
    """x + norm(conv(PReLU(norm(conv(x)))))."""

    def __init__(self, channels: int, norm: Norm):
        super().__init__()
        self.conv1, self.norm1 = conv3(channels, channels, norm), norm2d(channels, norm)
        self.conv2, self.norm2 = conv3(channels, channels, norm), norm2d(channels, norm)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        return x + self.norm2(self.conv2(y))


def conv3(inputs: int, outputs: int, norm: Norm, stride: int = 1) -> nn.Conv2d:
    """3 x 3; a batch norm behind it has the bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=norm == "none")


def norm2d(features: int, norm: Norm) -> nn.Module:
    return BatchNorm2d(features) if norm == "batch" else nn.Identity()


def factors(scale: int) -> list[int]:
    """Enlargements by 2 (or once by 3) whose product is `scale`."""
    found = []
    while scale % 2 == 0:
        found.append(2)
        scale //= 2
    return found + [scale] * (scale > 1)


class SRResNet(nn.Module):
    """Images `[N, C, H, W]` in [0, 1] -> `[N, C, scale H, scale W]`, about [0, 1].

    Figure 4: 9 x 9 convolutions at both ends, `blocks` residual blocks with a long skip, pixel
    shuffles. The output is not clamped: where it were, nothing would be learned.
    """

    multiple = 1  # pixels in a cell: inputs may have any size

    def __init__(
        self,
        *,
        image_channels: int = 3,
        channels: int = 64,
        blocks: int = 16,
        scale: int = 4,
        norm: Norm = "batch",
    ):
        super().__init__()
        self.scale = scale
        self.stem, self.stem_act = nn.Conv2d(image_channels, channels, 9, padding=4), nn.PReLU()
        self.blocks = nn.Sequential(*[Block(channels, norm) for _ in range(blocks)])
        self.conv, self.norm = conv3(channels, channels, norm), norm2d(channels, norm)
        self.ups = nn.Sequential(*[Upsample(channels, factor) for factor in factors(scale)])
        self.to_image = nn.Conv2d(channels, image_channels, 9, padding=4)
        init_weights(self)

    @property
    def halo(self) -> int:
        """Input pixels to each side that an output pixel depends on."""
        return 4 + 2 * len(self.blocks) + 1 + len(self.ups) + 4

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem_act(self.stem(x))
        deep = stem + self.norm(self.conv(self.blocks(stem)))
        return self.to_image(self.ups(deep))


class Discriminator(nn.Module):
    """Images `[N, C, size, size]` -> logits `[N]`: eight convolutions, every second one halves.

    Widths double from `channels` to 8 times that; batch norm but on the first; then 1024 units.
    """

    def __init__(
        self, size: int = 96, *, image_channels: int = 3, channels: int = 64, norm: Norm = "batch"
    ):
        super().__init__()
        widths = [channels * f for f in (1, 1, 2, 2, 4, 4, 8, 8)]
        self.from_image = nn.Conv2d(image_channels, channels, 3, padding=1)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for i in range(1, 8):
            self.convs.append(conv3(widths[i - 1], widths[i], norm, stride=1 + i % 2))
            self.norms.append(norm2d(widths[i], norm))
        side = -(-size // 16)
        self.dense, self.score = nn.Linear(widths[-1] * side**2, 1024), nn.Linear(1024, 1)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.from_image(x), 0.2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        x = F.leaky_relu(self.dense(x.flatten(1)), 0.2)  # [N, 1024]
        return self.score(x).squeeze(1)
