"""StyleGAN3 (Karras et al., 2021, "Alias-Free Generative Adversarial Networks", arXiv 2106.12423).

As published: an alias-free generator, T (translations) or R (rotations too), against StyleGAN2's
discriminator; softplus losses, R1 every 16 iterations with Adam corrected for it, an average of G
with its half-life in images, no style mixing, no path lengths, no noise. R begins with blurred
images, so that D does not look for details too early. The mean w and the layers' magnitudes follow
the images of D's steps. Options that are null follow the published presets: by image size and
batch. Here: labels of fakes are those of the batch's reals, and ADA's p stays below 1. Square or
oblong images whose shorter side is a power of two, 1 to 4 channels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from largegan.augment import ADA
from largegan.augment.blur import fading, gaussian_blur
from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import (
    Base,
    Depth,
    Few,
    Halflife,
    Interval,
    LearningRate,
    PositiveWeight,
    Weight,
    Width,
)
from largegan.layers.conditions import Conditions
from largegan.layers.precision import exact
from largegan.losses import non_saturating_g
from largegan.nets.stylegan2 import Generator
from largegan.nets.stylegan2_discriminator import Discriminator, DiscriminatorOptions
from largegan.nets.stylegan2_mapping import Mapping
from largegan.nets.stylegan3 import W_AVG_BETA, Synthesis, SynthesisOptions
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam, by_averages_alone
from largegan.recipes.gradient_penalty import GradientPenaltyOptions, zero_centered
from largegan.recipes.styles import LimitedDataOptions, StyleBased, freeze_first, halflife

AUTO_BLUR_ITERATIONS = 200_000 / 32  # R's blur fades in batch / 32 * 200,000 images
R_BLUR_SIGMA = 10.0


@dataclass(frozen=True, kw_only=True)
class StyleGAN3Options(LimitedDataOptions, GradientPenaltyOptions):
    """Options of `stylegan3`."""

    configuration: Literal["t", "r"] = "t"
    """What the generator is equivariant to: translations, or rotations too (slower)."""
    z_dim: Width = 512
    """Numbers in a latent vector, standard normal."""
    w_dim: Width = 512
    """Numbers in an intermediate latent vector."""
    mapping_layers: Depth = 2
    """Layers between z and w."""
    channel_base: Base | None = None
    """The generator's feature maps are half of this over a layer's cutoff; null: 32768 from 512
    pixels on, else 16384, and twice that for "r"."""
    channel_max: Width | None = None
    """At most so many feature maps in the generator; null: 512, and twice that for "r"."""
    layers: Depth = 14
    """Layers of the generator before the one that draws the image."""
    critical: Few = 2
    """So many of its last layers use every frequency that their pixels can show."""
    first_cutoff: PositiveWeight = 2.0
    """Highest frequency of the first layer, in cycles per image."""
    first_stopband: PositiveWeight = 2**2.1
    """Where the first layer's filter has stopped everything."""
    last_stopband: PositiveWeight = 2**0.3
    """The same of the last layer, as a multiple of its cutoff."""
    margin: Few = 10
    """Samples around the image in every layer but the last two."""
    filter_size: Depth = 6
    """Taps of the filters, for each sample of the lower rate."""
    conv_clamp: PositiveWeight | None = 256.0
    """Bound of activations (training with 16 bits); null: none."""
    magnitude_halflife_nimg: Halflife = 20_000
    """Half-life of the mean squares that the generator's layers divide their inputs by."""
    d_channel_base: Base | None = None
    """The discriminator's feature maps are this over the resolution; null: 32768 from 512 pixels
    on, else 16384."""
    d_channel_max: Width = 512
    """At most so many feature maps in the discriminator."""
    mbstd_group: Depth = 4
    """Images whose standard deviation the discriminator sees together."""
    conditional: bool = True
    """Use the classes when the data have them."""
    r1_gamma: Weight | None = None
    """Weight of the gradient penalty; null: 0.001 height width / batch, as all published ones."""
    r1_every: Interval = 16
    """Iterations between gradient penalties."""
    g_lr: LearningRate = 0.0025
    """Adam's learning rate of the generator."""
    d_lr: LearningRate = 0.002
    """Adam's learning rate of the discriminator."""
    ema_halflife_nimg: Halflife | None = None
    """Half-life of the averaged generator, in images; null: 312.5 batches."""
    ema_rampup: Halflife | None = 0.05
    """The half-life is at most this part of the images seen; null: no ramp-up."""
    blur_sigma: Weight | None = None
    """How far D's images are blurred at first, in pixels; null: 10 for "r", else 0."""
    blur_fade_nimg: Halflife | None = None
    """Images in which the blur fades; null: 6250 batches."""


