"""The U-Net that translates images (Isola et al., 2017, appendix 6.1): every encoder level is
concatenated to the decoder level of its size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.in_rows import ConvInRows, ConvTransposeInRows
from largegan.layers.plain_norm import Norm, has_bias, init_weights, norm2d
from largegan.layers.resample import pad_to_multiple

WIDTHS = (1, 2, 4, 8)  # of the levels as multiples of `channels`; 8 from there on
LEAST_LEVELS = 5  # as published: the first four widths, and an innermost level


class UNetGenerator(nn.Module):
    """Images `[N, in_channels, H, W]` in [-1, 1] -> `[N, out_channels, H, W]`, of any size.

    Sides that 2^levels does not divide are continued by reflection, and the result is cropped.

    Args:
        in_channels, out_channels: colors of the two domains.
        channels: width of the first level.
        levels: halvings; 8 is the published `unet_256`, 7 is `unet_128`. Not fewer than 5.
        norm: "batch" as published, "instance" or "none".
        dropout: 0.5 in the decoder levels of full width, save the innermost: three at 8 levels.
            While translating it is off.

    Raises:
        ConfigError: fewer than 5 levels.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        channels: int = 64,
        levels: int = 8,
        norm: Norm = "batch",
        dropout: bool = False,
    ):
        super().__init__()
        if levels < LEAST_LEVELS:
            raise ConfigError(f"a U-Net has at least {LEAST_LEVELS} levels, not {levels}")
        widths = [channels * WIDTHS[min(i, 3)] for i in range(levels)]
        self.levels, last, bias = levels, levels - 1, has_bias(norm)
        # The outermost level has no norm (and so a bias); the innermost has none on its way in.
        self.downs, self.down_norms = nn.ModuleList(), nn.ModuleList()
        self.ups, self.up_norms = nn.ModuleList(), nn.ModuleList()
        self.dropouts = nn.ModuleList()
        for i, width in enumerate(widths):
            outer = widths[i - 1] if i else in_channels
            # Levels of full width have small maps: 32 pixels and fewer of a 256-pixel image.
            conv = ConvInRows if i >= 3 else nn.Conv2d
            self.downs.append(conv(outer, width, 4, 2, 1, bias=bias))
            self.down_norms.append(norm2d(norm, width) if 0 < i < last else nn.Identity())
            outer = widths[i - 1] if i else out_channels
            inner = width if i == last else 2 * width
            transposed = ConvTransposeInRows if i >= 3 else nn.ConvTranspose2d
            self.ups.append(transposed(inner, outer, 4, 2, 1, bias=bias or i == 0))
            self.up_norms.append(norm2d(norm, outer) if i else nn.Identity())
            drops = dropout and 4 <= i < last
            self.dropouts.append(nn.Dropout(0.5) if drops else nn.Identity())
        init_weights(self)

    @property
    def multiple(self) -> int:
        """Pixels in a cell of the coarsest grid; inputs are padded to whole cells."""
        return 1 << self.levels

    @property
    def halo(self) -> int:
        """How far an output pixel sees through the convolutions, in pixels to each side, rounded
        up to whole cells. Norms over the image see all of it and are not counted."""
        return 4 * self.multiple  # two pixels a halving and one a doubling, summed over levels

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        skips = []
        for i, (down, norm) in enumerate(zip(self.downs, self.down_norms, strict=True)):
            x = norm(down(F.leaky_relu(x, 0.2) if i else x))  # [N, C, H/2, W/2]
            skips.append(x)
        x = skips.pop()
        for i in reversed(range(self.levels)):
            x = self.dropouts[i](self.up_norms[i](self.ups[i](x.relu_())))  # [N, C, 2H, 2W]
            if i:
                x = torch.cat([skips.pop(), x], 1)
        return x.tanh()[..., :h, :w]
