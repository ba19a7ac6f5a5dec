"""StyleGAN3's alias-free synthesis network (Karras et al., 2021, arXiv 2106.12423), T and R.

The image starts from Fourier features on a grid that a learned affine map of w rotates and shifts,
and each layer treats its signal as continuous: filters around the activation keep what it adds
below the sampling rate, and margins keep the borders out of sight. Configuration T has 3 x 3
convolutions; R has 1 x 1 ones and radially symmetric filters, so that it can also rotate.

Images may be oblong: the grid has square cells, its origin in the middle, and the shorter side is
the unit of all frequencies. Under autocast the convolutions use its sixteen bits; the Fourier
features, styles, demodulation and the image stay in float32.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.equalized import EqualizedLinear
from largegan.layers.lowpass import lowpass
from largegan.layers.precision import compute_dtype, exact
from largegan.layers.running_mean import RunningMean
from largegan.nets.stylegan2 import Generator
from largegan.nets.stylegan3_bands import Band, BandOptions, bands
from largegan.ops import conv2d, filtered_lrelu, modulated_conv2d
from largegan.ops.bias_act.activations import ROOT2
from largegan.ops.fir.filter import Taps

__all__ = ["W_AVG_BETA", "FourierFeatures", "Generator", "Synthesis", "SynthesisOptions"]
OVERSAMPLING = 2  # activations are computed at so many times the higher rate
W_AVG_BETA = 0.998


class FourierFeatures(nn.Module):
    """w `[N, w_dim]` -> `[N, channels, h, w]`: waves of random frequencies, moved and mixed.

    `transform` `[3, 3]` or `[N, 3, 3]` moves the picture besides: it maps places of the result to
    those they are read from, (x right, y down, 1), in units of the shorter side.
    """

    def __init__(self, band: Band, *, w_dim: int):
        super().__init__()
        self.band, channels = band, band.channels
        angle = 2 * math.pi * torch.rand(channels)
        radius = band.cutoff * torch.rand(channels).sqrt()  # uniform in the disc
        self.register_buffer("freqs", radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1))
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualizedLinear(w_dim, 4)
        with torch.no_grad():  # starts as it is: no rotation, no shift
            self.affine.weight.zero_()
            self.affine.bias[0] = 1.0

    def forward(self, w: Tensor, transform: Tensor | None = None) -> Tensor:
        place = self.learned_place(w)
        place = place if transform is None else place @ transform.to(place)
        freqs = self.freqs.to(place) @ place[:, :2, :2]  # [N, C, 2]
        phases = self.phases.to(place) + (self.freqs.to(place) @ place[:, :2, 2:]).squeeze(2)
        y, x = (along(n, self.band.rate, place) for n in self.band.size)
        turns = freqs[:, :, :1, None] * x + freqs[:, :, 1:, None] * y[:, None]
        waves = torch.sin(2 * math.pi * (turns + phases[:, :, None, None]))
        waves = waves * self.damping(freqs)[:, :, None, None]
        mixing = self.weight / self.weight.shape[1] ** 0.5
        return conv2d(waves, mixing[:, :, None, None])

    def learned_place(self, w: Tensor) -> Tensor:
        """`[N, 3, 3]`: a rotation, after a shift, each the inverse of what the picture does."""
        turn, shift = self.affine(w).split(2, dim=1)
        length = turn.norm(dim=1, keepdim=True)
        (c, s), (x, y) = (turn / length).unbind(1), (shift / length).unbind(1)
        zero, one = torch.zeros_like(c), torch.ones_like(c)
        rotated = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], 1).view(-1, 3, 3)
        shifted = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).view(-1, 3, 3)
        return rotated @ shifted

    def damping(self, freqs: Tensor) -> Tensor:
        """`[N, C]`: 1 within the band, falling to 0 where the grid cannot show a frequency."""
        beyond = freqs.norm(dim=2) - self.band.cutoff
        return (1 - beyond / (self.band.rate / 2 - self.band.cutoff)).clamp(0, 1)


def along(samples: int, rate: int, like: Tensor) -> Tensor:
    """`[samples]`: where they lie, in units of the shorter side, 0 in the middle."""
    count = torch.arange(samples, device=like.device, dtype=like.dtype)
    return (count + 0.5 - samples / 2) / rate


class Magnitude(RunningMean):
    """The running mean square of a layer's input, whose root the layer divides by.

    Half of it is forgotten in `halflife_nimg` images. A forward that is tracked already uses the
    mean as it will be after its (micro-)batch, as published.
    """

    def __init__(self, halflife_nimg: float):
        super().__init__(beta=1.0)
        self.halflife_nimg = halflife_nimg
        self.mean.fill_(1.0)

    def set_batch_size(self, batch_size: int) -> None:
        self.beta = 0.5 ** (batch_size / self.halflife_nimg)

    def forward(self, x: Tensor, *, track: bool) -> Tensor:
        """The factor for `x` `[N, C, H, W]`, a scalar."""
        if not track:
            return self.mean.rsqrt()
        squares = x.detach().to(self.mean.dtype).square().mean([1, 2, 3])
        self.add(squares)
        return torch.lerp(squares.mean(), self.mean, self.beta).rsqrt()


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions(BandOptions):
    """Options of `Synthesis`; `radial` filters and a `kernel` of 1 make it R."""

    w_dim: int
    kernel: int = 3
    filter_size: int = 6
    radial: bool = False
    conv_clamp: float | None = 256.0
    magnitude_halflife_nimg: float = 20_000
    output_scale: float = 0.25


class Layer(nn.Module):
    """Modulated convolution, then a leaky ReLU between two filters: one band -> the next.

    `image` marks the last layer, which has neither demodulation nor filters nor activation.
    """

    def __init__(
        self,
        before: Band,
        after: Band,
        options: SynthesisOptions,
        *,
        radial: bool,
        image: bool,
    ):
        super().__init__()
        filter_size = options.filter_size
        self.image, self.clamp, self.size = image, options.conv_clamp, after.size
        high = max(before.rate, after.rate) * (1 if image else OVERSAMPLING)
        self.up, self.down = high // before.rate, high // after.rate
        self.f_up = design(before, self.up, high, filter_size, radial=False)
        self.f_down = design(after, self.down, high, filter_size, radial=radial)
        self.kernel = 1 if image else options.kernel
        self.padding = self.paddings(before.size, after.size)
        self.affine = EqualizedLinear(options.w_dim, before.channels, bias_init=1.0)
        self.weight = nn.Parameter(
            torch.randn(after.channels, before.channels, self.kernel, self.kernel)
        )
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.magnitude = Magnitude(options.magnitude_halflife_nimg)

    def paddings(self, before: tuple[int, int], after: tuple[int, int]) -> list[int]:
        """Left, right, top and bottom padding at the high rate (negative: cropping)."""
        found = []
        for n, m in zip(reversed(before), reversed(after), strict=True):  # x, y
            convolved = (n + self.kernel - 1) * self.up
            needed = (m - 1) * self.down + 1 + taps_of(self.f_up) + taps_of(self.f_down) - 2
            total = needed - convolved
            # Samples stand for the middle of their cells: the extra shift keeps centers together.
            found += [(total + self.up) // 2, total - (total + self.up) // 2]
        return found

    def forward(self, x: Tensor, w: Tensor, *, track: bool) -> Tensor:
        gain, style = self.magnitude(x, track=track), self.affine(w)
        if self.image:
            weight, style = self.weight, style / self.weight[0].numel() ** 0.5
        else:
            weight, style = unit_mean_square(self.weight, (1, 2, 3)), unit_mean_square(style, (1,))
        x = modulated_conv2d(
            x,
            weight,
            style,
            demodulate=not self.image,
            gain=gain,
            padding=self.kernel - 1,
        )
        return filtered_lrelu(
            x,
            self.f_up,
            self.f_down,
            self.bias.to(x.dtype),
            up=self.up,
            down=self.down,
            padding=self.padding,
            gain=1.0 if self.image else ROOT2,
            slope=1.0 if self.image else 0.2,
            clamp=self.clamp,
        )


def unit_mean_square(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Scaled to a mean square of 1 over `dims`.

    Demodulation takes these scales back; they keep sixteen bits from overflowing. As published the
    styles of a batch are scaled together, which therefore makes no difference.
    """
    return x * x.square().mean(dims, keepdim=True).rsqrt()


