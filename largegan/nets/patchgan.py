"""Discriminators that judge patches (Isola et al., 2017, appendix 6.1.2): logits `[N, 1, h, w]`."""

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.plain_norm import Norm, has_bias, init_weights, norm2d
from largegan.layers.resample import BlurDown


class PatchGAN(nn.Module):
    """C64-C128-C256-C512 and a logit: 70 x 70 patches with the published three `layers`.

    Args:
        in_channels: colors it sees; both images together where it judges pairs.
        channels: width of the first layer; it doubles up to eight times that.
        layers: halvings; 1 sees 16 pixels, 2 sees 34, 3 sees 70, 4 sees 142, 5 sees 286.
        norm: "instance" (CycleGAN), "batch" (pix2pix) or "none"; never in the first layer.
        antialias: blur filters (CUT) instead of strides.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        channels: int = 64,
        layers: int = 3,
        norm: Norm = "instance",
        antialias: bool = False,
    ):
        super().__init__()
        if layers < 1:
            raise ConfigError(f"a PatchGAN has at least one layer, not {layers}")
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        # The first has no norm and so a bias; the one before the logits keeps the size.
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            inputs = widths[i - 1] if i else in_channels
            stride = 2 if i < layers and not antialias else 1
            bias = has_bias(norm) or i == 0
            self.convs.append(nn.Conv2d(inputs, width, 4, stride, 1, bias=bias))
            self.norms.append(norm2d(norm, width) if i else nn.Identity())
        self.blurs = nn.ModuleList(
            BlurDown() if antialias and i < layers else nn.Identity() for i in range(layers + 1)
        )
        self.score = nn.Conv2d(widths[-1], 1, 4, 1, 1)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm, blur in zip(self.convs, self.norms, self.blurs, strict=True):
            x = blur(F.leaky_relu_(norm(conv(x)), 0.2))  # in place: nothing needs what was there
        return self.score(x)  # [N, 1, h, w]


class PixelGAN(nn.Module):
    """Judges every pixel by itself: 1 x 1 convolutions C64-C128 and a logit for each pixel."""

    def __init__(self, in_channels: int = 3, *, channels: int = 64, norm: Norm = "instance"):
        super().__init__()
        bias = has_bias(norm)
        self.conv1 = nn.Conv2d(in_channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 1, bias=bias)
        self.norm = norm2d(norm, 2 * channels)
        self.score = nn.Conv2d(2 * channels, 1, 1, bias=bias)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv1(x), 0.2)
        x = F.leaky_relu(self.norm(self.conv2(x)), 0.2)
        return self.score(x)  # [N, 1, H, W]


def discriminator(
    in_channels: int, *, size: int, channels: int, layers: int, norm: Norm, antialias: bool
) -> nn.Module:
    """A PatchGAN with `layers` halvings, or a PixelGAN where there are 0.

    Raises `ConfigError` when images of `size` pixels leave it nothing to judge.
    """
    if layers == 0:
        return PixelGAN(in_channels, channels=channels, norm=norm)
    side = size
    for _ in range(layers):
        side = side // 2
    # The last convolution but one still has a norm, which needs more than one value.
    if side < 3:
        raise ConfigError(
            f"images of {size} pixels are too small for a discriminator that halves them {layers} "
            "times; lower recipe.d_layers"
        )
    return PatchGAN(in_channels, channels=channels, layers=layers, norm=norm, antialias=antialias)