class StyleGAN3(StyleBased):
    """Alias-free style-based generator (Karras et al., 2021)."""

    def __init__(self, data: DataSpec, options: StyleGAN3Options):
        """
        Args:
            data: what the images look like; the shorter side is a power of two.
            options: see `StyleGAN3Options`.
        """
        super().__init__()
        o = self.options = options
        self.z_dim, self.num_classes = o.z_dim, data.num_classes if o.conditional else 0
        self.conditions = Conditions(self.num_classes, data.condition_dim)
        self.G = make_generator(data, o, self.conditions.width)
        self.D = make_discriminator(data, o, self.conditions.width)
        freeze_first(self.D, o.freeze_d)
        self.G_ema = Ema(self.G, halflife_nimg=0.0, rampup=o.ema_rampup, average_buffers=False)
        self.augment = o.augmentation()
        self.players = {
            "G": Player([self.G], adam(o.g_lr, 0.0, 0.99)),
            "D": Player([self.D], adam(o.d_lr, 0.0, 0.99, lazy=o.r1_every)),
        }
        self.phases = [
            Phase("G", self.generator),
            Phase("D", self.discriminator, fresh=False),
            Phase(
                "D", self.r1, every=o.r1_every, fresh=False, second_order=o.second_order, others=()
            ),
        ]

    def generator(self, batch: Batch, at: Progress) -> Terms:
        c = self.condition(batch)
        fake = self.fake(batch, c, track=False)
        return {"adv": non_saturating_g(self.judge(fake, c, at))}

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        c = self.condition(batch)
        fake = self.fake(batch, c, track=True)
        real = self.judge(batch["image"], c, at)
        self.observe(real)
        return self.logistic(real, self.judge(fake, c, at))

    def r1(self, batch: Batch, at: Progress) -> Terms:
        """The slope at real images before blur and augmentation."""
        real, c = batch["image"], self.condition(batch)
        _, r1 = zero_centered(lambda x: self.judge(x, c, at), real, self.options.penalty)
        return {"r1": self.gamma(real) * r1}

    def gamma(self, images: Tensor) -> float:
        if self.options.r1_gamma is not None:
            return self.options.r1_gamma
        return 0.001 * images.shape[2] * images.shape[3] / self.batch_size

    def fake(self, batch: Batch, c: Tensor | None, *, track: bool) -> Tensor:
        """Images for new latents; `track` counts them in the mean w and in the magnitudes."""
        like = batch["image"]
        z = torch.randn(len(like), self.z_dim, device=like.device)
        return self.G.synthesis(self.G.mapping(z, c, track=track), track=track)

    def judge(self, images: Tensor, c: Tensor | None, at: Progress) -> Tensor:
        """The discriminator sees every image blurred, then augmented (in float32)."""
        with exact(images):
            images = self.augment(gaussian_blur(images, self.blur(at)))
        return self.D(images, c)

    def blur(self, at: Progress) -> float:
        """Its sigma now, in pixels."""
        o = self.options
        sigma, fade_nimg = o.blur_sigma, o.blur_fade_nimg
        if sigma is None:
            sigma = R_BLUR_SIGMA if o.configuration == "r" else 0.0
        if not sigma:
            return 0.0
        if fade_nimg is None:
            fade_nimg = AUTO_BLUR_ITERATIONS * self.batch_size
        return fading(sigma, at.nimg, fade_nimg)

    def set_batch_size(self, batch_size: int) -> None:
        super().set_batch_size(batch_size)
        if batch_size < self.options.mbstd_group:
            raise ConfigError(
                f"train.batch_size {batch_size} is less than recipe.mbstd_group "
                f"{self.options.mbstd_group}, the images whose spread the discriminator sees "
                "together: raise the first, or lower the second"
            )

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.halflife_nimg = halflife(self.options.ema_halflife_nimg, batch_size)
        # As published, the ramp-up counts the images before this iteration: the first one copies.
        before = Progress(at.step - 1, at.nimg - batch_size)
        self.G_ema.update(self.G, at, batch_size, ramp=before)
        if isinstance(self.augment, ADA):
            self.augment.adapt(at.step, batch_size)

    def synthesize(self, ws: Tensor) -> Tensor:
        return self.G_ema.net.synthesis(ws).clamp(-1, 1)

    def synthesize_moved(self, ws: Tensor, transform: Tensor) -> Tensor:
        """`synthesize`, not clamped, with the input moved; see `MovesInput`."""
        return self.G_ema.net.synthesis(ws, transform=transform)


def make_generator(data: DataSpec, o: StyleGAN3Options, classes: int) -> Generator:
    """T or R, with the published widths where the options leave them open."""
    turns = o.configuration == "r"
    widen = 2 if turns else 1
    base = auto_base(data) * widen if o.channel_base is None else o.channel_base
    options = SynthesisOptions(
        w_dim=o.w_dim,
        image_channels=data.channels,
        channel_base=base,
        channel_max=512 * widen if o.channel_max is None else o.channel_max,
        layers=o.layers,
        critical=o.critical,
        first_cutoff=o.first_cutoff,
        first_stopband=o.first_stopband,
        last_stopband=o.last_stopband,
        margin=o.margin,
        kernel=1 if turns else 3,
        filter_size=o.filter_size,
        radial=turns,
        conv_clamp=o.conv_clamp,
        magnitude_halflife_nimg=o.magnitude_halflife_nimg,
    )
    synthesis = Synthesis(data.height, data.width, options)
    mapping = Mapping(
        z_dim=o.z_dim,
        c_dim=classes,
        w_dim=o.w_dim,
        num_ws=synthesis.num_ws,
        layers=o.mapping_layers,
        w_avg_beta=W_AVG_BETA,
    )
    return Generator(mapping, synthesis)


def make_discriminator(data: DataSpec, o: StyleGAN3Options, classes: int) -> Discriminator:
    """StyleGAN2's."""
    options = DiscriminatorOptions(
        image_channels=data.channels,
        c_dim=classes,
        channel_base=auto_base(data) if o.d_channel_base is None else o.d_channel_base,
        channel_max=o.d_channel_max,
        conv_clamp=o.conv_clamp,
        group_size=o.mbstd_group,
    )
    return Discriminator(data.height, data.width, options)


def auto_base(data: DataSpec) -> int:
    return 32768 if max(data.height, data.width) >= 512 else 16384
