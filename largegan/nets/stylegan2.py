"""StyleGAN2's synthesis network (Karras et al., 2020); its mapping is `stylegan2_mapping.py`.

Images may have any height and width: both are halved until one of them is odd or below 8, and
what is left is the smallest block (512 x 256 starts from 8 x 4). Under autocast the convolutions
use its sixteen bits; mapping, styles, demodulation and the sum of images stay in float32.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    scaled_act,
    scaled_bias_act,
)
from largegan.layers.precision import compute_dtype, exact
from largegan.nets.stylegan2_mapping import Mapping
from largegan.ops import modulated_conv2d, modulated_conv2d_act, taps, upsample2d

Architecture = Literal["skip", "resnet", "orig"]
NoiseMode = Literal["random", "const", "none"]
Size = tuple[int, int]  # height, width
RESIDUAL_GAIN = 0.5**0.5  # two branches of a residual block add up to unit variance
LARGEST_START = 64 * 64  # pixels of the smallest block; more means a size that hardly halves


def block_sizes(height: int, width: int) -> list[Size]:
    """(height, width) of every block, from the smallest to the image's own."""
    sizes = [(height, width)]
    while all(side % 2 == 0 and side >= 8 for side in sizes[0]):
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    h, w = sizes[0]
    if min(h, w) < 4 or h * w > LARGEST_START:
        raise ConfigError(
            f"StyleGAN2 halves images down to a block of at least 4x4 and at most 64x64 pixels; "
            f"{height}x{width} ends at {h}x{w}: pack the data at sides that are multiples of a "
            "power of two, such as 256, 320 or 512"
        )
    return sizes