def design(band: Band, factor: int, rate: int, filter_size: int, *, radial: bool) -> Taps | None:
    """The filter that takes a band to or from a rate `factor` times higher; None for the same."""
    if factor == 1:
        return None
    if filter_size < 1:
        raise ConfigError(f"StyleGAN3's filter_size is {filter_size}; it must be at least 1")
    taps = filter_size * factor
    return lowpass(taps, cutoff=band.cutoff, width=2 * band.half_width, rate=rate, radial=radial)


def taps_of(f: Taps | None) -> int:
    return 1 if f is None else len(f)


class Synthesis(nn.Module):
    """ws `[N, num_ws, w_dim]` -> images `[N, channels, H, W]`, around [-1, 1] but not bounded.

    The first w moves the Fourier features, and each layer has one of its own.
    """

    def __init__(
        self,
        height: int,
        width: int,
        options: SynthesisOptions,
    ):
        super().__init__()
        o, found = options, bands(height, width, options)
        self.output_scale = o.output_scale
        self.input = FourierFeatures(found[0], w_dim=o.w_dim)
        self.layers = nn.ModuleList(
            Layer(
                before,
                after,
                o,
                radial=o.radial and i < o.layers - o.critical,
                image=i == o.layers,
            )
            for i, (before, after) in enumerate(pairwise([found[0], *found]))
        )
        self.num_ws = 1 + len(self.layers)

    def forward(
        self, ws: Tensor, *, transform: Tensor | None = None, track: bool = False
    ) -> Tensor:
        """`transform` moves the input (see `FourierFeatures`); `track` updates magnitudes."""
        dtype = compute_dtype(ws)
        with exact(ws):
            x = self.input(ws[:, 0], transform).to(dtype)
            for i, layer in enumerate(self.layers):
                x = layer(x, ws[:, 1 + i], track=track)
            return x.to(ws.dtype) * self.output_scale
