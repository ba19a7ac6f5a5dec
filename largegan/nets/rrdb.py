"""ESRGAN's generator: residual-in-residual dense blocks (Wang et al., 2018, arXiv 1809.00219)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.nets.srresnet import init_weights


class DenseBlock(nn.Module):
    """Five convolutions, each on all that came before; x + 0.2 of the last (figure 4)."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        widths = [growth] * 4 + [channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(channels + i * growth, width, 3, padding=1) for i, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in self.convs[:-1]:
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), 0.2))
        return x + 0.2 * self.convs[-1](torch.cat(seen, 1))


class RRDB(nn.Sequential):
    """x + 0.2 of three dense blocks in a row."""

    def __init__(self, channels: int, growth: int):
        super().__init__(*[DenseBlock(channels, growth) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * super().forward(x)


class RRDBNet(nn.Module):
    """Images `[N, C, H, W]` in [0, 1] -> `[N, C, scale H, scale W]`, about [0, 1].

    It always enlarges by 4; for `scale` 2 or 1 the input is folded into channels first, so its
    sides must be multiples of `multiple`, 4 / scale.
    """

    def __init__(
        self,
        *,
        image_channels: int = 3,
        channels: int = 64,
        blocks: int = 23,
        growth: int = 32,
        scale: int = 4,
    ):
        super().__init__()
        if scale not in (1, 2, 4):
            raise ConfigError(f"an RRDB network enlarges by 1, 2 or 4, not by {scale}")
        self.scale, self.multiple = scale, 4 // scale
        folded = image_channels * self.multiple**2
        self.stem = nn.Conv2d(folded, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[RRDB(channels, growth) for _ in range(blocks)])
        self.body = nn.Conv2d(channels, channels, 3, padding=1)
        self.ups = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_image = nn.Conv2d(channels, image_channels, 3, padding=1)
        init_weights(self, scale=0.1)

    @property
    def halo(self) -> int:
        """Input pixels to each side that an output pixel depends on: whole folded cells."""
        return (1 + 15 * len(self.blocks) + 1 + len(self.ups) + 2) * self.multiple

    def forward(self, x: Tensor) -> Tensor:
        if self.multiple > 1:
            x = F.pixel_unshuffle(x, self.multiple)
        stem = self.stem(x)
        y = stem + self.body(self.blocks(stem))
        for up in self.ups:
            y = F.leaky_relu(up(F.interpolate(y, scale_factor=2.0, mode="nearest")), 0.2)
        return self.to_image(F.leaky_relu(self.conv(y), 0.2))
