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
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.augment import ADA, DiffAugment
from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.conditions import Conditions
from largegan.layers.freeze import freeze
from largegan.layers.precision import exact
from largegan.layers.running_mean import RunningMean
from largegan.losses import non_saturating_g, path_lengths
from largegan.nets.stylegan2 import Generator, Mapping, Synthesis
from largegan.nets.stylegan2_discriminator import Discriminator
from largegan.ranges import (
    Base,
    Depth,
    Few,
    Fraction,
    Halflife,
    Images,
    Interval,
    LearningRate,
    PositiveWeight,
    Weight,
    Width,
)
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam
from largegan.recipes.gradient_penalty import GradientPenaltyOptions, zero_centered
from largegan.recipes.learning_rates import LearningRates

Transforms = Literal[
    "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"
]
PATH_LENGTH_BETA = 0.99
AUTO_EMA_ITERATIONS = 10_000 / 32  # half-life of "auto": batch / 32 * 10,000 images


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Options(GradientPenaltyOptions, LearningRates):
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
    augment: Literal["ada", "diffaugment", "none"] = "ada"
    """What the discriminator sees images through; "ada" adapts its probability p."""
    ada_transforms: Transforms = "bgc"
    """Which group of transforms: blit, geom, color, ..., bg, bgc, bgcfnc."""
    ada_target: Fraction | None = 0.6
    """How sure of real images the discriminator should be; null: p stays."""
    ada_nimg_to_full: Images = 500_000
    """Images in which p could go from 0 to 1 (100,000 when fine-tuning)."""
    ada_p: Fraction = 0.0
    """P at the start."""
    freeze_d: Few = 0
    """Fine-tuning leaves so many layers of the discriminator as they are, counted from the
    image on (Mo et al., 2020: Freeze-D)."""


