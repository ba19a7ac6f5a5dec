"""A U-Net that judges every pixel (Wang et al., 2021, Real-ESRGAN, arXiv 2107.10833)."""

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.spectral_norm import SNConv2d, Spectral

TORCHS = Spectral(eps=1e-12)


class UNetDiscriminator(nn.Module):
    """Images `[N, C, H, W]` -> logits `[N, 1, H, W]`; sides are multiples of 8.

    Three halvings to 8 times the width and back, with skips added behind the activations;
    spectral normalization on all but the first and the last layer.
    """

    def __init__(self, *, image_channels: int = 3, channels: int = 64):
        super().__init__()
        c = channels

        def layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> SNConv2d:
            return SNConv2d(inputs, outputs, kernel, stride, 1, bias=False, spectral=TORCHS)

        self.stem = nn.Conv2d(image_channels, c, 3, 1, 1)
        self.downs = nn.ModuleList(layer(c << i, c << (i + 1), 4, 2) for i in range(3))
        self.ups = nn.ModuleList(layer(c << (i + 1), c << i) for i in (2, 1, 0))
        self.convs = nn.ModuleList(layer(c, c) for _ in range(2))
        self.score = nn.Conv2d(c, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [F.leaky_relu(self.stem(x), 0.2)]
        for down in self.downs:
            maps.append(F.leaky_relu(down(maps[-1]), 0.2))  # [N, 2C, H/2, W/2]
        y = maps.pop()
        for up in self.ups:
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = F.leaky_relu(up(y), 0.2) + maps.pop()
        for conv in self.convs:
            y = F.leaky_relu(conv(y), 0.2)
        return self.score(y)
