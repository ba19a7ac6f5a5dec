"""FastGAN's generator as Projected GAN uses it (Liu et al., 2021; Sauer et al., 2021).

From 4 x 4 by doubling, gated linear units, noise, spectral norm on every map; and skip-layer
excitation, by which a small early map says how much each channel of a large late one matters. The
published generator begins at 128 pixels; here it ends where the image is reached, from 8 pixels
on, and has the excitations whose two maps are both there.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.cond_norm import ConditionalBatchNorm2d
from largegan.layers.spectral_norm import SNConv2d, SNConvTranspose2d, SNLinear, Spectral
from largegan.layers.transformer import rms_norm

SPECTRAL = Spectral(eps=1e-12)
WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 1 / 2, 512: 1 / 4, 1024: 1 / 8}
EXCITES = {64: 4, 128: 8, 256: 16, 512: 32}  # a large map, and the small one that weighs it
conv = partial(SNConv2d, spectral=SPECTRAL)


def spectral_linear(inputs: int, outputs: int, bias: bool = True) -> SNLinear:
    """With a bias, whatever is asked for: as published for gains and biases of classes."""
    return SNLinear(inputs, outputs, spectral=SPECTRAL)


class Norm(nn.Module):
    """Batch norm, with gain and bias of the condition `[N, condition_dim]` where there is one.

    "none" keeps the gains and leaves the batch out.
    """

    def __init__(self, features: int, condition_dim: int, norm: str):
        super().__init__()
        self.conditional = condition_dim > 0
        if self.conditional:
            self.norm = ConditionalBatchNorm2d(
                features,
                condition_dim,
                linear=spectral_linear,
                norm=BatchNorm2d,
                normalize=norm == "batch",
            )
        else:
            self.norm = BatchNorm2d(features) if norm == "batch" else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return self.norm(x, condition) if self.conditional else self.norm(x)


class Noise(nn.Module):
    """Adds noise `[N, 1, H, W]`, one weight for all; fresh in training, else always the same."""

    def __init__(self, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("fixed", torch.randn(1, 1, size, size))

    def forward(self, x: Tensor, fresh: bool) -> Tensor:
        noise = self.fixed.to(x.dtype)
        if fresh:
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=x.dtype, device=x.device)
        return x + self.weight * noise


class Up(nn.Module):
    """`[N, inputs, H, W]` -> `[N, outputs, 2H, 2W]`: one gated convolution, or two with noise."""

    def __init__(
        self, inputs: int, outputs: int, size: int, *, condition_dim: int, lite: bool, norm: str
    ):
        super().__init__()
        widths = [inputs] if lite else [inputs, outputs]
        self.convs = nn.ModuleList(conv(w, 2 * outputs, 3, 1, 1, bias=False) for w in widths)
        self.norms = nn.ModuleList(Norm(2 * outputs, condition_dim, norm) for _ in widths)
        # As published: with classes, both calls of a block share one weight.
        count = 0 if lite else 1 if condition_dim else 2
        self.noises = nn.ModuleList(Noise(size) for _ in range(count))

    def forward(self, x: Tensor, condition: Tensor | None, fresh: bool) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for i, (convolve, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = convolve(x)
            if self.noises:
                x = self.noises[min(i, len(self.noises) - 1)](x, fresh)
            x = F.glu(norm(x, condition), dim=1)
        return x


class Excitation(nn.Module):
    """`high` `[N, C, H, W]` times a number in (0, 1) a channel, from `low` `[N, C', h, w]`."""

    def __init__(self, low: int, high: int):
        super().__init__()
        self.squeeze = conv(low, high, 4, bias=False)
        self.excite = conv(high, high, 1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        x = F.silu(self.squeeze(F.adaptive_avg_pool2d(low, 4)))
        return high * torch.sigmoid(self.excite(x))


class Generator(nn.Module):
    """Latents `[N, z_dim]` (and labels `[N]`) -> images `[N, image_channels, size, size]`.

    Values have no bound (no tanh). `size` is 8, 16, ... 1024.

    Args:
        size: side of the image.
        z_dim: numbers in a latent; what counts is its direction.
        channels: unit of the widths: 16 of them at 4 x 4, 1 at 128.
        num_classes: 0 leaves classes out.
        image_channels: of the result.
        lite: one convolution a size and no noise.
        norm: "batch" or "none".
    """

    def __init__(
        self,
        size: int,
        *,
        z_dim: int = 256,
        channels: int = 128,
        num_classes: int = 0,
        image_channels: int = 3,
        lite: bool = False,
        norm: str = "batch",
    ):
        super().__init__()
        widths = {side: max(1, int(factor * channels)) for side, factor in WIDTHS.items()}
        condition_dim = z_dim if num_classes else 0
        self.embed = nn.Embedding(num_classes, z_dim) if num_classes else None
        self.start = SNConvTranspose2d(z_dim, 2 * widths[4], 4, bias=False, spectral=SPECTRAL)
        self.start_norm = Norm(2 * widths[4], 0, norm)
        sides = [side for side in widths if 4 < side <= size]
        shape = {"condition_dim": condition_dim, "lite": lite, "norm": norm}
        self.up = nn.ModuleDict(
            {str(side): Up(widths[side // 2], widths[side], side, **shape) for side in sides}
        )
        self.excite = nn.ModuleDict(
            {
                str(side): Excitation(widths[EXCITES[side]], widths[side])
                for side in sides
                if side in EXCITES
            }
        )
        self.to_image = conv(widths[size], image_channels, 3, 1, 1)

    def forward(
        self, z: Tensor, labels: Tensor | None = None, *, fresh_noise: bool | None = None
    ) -> Tensor:
        """`fresh_noise` None: in training mode only."""
        fresh = self.training if fresh_noise is None else fresh_noise
        condition = None if self.embed is None else self.embed(labels)
        x = self.start(rms_norm(z, 1e-8)[:, :, None, None])
        x = F.glu(self.start_norm(x, None), dim=1)
        maps = {4: x}
        for side, up in self.up.items():
            x = up(x, condition, fresh)
            if side in self.excite:
                x = self.excite[side](maps[EXCITES[int(side)]], x)
            maps[int(side)] = x
        return self.to_image(x)