class StyleGAN2(Recipe):
    """Style-based generator with ADA (Karras et al., 2020)."""

    vectors = True

    run_state = ("augment.p", "augment.signs", "conditions.table")
    drawn_by = ("G_ema", "conditions")

    def __init__(self, data: DataSpec, options: StyleGAN2Options):
        """
        Args:
            data: what the images look like; any size whose smallest block is at least 4
                x 4.
            options: see `StyleGAN2Options`.
        """
        super().__init__()
        if not 0 <= options.ada_p <= 1:
            raise ConfigError(f"recipe.ada_p is {options.ada_p:g}; a probability is from 0 to 1")
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
        synthesis = Synthesis(
            data.height,
            data.width,
            w_dim=options.w_dim,
            architecture=options.g_architecture,
            use_noise=options.noise,
            channel_base=base,
            channel_max=options.channel_max,
            **shared,
        )
        mapping = Mapping(
            z_dim=options.z_dim,
            c_dim=self.conditions.width,
            w_dim=options.w_dim,
            num_ws=synthesis.num_ws,
            layers=options.mapping_layers,
            w_avg_beta=options.w_avg_beta,
        )
        self.G = Generator(mapping, synthesis)
        self.D = Discriminator(
            data.height,
            data.width,
            c_dim=self.conditions.width,
            architecture=options.d_architecture,
            group_size=options.mbstd_group,
            group_features=options.mbstd_features,
            channel_base=options.d_channel_base or base,
            channel_max=options.d_channel_max or options.channel_max,
            **shared,
        )
        freeze_first(self.D, options.freeze_d)
        self.ema_halflife_nimg = options.ema_halflife_nimg
        self.G_ema = Ema(
            self.G,
            halflife_nimg=options.ema_halflife_nimg or 0.0,
            rampup=options.ema_rampup,
            average_buffers=False,
        )
        self.path_length_mean = RunningMean(beta=PATH_LENGTH_BETA)
        if options.augment == "ada":
            self.augment = ADA(
                options.ada_transforms,
                target=options.ada_target,
                nimg_to_full=options.ada_nimg_to_full,
                p=options.ada_p,
            )
        else:
            self.augment = DiffAugment() if options.augment == "diffaugment" else nn.Identity()
        self.players = {
            "G": Player(
                [self.G],
                adam(g_lr, 0.0, 0.99, lazy=options.pl_every if options.pl_weight else None),
            ),
            "D": Player([self.D], adam(d_lr, 0.0, 0.99, lazy=options.r1_every)),
        }
        self.phases = [
            Phase("G", self.generator),
            Phase("G", self.path_length, every=options.pl_every, fresh=False, second_order=True),
            Phase("D", self.discriminator, fresh=False),
            Phase(
                "D",
                self.r1,
                every=options.r1_every,
                fresh=False,
                second_order=options.second_order,
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
        if isinstance(self.augment, ADA):
            self.augment.observe(real)
            self.watch(ada_p=self.augment.p, real_sign=real.sign().mean())
        on_fake = self.judge(fake, c)
        self.scored(real, on_fake)
        return {
            "fake": F.softplus(on_fake).mean(),
            "real": F.softplus(-real).mean(),
        }

    def r1(self, batch: Batch, at: Progress) -> Terms:
        """The slope at real images before augmentation: what D does through it is punished."""
        real, c = batch["image"], self.condition(batch)
        _, r1 = zero_centered(lambda x: self.judge(x, c), real, self.penalty)
        return {"r1": self.gamma(real) * r1}

    def gamma(self, images: Tensor) -> float:
        if self.r1_gamma is not None:
            return self.r1_gamma
        return 0.0002 * images.shape[2] * images.shape[3] / self.batch_size

    def condition(self, batch: Batch) -> Tensor | None:
        """One-hot classes `[N, num_classes]`, or the vectors that labels stand for."""
        return self.conditions(batch["label"]) if self.num_classes else None

    def fake(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images `[N, C, H, W]` for new latents, their ws `[N, num_ws, w_dim]`, their classes."""
        c = self.condition(batch)
        ws = self.mixed_ws(batch["image"], c)
        return self.G.synthesis(ws), ws, c

    def mixed_ws(self, like: Tensor, c: Tensor | None) -> Tensor:
        """`[N, num_ws, w_dim]`; now and then its end, from a random layer on, is of another z."""
        mapping = self.G.mapping
        ws = mapping(torch.randn(len(like), self.z_dim, device=like.device), c)
        # Decided on the host, where asking costs nothing: the generator there is seeded too.
        if self.style_mixing and float(torch.rand(())) < self.style_mixing:
            crossover = int(torch.randint(1, mapping.num_ws, ()))
            others = torch.randn(len(like), self.z_dim, device=like.device)
            others = mapping(others, c, track=False)
            ws = torch.cat([ws[:, :crossover], others[:, crossover:]], 1)
        return ws

    def judge(self, images: Tensor, c: Tensor | None) -> Tensor:
        """The discriminator sees every image, real or fake, augmented (in float32)."""
        with exact(images):
            images = self.augment(images)
        return self.D(images, c)

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        halflife = self.ema_halflife_nimg
        self.G_ema.halflife_nimg = (
            AUTO_EMA_ITERATIONS * batch_size if halflife is None else halflife
        )
        self.G_ema.update(self.G, at, batch_size)
        if isinstance(self.augment, ADA):
            self.augment.adapt(at.step, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.z_dim, generator=generator, device=generator.device)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`, with constant noise; without labels the classes take turns."""
        return self.decode_truncated(z, labels, 1.0)

    @torch.no_grad()
    def decode_truncated(self, z: Tensor, labels: Tensor | None, amount: float) -> Tensor:
        """`decode` with w pulled towards its mean: 1 leaves it, 0 is the average image."""
        return self.synthesize(self.ws(z, labels, amount))

    def ws(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Latents `[n, z_dim]` -> `[n, num_ws, w_dim]`, with EMA weights."""
        if self.num_classes and labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        c = self.condition({"label": labels}) if self.num_classes else None
        return self.G_ema.net.mapping(z, c, truncation=truncation)

    def synthesize(self, ws: Tensor) -> Tensor:
        """`[n, num_ws, w_dim]` -> float32 images in [-1, 1], with EMA weights; differentiable."""
        return self.G_ema.net.synthesis(ws, noise="const").clamp(-1, 1)


def freeze_first(discriminator: Discriminator, count: int) -> None:
    """Freezes `count` layers; the last three have to learn."""
    layers = list(discriminator.layers())
    if not 0 <= count <= len(layers) - 3:
        raise ConfigError(
            f"recipe.freeze_d is {count}; at this size it may be from 0 to {len(layers) - 3}"
        )
    for layer in layers[:count]:
        freeze(layer)
