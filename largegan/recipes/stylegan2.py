"""StyleGAN2 (Karras et al., 2020, arXiv 1912.04958), with adaptive discriminator augmentation
(Karras et al., 2020, arXiv 2006.06676).

As published: softplus losses, R1 every 16 iterations, path lengths every 4 on half of the batch,
Adam (0, 0.99) corrected for these extra steps, style mixing 0.9, an average of G with its
half-life in images. Options that are null follow the "auto" rules of the second paper's code: by
image size and batch. Here: labels of fakes are those of the batch's reals (theirs: drawn), a
micro-batch has one style-mixing crossover (theirs: a GPU's part of the batch), and ADA's p stays
below 1. Any height and width whose smallest block is at least 4 x 4, 1 to 4 channels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from largegan.augment import ADA
from largegan.ema import Ema
from largegan.files.ranges import (
    Base,
    Depth,
    Few,
    Fraction,
    Halflife,
    Interval,
    LearningRate,
    PositiveWeight,
    Weight,
    Width,
)
from largegan.layers.conditions import Conditions
from largegan.layers.precision import exact
from largegan.layers.running_mean import RunningMean
from largegan.losses import non_saturating_g, path_lengths
from largegan.nets.stylegan2 import Generator, Synthesis, SynthesisOptions
from largegan.nets.stylegan2_discriminator import Discriminator, DiscriminatorOptions
from largegan.nets.stylegan2_mapping import Mapping
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam, by_averages_alone
from largegan.recipes.gradient_penalty import GradientPenaltyOptions, zero_centered
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.styles import LimitedDataOptions, StyleBased, freeze_first, halflife

PATH_LENGTH_BETA = 0.99


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Options(LimitedDataOptions, GradientPenaltyOptions, LearningRates):
    """Options of `stylegan2`."""

    z_dim: Width = 512
    """Numbers in a latent vector, standard normal."""
    w_dim: Width = 512
    """Numbers in an intermediate latent vector."""
    mapping_layers: Depth = 2
    """Layers between z and w (the papers: 8; 2 is enough with ADA)."""
    channel_base: Base | None = None
    """Feature maps are this over the resolution; null: 32768 from 512 pixels on, else 16384."""
    channel_max: Width = 512
    """At most so many feature maps."""
    d_channel_base: Base | None = None
    """The discriminator's feature maps are this over the resolution; null: as above."""
    d_channel_max: Width | None = None
    """At most so many feature maps in the discriminator; null: as above."""
    g_architecture: Literal["skip", "resnet", "orig"] = "skip"
    """How the generator's blocks are joined."""
    d_architecture: Literal["skip", "resnet", "orig"] = "resnet"
    """How the discriminator's blocks are joined."""
    noise: bool = True
    """The generator has noise inputs; small networks may draw a grain with them."""
    conv_clamp: PositiveWeight | None = 256.0
    """Bound of activations (training with 16 bits); null: none."""
    mbstd_group: Depth = 4
    """Images whose standard deviation the discriminator sees together."""
    mbstd_features: Few = 1
    """In so many feature maps; 0: it does not see it."""
    w_avg_beta: Fraction = 0.995
    """How much of the mean w, which truncation pulls to, an optimizer step keeps."""
    conditional: bool = True
    """Use the classes when the data have them."""
    style_mixing: Fraction = 0.9
    """Probability that later layers take their styles from another latent."""
    r1_gamma: Weight | None = None
    """Weight of the gradient penalty; null: 0.0002 height width / batch."""
    r1_every: Interval = 16
    """Iterations between gradient penalties."""
    pl_weight: Weight = 2.0
    """Weight of the path length penalty; 0 leaves its phase out."""
    pl_every: Interval = 4
    """Iterations between path length penalties."""
    pl_shrink: Interval = 2
    """The penalty is computed on a batch so many times smaller."""
    lr: LearningRate | None = None
    """Adam's learning rate, both players; null: 0.002 from 1024 pixels on, else 0.0025."""
    ema_halflife_nimg: Halflife | None = None
    """Half-life of the averaged generator, in images; null: 312.5 batches."""
    ema_rampup: Halflife | None = 0.05
    """The half-life is at most this part of the images seen; null: no ramp-up."""


