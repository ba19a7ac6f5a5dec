"""DCGAN (Radford et al., 2016): strided convolutions, batch norm, nothing fully connected."""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.dropout import Drops

Norm = Literal["batch", "none"]
Upsample = Literal["transposed", "nearest"]


def stages(resolution: int) -> int:
    """How often 4 x 4 must double to reach `resolution`, a power of two from 16 on."""
    if resolution < 16 or resolution & (resolution - 1):
        raise ConfigError(
            f"DCGAN networks need images of 16, 32, 64, ... pixels, not {resolution}; "
            "pack the data at one of these sizes"
        )
    return resolution.bit_length() - 3


def _norm(features: int, norm: Norm) -> nn.Module:
    return nn.BatchNorm2d(features) if norm == "batch" else nn.Identity()


def init_weights(net: nn.Module) -> None:
    """Section 4: all weights from N(0, 0.02); batch-norm gains start at one."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class ResizedConv(nn.Conv2d):
    """`[N, inputs, H, W]` -> `[N, outputs, 2H, 2W]`: nearest neighbor, then 3 x 3.

    Every output pixel is made by the same weights (Odena et al., 2016, "Deconvolution and
    Checkerboard Artifacts"); a transposed convolution of stride 2 has four sets of them.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True):
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2))


def doubling(inputs: int, outputs: int, upsample: Upsample, *, bias: bool = True) -> nn.Module:
    """A layer that doubles the size."""
    if upsample == "nearest":
        return ResizedConv(inputs, outputs, bias=bias)
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)


class Generator(Drops):
    """`[N, z_dim]` -> images in [-1, 1]; figure 1 is `Generator(64, channels=128, z_dim=100)`.

    `channels` is the width before the last layer; it doubles towards the 4 x 4 start, so that 64
    pixels have 1024-512-256-128. Batch norm and ReLU follow every layer but the last.
    """

    def __init__(
        self,
        resolution: int = 64,
        *,
        z_dim: int = 100,
        channels: int = 128,
        image_channels: int = 3,
        norm: Norm = "batch",
        upsample: Upsample = "transposed",
    ):
        super().__init__()
        widths = [channels << i for i in reversed(range(stages(resolution)))]
        bias = norm == "none"  # batch norm has its own
        self.project = nn.ConvTranspose2d(z_dim, widths[0], 4, bias=bias)
        self.project_norm = _norm(widths[0], norm)
        self.ups = nn.ModuleList()
        self.norms = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            self.ups.append(doubling(inputs, outputs, upsample, bias=bias))
            self.norms.append(_norm(outputs, norm))
        self.to_rgb = doubling(channels, image_channels, upsample)
        init_weights(self)

    def forward(self, z: Tensor) -> Tensor:
        x = self.project(z[:, :, None, None])  # [N, C, 4, 4]
        x = self.drop(F.relu(self.project_norm(x)))
        for up, norm in zip(self.ups, self.norms, strict=True):
            x = self.drop(F.relu(norm(up(x))))  # [N, C/2, 2H, 2W]
        return self.to_rgb(x).tanh()


class Discriminator(Drops):
    """Images `[N, C, R, R]` -> logits `[N]`: the generator's mirror, with leaky ReLU 0.2.

    No batch norm on the input layer and none on the output.
    """

    def __init__(
        self,
        resolution: int = 64,
        *,
        channels: int = 128,
        image_channels: int = 3,
        norm: Norm = "batch",
    ):
        super().__init__()
        widths = [channels << i for i in range(stages(resolution))]
        self.from_rgb = nn.Conv2d(image_channels, channels, 4, 2, 1)
        self.downs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            self.downs.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm == "none"))
            self.norms.append(_norm(outputs, norm))
        self.score = nn.Conv2d(widths[-1], 1, 4)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.leaky_relu(self.from_rgb(x), 0.2))  # [N, C, R/2, R/2]
        for down, norm in zip(self.downs, self.norms, strict=True):
            x = self.drop(F.leaky_relu(norm(down(x)), 0.2))  # [N, 2C, H/2, W/2]
        return self.score(x).flatten()  # [N]
