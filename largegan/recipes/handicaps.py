"""Ways to make the work of one player harder, when it wins too easily: off by default.

Label flipping and dropout are what courses recommend, one-sided label smoothing is from Salimans et
al. (2016, section 3.4), noise on what the discriminator sees from Sonderby et al. (2017) and
Arjovsky & Bottou (2017), its augmentation from Zhao et al. (2020). All draw from the generator that
the trainer seeds for each micro-batch.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.augment import DiffAugment
from largegan.files.ranges import Beta, Fraction, Images, Weight
from largegan.layers.dropout import set_dropout
from largegan.recipe import Progress, Reading
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions


@dataclass(frozen=True, kw_only=True)
class HandicapOptions(NoiseToImageOptions):
    """Options of recipes that can handicap a player."""

    label_flip: Fraction = 0.0
    """Probability that the discriminator is told the wrong label of an image."""
    label_flip_sides: Literal["real", "both"] = "real"
    """Flip labels of real images only, or of generated ones, too."""
    d_dropout: Beta = 0.0
    """Probability with which features of the discriminator are dropped."""
    g_dropout: Beta = 0.0
    """Probability with which features of the generator are dropped while it trains."""
    instance_noise: Weight = 0.0
    """Standard deviation of noise on all images that the discriminator sees, at the start."""
    instance_noise_nimg: Images | None = None
    """Images after which that noise has faded to 0, linearly; null: it stays."""
    augment: Literal["none", "diffaugment"] = "none"
    """How all images that the discriminator sees are altered: for data of few images."""


@dataclass(frozen=True, kw_only=True)
class LogisticHandicapOptions(HandicapOptions):
    """Options of those that learn probabilities."""

    label_smoothing: Fraction = 0.0
    """Real images count as real with probability 1 minus this (one-sided smoothing)."""


class Handicapped(NoiseToImage):
    """A recipe with `HandicapOptions`; a subclass asks `seen` and `told` in its losses."""

    handicaps: HandicapOptions
    reading: Reading = "probability"

    def handicap(self, options: HandicapOptions) -> None:
        """Once `G` and `D` are built, before `G` is averaged."""
        self.handicaps = options
        self.augment = DiffAugment() if options.augment == "diffaugment" else nn.Identity()
        set_dropout(self.G, options.g_dropout)
        set_dropout(self.D, options.d_dropout)

    def seen(self, images: Tensor, at: Progress) -> Tensor:
        """Images as the discriminator sees them."""
        images = self.augment(images)
        if not self.handicaps.instance_noise:
            return images
        sigma = at.scheduled(lambda now: noise_at(now.nimg, self.handicaps))
        if isinstance(sigma, float) and sigma == 0:
            return images
        noise = torch.randn(images.shape, device=images.device, dtype=images.dtype)
        return images + sigma * noise

    def told(self, on_real: Tensor, on_fake: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's outputs for its loss; also says to `scored` what it really thinks."""
        self.scored(on_real, on_fake, self.reading)
        o = self.handicaps
        if o.label_flip:
            on_real = flipped(on_real, o.label_flip)
            if o.label_flip_sides == "both":
                on_fake = flipped(on_fake, o.label_flip)
        return on_real, on_fake


def noise_at(nimg: int, options: HandicapOptions) -> float:
    """The standard deviation of the noise after so many images."""
    fades = options.instance_noise_nimg
    left = 1.0 if fades is None else max(0.0, 1 - nimg / fades)
    return options.instance_noise * left


def flipped(outputs: Tensor, probability: float) -> Tensor:
    """Some outputs `[N]` negated: for logits and hinge losses, as if of the other label."""
    told_wrong = torch.rand(outputs.shape, device=outputs.device) < probability
    return torch.where(told_wrong, -outputs, outputs)


def smoothed_minimax_d(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """`losses.minimax_d` with the target 1 - `smoothing` for real images, 0 for others.

    Cross entropy with a target t is softplus(-x) + (1 - t) x.
    """
    return F.softplus(-real).mean() + smoothing * real.mean() + F.softplus(fake).mean()