def widths(sizes: list[Size], base: int, most: int) -> list[int]:
    """Feature maps of every block: `base` over its longer side, at most `most`."""
    return [min(max(base // max(size), 1), most) for size in sizes]


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """What the blocks of both networks have in common."""

    image_channels: int = 3
    channel_base: int = 32768
    channel_max: int = 512
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    activation: str = "lrelu"
    conv_clamp: float | None = None

    @property
    def f(self) -> tuple[float, ...]:
        """The filter, its taps adding up to 1."""
        return taps(self.resample_filter)


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions(BlockOptions):
    """Options of `Synthesis`."""

    w_dim: int
    architecture: Architecture = "skip"
    use_noise: bool = True


class StyledConv(nn.Module):
    """Convolution modulated by w, then noise, bias, activation: `[N, I, H, W]` -> `[N, O, ...]`.

    `up` doubles the size. Noise is `strength` (learned, from 0) times a map of normal numbers: new
    ones ("random"), this layer's own ("const", for pictures that repeat), or none.
    """

    def __init__(
        self, inputs: int, outputs: int, size: Size, options: SynthesisOptions, *, up: bool = False
    ):
        super().__init__()
        self.size, self.up, self.f = size, up, options.f
        self.activation, self.clamp = options.activation, options.conv_clamp
        self.use_noise = options.use_noise
        self.affine = EqualizedLinear(options.w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if self.use_noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise", torch.randn(size))

    def forward(self, x: Tensor, w: Tensor, *, noise: NoiseMode, gain: float = 1.0) -> Tensor:
        noisy = self.use_noise and noise != "none"
        return modulated_conv2d_act(
            x,
            self.weight,
            self.affine(w),
            up=2 if self.up else 1,
            padding=1,
            f=self.f,
            flip_weight=not self.up,
            noise=self.noise_map(x, noise) if noisy else None,
            noise_strength=self.noise_strength if noisy else None,
            bias=self.bias,
            **scaled_act(self.activation, gain=gain, clamp=self.clamp),
        )

    def noise_map(self, x: Tensor, mode: NoiseMode) -> Tensor:
        """`[N, 1, H, W]` or `[H, W]`."""
        fresh = mode == "random"
        return torch.randn(x.shape[0], 1, *self.size, device=x.device) if fresh else self.noise


class ToImage(nn.Module):
    """1 x 1 modulated convolution without demodulation: features -> `[N, channels, H, W]`."""

    def __init__(self, inputs: int, channels: int, *, w_dim: int, clamp: float | None):
        super().__init__()
        self.clamp, self.style_gain = clamp, 1 / inputs**0.5
        self.affine = EqualizedLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) * self.style_gain
        x = modulated_conv2d(x, self.weight, style, demodulate=False)
        return scaled_bias_act(x, self.bias, "linear", gain=1.0, clamp=self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: (features, image) at half the size -> both at this size.

    The first block has no input but a learned constant, and one convolution instead of two. `image`
    says whether it draws one: always in "skip", at full size only in "resnet" and "orig".
    """

    def __init__(
        self, inputs: int, outputs: int, size: Size, options: SynthesisOptions, *, image: bool
    ):
        super().__init__()
        o, self.f = options, options.f
        first = inputs == 0
        self.const = nn.Parameter(torch.randn(outputs, *size)) if first else None
        self.conv0 = None if first else StyledConv(inputs, outputs, size, o, up=True)
        self.conv1 = StyledConv(outputs, outputs, size, o)
        self.to_image = None
        if image:
            self.to_image = ToImage(outputs, o.image_channels, w_dim=o.w_dim, clamp=o.conv_clamp)
        self.skip = None
        if o.architecture == "resnet" and not first:
            self.skip = EqualizedConv2d(
                inputs, outputs, 1, activation="linear", bias=False, up=2, f=self.f
            )
        self.num_convs = 1 if first else 2

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, *, noise: NoiseMode
    ) -> tuple[Tensor, Tensor | None]:
        """`ws` `[N, num_convs + 1, w_dim]`: one for each convolution, the last for the image."""
        if self.conv0 is None:
            x = self.conv1(x, ws[:, 0], noise=noise)
        elif self.skip is None:
            x = self.conv0(x, ws[:, 0], noise=noise)
            x = self.conv1(x, ws[:, 1], noise=noise)
        else:
            y = self.skip(x, gain=RESIDUAL_GAIN)
            x = self.conv0(x, ws[:, 0], noise=noise)
            x = y + self.conv1(x, ws[:, 1], noise=noise, gain=RESIDUAL_GAIN)
        if image is not None:
            image = upsample2d(image, self.f)
        if self.to_image is not None:
            drawn = self.to_image(x, ws[:, self.num_convs]).to(ws.dtype)
            image = drawn if image is None else image + drawn
        return x, image


class Synthesis(nn.Module):
    """ws `[N, num_ws, w_dim]` -> images `[N, channels, H, W]`, around [-1, 1] but not bounded.

    Every convolution has a w of its own; an image shares the w of the next block's first one.
    """

    def __init__(self, height: int, width: int, options: SynthesisOptions):
        super().__init__()
        sizes, every = block_sizes(height, width), options.architecture == "skip"
        features = [0, *widths(sizes, options.channel_base, options.channel_max)]
        self.blocks = nn.ModuleList(
            SynthesisBlock(inputs, outputs, size, options, image=every or size == sizes[-1])
            for (inputs, outputs), size in zip(pairwise(features), sizes, strict=True)
        )
        self.num_ws = sum(block.num_convs for block in self.blocks) + 1

    def forward(self, ws: Tensor, *, noise: NoiseMode = "random") -> Tensor:
        const = self.blocks[0].const
        x = const.to(compute_dtype(ws)).expand(ws.shape[0], -1, -1, -1)  # [N, C, 4, 4]
        image, used = None, 0
        with exact(ws):
            for block in self.blocks:
                x, image = block(x, image, ws[:, used : used + block.num_convs + 1], noise=noise)
                used += block.num_convs
        return image


class Generator(nn.Module):
    """Latents and conditions -> images: `synthesis(mapping(z, c))`; StyleGAN3's, too."""

    entrances = ("mapping", "synthesis")  # losses use them one by one

    def __init__(self, mapping: Mapping, synthesis: nn.Module):
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
        **how: Any,
    ) -> Tensor:
        """`how` goes to the synthesis: `noise`, or what moves StyleGAN3's input."""
        return self.synthesis(self.mapping(z, c, truncation=truncation, cutoff=cutoff), **how)
