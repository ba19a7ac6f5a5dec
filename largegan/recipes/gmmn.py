"""Generative moment matching (Li et al., 2015, arXiv 1502.02761): a generator without opponent.

As published: a perceptron of z of 10 uniform numbers, the square root of the biased squared maximum
mean discrepancy under a sum of Gaussian kernels of variances 2, 5, 10, 20, 40, 80 for MNIST in
[0, 1] (in the authors' code; there times 1000). Here: distances are brought to that scale at every
size and number of channels, images are in [-1, 1] through tanh, and Adam, because it trains with
one learning rate. Estimates are better the more images they compare: use large batches (published:
1000 images; `group` makes several estimates of a batch).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import Interval, LearningRate, PositiveWeight, Width
from largegan.layers.latents import uniform
from largegan.losses import gaussian_mmd2, root
from largegan.nets.gmmn import MomentGenerator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions

MNIST_PIXELS = 784


@dataclass(frozen=True, kw_only=True)
class MomentMatchingOptions:
    """Options that all moment matching recipes have."""

    variances: tuple[float, ...]
    """Of the Gaussian kernels, which are summed."""
    estimate: Literal["biased", "unbiased"] = "biased"
    """Of the squared discrepancy: with all pairs, or without those of an example with itself."""
    root: bool = True
    """Minimize the square root of the estimate (as published), not the estimate."""
    group: Interval | None = None
    """Examples that are compared with each other; null: all of a micro-batch."""


@dataclass(frozen=True, kw_only=True)
class GMMNOptions(MomentMatchingOptions, NoiseToImageOptions):
    """Options of `gmmn`."""

    variances: tuple[PositiveWeight, ...] = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
    """Of the Gaussian kernels, on the scale of MNIST's pixels in [0, 1]; they are summed."""
    z_dim: Width = 10
    """Numbers in a latent vector, uniform in [-1, 1]."""
    width: Width = 64
    """Units of the first hidden layer; the others have 4, 4 and 16 times as many."""
    lr: LearningRate = 1e-3
    """Adam's learning rate."""


def moment_loss(options: MomentMatchingOptions) -> Callable[[Tensor, Tensor], Tensor]:
    """How far generated vectors `[N, D]` are from real ones `[N, D]`: the mean over groups."""
    biased = options.estimate == "biased"

    def compare(real: Tensor, fake: Tensor) -> Tensor:
        if not biased and len(real) < 2:
            raise ConfigError(
                "the unbiased estimate compares at least 2 examples; use larger micro-batches and "
                "recipe.group, or recipe.estimate biased"
            )
        found = gaussian_mmd2(real, fake, options.variances, biased=biased)
        return root(found) if options.root else found

    def loss(real: Tensor, fake: Tensor) -> Tensor:
        size = options.group or len(real)
        groups = zip(real.float().split(size), fake.float().split(size), strict=True)
        # Sixteen bits are too few for differences of close distances: this part ignores autocast.
        with torch.autocast(real.device.type, enabled=False):
            return sum(compare(a, b) * len(a) for a, b in groups) / len(real)

    return loss


def on_mnists_scale(images: Tensor) -> Tensor:
    """Images `[N, C, H, W]` in [-1, 1] -> `[N, D]` whose distances are like MNIST's in [0, 1]."""
    pixels = images.flatten(1) / 2
    return pixels * (MNIST_PIXELS / pixels.shape[1]) ** 0.5


class GMMN(NoiseToImage):
    """Generative moment matching network (Li et al., 2015), on pixels."""

    noise = staticmethod(uniform)

    def __init__(self, data: DataSpec, options: GMMNOptions):
        super().__init__()
        self.z_dim, self.distance = options.z_dim, moment_loss(options)
        shape = (data.channels, data.height, data.width)
        self.G = MomentGenerator(options.z_dim, shape, width=options.width)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {"G": Player([self.G], adam(options.lr, 0.9, 0.999))}
        self.phases = [Phase("G", self.moments)]

    def moments(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        fake = self.fake(batch)
        return {"mmd": self.distance(on_mnists_scale(real), on_mnists_scale(fake))}