class StyleGAN2(StyleBased):
    """Style-based generator with ADA (Karras et al., 2020)."""

    def __init__(self, data: DataSpec, options: StyleGAN2Options):
        """
        Args:
            data: what the images look like; any size whose smallest block is at least 4
                x 4.
            options: see `StyleGAN2Options`.
        """
        super().__init__()
        longest = max(data.height, data.width)
        base = options.channel_base or (32768 if longest >= 512 else 16384)
        g_lr, d_lr = options.rates(options.lr or (0.002 if longest >= 1024 else 0.0025))
        self.z_dim, self.num_classes = options.z_dim, data.num_classes if options.conditional else 0
        self.conditions = Conditions(self.num_classes, data.condition_dim)
        self.style_mixing, self.r1_gamma, self.r1_every = (
            options.style_mixing,
            options.r1_gamma,
            options.r1_every,
        )
        self.pl_weight, self.pl_shrink = options.pl_weight, options.pl_shrink
        self.penalty = options.penalty
        shared = {"image_channels": data.channels, "conv_clamp": options.conv_clamp}
        g = SynthesisOptions(
            w_dim=options.w_dim,
            architecture=options.g_architecture,
            use_noise=options.noise,
            channel_base=base,
            channel_max=options.channel_max,
            **shared,
        )
        synthesis = Synthesis(data.height, data.width, g)
        mapping = Mapping(
            z_dim=options.z_dim,
            c_dim=self.conditions.width,
            w_dim=options.w_dim,
            num_ws=synthesis.num_ws,
            layers=options.mapping_layers,
            w_avg_beta=options.w_avg_beta,
        )
        self.G = Generator(mapping, synthesis)
        d = DiscriminatorOptions(
            c_dim=self.conditions.width,
            architecture=options.d_architecture,
            group_size=options.mbstd_group,
            group_features=options.mbstd_features,
            channel_base=options.d_channel_base or base,
            channel_max=options.d_channel_max or options.channel_max,
            **shared,
        )
        self.D = Discriminator(data.height, data.width, d)
        freeze_first(self.D, options.freeze_d)
        self.ema_halflife_nimg = options.ema_halflife_nimg
        self.G_ema = Ema(
            self.G,
            halflife_nimg=options.ema_halflife_nimg or 0.0,
            rampup=options.ema_rampup,
            average_buffers=False,
        )
        self.path_length_mean = RunningMean(beta=PATH_LENGTH_BETA)
        self.augment = options.augmentation()
        self.players = {
            "G": Player(
                [self.G],
                adam(g_lr, 0.0, 0.99, lazy=options.pl_every if options.pl_weight else None),
            ),
            "D": Player([self.D], adam(d_lr, 0.0, 0.99, lazy=options.r1_every)),
        }
        self.phases = [
            Phase("G", self.generator),
            Phase(
                "G",
                self.path_length,
                every=options.pl_every,
                fresh=False,
                second_order=True,
                others=(),
            ),
            Phase("D", self.discriminator, fresh=False),
            Phase(
                "D",
                self.r1,
                every=options.r1_every,
                fresh=False,
                second_order=options.second_order,
                others=(),
            ),
        ]
        if not options.pl_weight:
            del self.phases[1]

    def generator(self, batch: Batch, at: Progress) -> Terms:
        fake, _, c = self.fake(batch)
        return {"adv": non_saturating_g(self.judge(fake, c))}

    def path_length(self, batch: Batch, at: Progress) -> Terms:
        """Steps of one size in w should move images by one amount: the running mean of all."""
        few = max(1, len(batch["image"]) // self.pl_shrink)
        images, ws, _ = self.fake({name: values[:few] for name, values in batch.items()})
        lengths = path_lengths(images, ws)
        self.path_length_mean.add(lengths.detach())
        # The mean as it will be after this batch, and not detached: as published.
        mean = torch.lerp(lengths.mean(), self.path_length_mean.mean.to(lengths), PATH_LENGTH_BETA)
        return {"pl": self.pl_weight * (lengths - mean).square().mean()}

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        fake, _, c = self.fake(batch)
        real = self.judge(batch["image"], self.condition(batch))
        self.observe(real)
        return self.logistic(real, self.judge(fake, c))

    def r1(self, batch: Batch, at: Progress) -> Terms:
        """The slope at real images before augmentation: what D does through it is punished."""
        real, c = batch["image"], self.condition(batch)
        _, r1 = zero_centered(lambda x: self.judge(x, c), real, self.penalty)
        return {"r1": self.gamma(real) * r1}

    def gamma(self, images: Tensor) -> float:
        if self.r1_gamma is not None:
            return self.r1_gamma
        return 0.0002 * images.shape[2] * images.shape[3] / self.batch_size

    def fake(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images `[N, C, H, W]` for new latents, their ws `[N, num_ws, w_dim]`, their classes."""
        c = self.condition(batch)
        ws = self.mixed_ws(batch["image"], c)
        return self.G.synthesis(ws), ws, c

    def mixed_ws(self, like: Tensor, c: Tensor | None) -> Tensor:
        """`[N, num_ws, w_dim]`; now and then its end, from a random layer on, is of another z."""
        mapping = self.G.mapping
        ws = mapping(torch.randn(len(like), self.z_dim, device=like.device), c)
        if not self.style_mixing:
            return ws
        # Decided on the device: nobody waits for the answer, and a CUDA graph draws it anew.
        mixed = torch.rand((), device=like.device) < self.style_mixing
        crossover = torch.randint(1, mapping.num_ws, (), device=like.device)
        others = mapping(torch.randn(len(like), self.z_dim, device=like.device), c, track=False)
        layer = torch.arange(mapping.num_ws, device=like.device)[:, None]
        return torch.where(mixed & (layer >= crossover), others, ws)

    def judge(self, images: Tensor, c: Tensor | None) -> Tensor:
        """The discriminator sees every image, real or fake, augmented (in float32)."""
        with exact(images):
            images = self.augment(images)
        return self.D(images, c)

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.halflife_nimg = halflife(self.ema_halflife_nimg, batch_size)
        self.G_ema.update(self.G, at, batch_size)
        if isinstance(self.augment, ADA):
            self.augment.adapt(at.step, batch_size)

    def synthesize(self, ws: Tensor) -> Tensor:
        return self.G_ema.net.synthesis(ws, noise="const").clamp(-1, 1)
