"""Networks of adversarially learned inference (Dumoulin et al., 2017, arXiv 1606.00704).

The layers are those published for 32 pixels (SVHN; without the paper's maxout), by a rule that
leads every size from 8 pixels on to 1 x 1: a 5 x 5, then 4 x 4 with strides 2 and 1 in turns, then
one as large as what is left. The decoder is the encoder's mirror.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError

Norm = Literal["batch", "none"]
SLOPE = 0.01


def kernels(size: int) -> list[tuple[int, int]]:
    """(kernel, stride) of the layers that lead `size` pixels to one."""
    if size < 8:
        raise ConfigError(f"ALI's networks need images of at least 8 pixels, not {size}")
    found, stride = [(5, 1)], 2
    size -= 4
    while size > 4:
        found.append((4, stride))
        size, stride = (size - 4) // stride + 1, 3 - stride
    return [*found, (size, 1)]


def widths(channels: int, count: int) -> list[int]:
    """`channels`, doubled from layer to layer, up to 16 times that."""
    return [channels << min(i, 4) for i in range(count)]


class Layer(nn.Module):
    """A convolution, batch norm (without: a bias), dropout of maps, leaky ReLU."""

    def __init__(self, conv: nn.Module, features: int, *, norm: bool, dropout: float, slope: float):
        super().__init__()
        self.conv, self.slope = conv, slope
        self.norm = nn.BatchNorm2d(features) if norm else nn.Identity()
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.dropout(self.norm(self.conv(x))), self.slope)


@dataclass(frozen=True, kw_only=True)
class NetOptions:
    """Options of all three networks."""

    z_dim: int = 64
    image_channels: int = 3
    channels: int = 32
    norm: Norm = "batch"
    slope: float = SLOPE


def pyramid(
    size: int, options: NetOptions, *, bare: int = 0, dropout: float = 0.0
) -> nn.Sequential:
    """Images `[N, C, size, size]` -> `[N, F, 1, 1]`; the first `bare` layers have no norm."""
    layers, inputs, table = [], options.image_channels, kernels(size)
    rows = enumerate(zip(table, widths(options.channels, len(table)), strict=True))
    for i, ((kernel, stride), width) in rows:
        normed = options.norm == "batch" and i >= bare
        conv = nn.Conv2d(inputs, width, kernel, stride, bias=not normed)
        layers.append(Layer(conv, width, norm=normed, dropout=dropout, slope=options.slope))
        inputs = width
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """Images `[N, C, S, S]` in [-1, 1] -> mean and log deviation of z, `[N, z_dim]` each."""

    def __init__(self, size: int, options: NetOptions | None = None):
        super().__init__()
        o = options or NetOptions()
        self.convs = pyramid(size, o)
        top = widths(o.channels, len(self.convs))[-1]
        conv = nn.Conv2d(top, top, 1, bias=o.norm == "none")
        self.mix = Layer(conv, top, norm=o.norm == "batch", dropout=0.0, slope=o.slope)
        self.to_z = nn.Conv2d(top, 2 * o.z_dim, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.to_z(self.mix(self.convs(images))).flatten(1).chunk(2, 1)
        return mean, log_std


class Decoder(nn.Module):
    """`[N, z_dim]` -> images `[N, C, S, S]`, squashed into [-1, 1]."""

    def __init__(
        self, size: int, options: NetOptions, *, squash: Callable[[Tensor], Tensor] = torch.tanh
    ):
        super().__init__()
        o, self.squash, table = options, squash, kernels(size)
        normed, slope = o.norm == "batch", o.slope
        outputs = [o.channels, *widths(o.channels, len(table))[:-1]]
        layers, inputs = [], o.z_dim
        for (kernel, stride), width, gap in zip(
            reversed(table), reversed(outputs), reversed(gaps(size)), strict=True
        ):
            conv = nn.ConvTranspose2d(
                inputs, width, kernel, stride, output_padding=gap, bias=not normed
            )
            layers.append(Layer(conv, width, norm=normed, dropout=0.0, slope=slope))
            inputs = width
        mix = nn.ConvTranspose2d(inputs, inputs, 1)
        layers.append(Layer(mix, inputs, norm=normed, dropout=0.0, slope=slope))
        self.convs = nn.Sequential(*layers)
        self.to_image = nn.Conv2d(inputs, o.image_channels, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.squash(self.to_image(self.convs(z[:, :, None, None])))


def gaps(size: int) -> list[int]:
    """Pixels that each layer of `kernels(size)` does not reach; its mirror has to add them."""
    found = []
    for kernel, stride in kernels(size):
        found.append((size - kernel) % stride)
        size = (size - kernel) // stride + 1
    return found


class JointDiscriminator(nn.Module):
    """Images `[N, C, S, S]` together with latents `[N, z_dim]` -> logits `[N]`.

    Both have a network of their own before they meet, with dropout and, for z, without norm.
    """

    def __init__(self, size: int, options: NetOptions, *, dropout: float = 0.2):
        super().__init__()
        self.x = pyramid(size, options, bare=1, dropout=dropout)
        width = widths(options.channels, len(self.x))[-1]
        top, slope, z_dim = 16 * options.channels, options.slope, options.z_dim

        def bare(inputs: int, outputs: int, *, bias: bool) -> Layer:
            conv = nn.Conv2d(inputs, outputs, 1, bias=bias)
            return Layer(conv, outputs, norm=False, dropout=dropout, slope=slope)

        self.z = nn.Sequential(bare(z_dim, top, bias=False), bare(top, top, bias=False))
        self.both = nn.Sequential(
            bare(width + top, 2 * top, bias=True), bare(2 * top, 2 * top, bias=True)
        )
        self.score = nn.Conv2d(2 * top, 1, 1)

    def forward(self, images: Tensor, z: Tensor) -> Tensor:
        met = torch.cat([self.x(images), self.z(z[:, :, None, None])], 1)  # [N, F, 1, 1]
        return self.score(self.both(met)).flatten()


def init_weights(net: nn.Module) -> None:
    """Convolutions from N(0, 0.01), gains of batch norm from N(1, 0.01), biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.01)
