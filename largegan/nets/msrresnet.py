"""SRResNet without batch norm and long skip, on top of a bilinearly enlarged input.

Two published forms: MMagic's (as ESRGAN's authors first released it) and BasicSR's, which also has
an activation behind every pixel shuffle. Weights of one do not fit the function of the other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.nets.srresnet import factors, init_weights


class Block(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x).relu())


class MSRResNet(nn.Module):
    """Images `[N, C, H, W]` in [0, 1] -> `[N, C, scale H, scale W]`, about [0, 1].

    `activate_ups` puts a leaky ReLU 0.1 behind each pixel shuffle (BasicSR).
    """

    multiple = 1  # pixels in a cell: inputs may have any size

    def __init__(
        self,
        *,
        image_channels: int = 3,
        channels: int = 64,
        blocks: int = 16,
        scale: int = 4,
        activate_ups: bool = False,
    ):
        super().__init__()
        self.scale, self.activate_ups = scale, activate_ups
        self.stem = nn.Conv2d(image_channels, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(channels) for _ in range(blocks)])
        self.factors = factors(scale)
        self.ups = nn.ModuleList(
            nn.Conv2d(channels, channels * factor**2, 3, padding=1) for factor in self.factors
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_image = nn.Conv2d(channels, image_channels, 3, padding=1)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Kaiming-normal times 0.1; MMagic leaves the enlarging convolutions at full size."""
        init_weights(self, scale=0.1)
        if not self.activate_ups:
            for up in self.ups:
                up.weight.mul_(10)

    @property
    def halo(self) -> int:
        """Input pixels to each side that an output pixel depends on."""
        return 1 + 2 * len(self.blocks) + len(self.ups) + 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(F.leaky_relu(self.stem(x), 0.1))
        for factor, up in zip(self.factors, self.ups, strict=True):
            y = F.pixel_shuffle(up(y), factor)  # [N, channels, factor H, factor W]
            y = F.leaky_relu(y, 0.1) if self.activate_ups else y
        y = self.to_image(F.leaky_relu(self.conv(y), 0.1))
        return y + F.interpolate(x, size=y.shape[-2:], mode="bilinear", align_corners=False)
