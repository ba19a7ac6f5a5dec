"""R3GAN (Huang et al., 2024, "The GAN is dead; long live the GAN! A modern GAN baseline", arXiv
2501.05441).

As published: the relativistic pairing loss, zero-centered gradient penalties on real and on fake
images (R1 and R2) in every step, ResNeXts without normalization, Adam (0, beta2), and five
schedules along half a cosine over the images seen: learning rate, beta2, weight of the penalties,
half-life of the averaged generator, and probability of augmentation. D's and G's steps take images
of their own, and fakes are paired with the labels of the reals they are compared with. The
defaults are those for CIFAR-10. Any height and width that halve to the first stage's size, 1 to 4
channels.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from largegan.augment.pipeline import GROUPS, augment
from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import (
    Base,
    Beta,
    Depth,
    Few,
    Fraction,
    Halflife,
    Images,
    LearningRate,
    Weight,
    Width,
)
from largegan.layers.conditions import Conditions
from largegan.layers.precision import exact
from largegan.losses import relativistic_d, relativistic_g
from largegan.nets.r3gan import Discriminator, Generator, TrunkOptions
from largegan.recipe import (
    Batch,
    DataSpec,
    Phase,
    Player,
    Progress,
    Terms,
    adam,
    by_averages_alone,
    cosine_decay,
)
from largegan.recipes.gradient_penalty import GradientPenaltyOptions, zero_centered
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions

# Multipliers of the probability: ADA's transforms, those of colors half as often, and cutout.
TRANSFORMS = dict.fromkeys(GROUPS["bg"], 1.0) | dict.fromkeys(GROUPS["color"], 0.5) | {"cutout": 1}
SMALLEST = 4  # sides of the first stage, at least
LARGEST_START = 16 * 16  # pixels of the first stage; more means a size that hardly halves


@dataclass(frozen=True, kw_only=True)
class R3GANOptions(NoiseToImageOptions, GradientPenaltyOptions, LearningRates):
    """Options of `r3gan`. What has a `_final` goes there along half a cosine."""

    z_dim: Width = 64
    """Numbers in a latent vector, standard normal."""
    channel_base: Base = 24576
    """A stage has this over its longer side feature maps (a multiple of what its groups need)."""
    channel_max: Width = 768
    """At most so many feature maps (the paper's ImageNet: 1536, with a base of 49152)."""
    widths: list[Width] | None = None
    """Feature maps of every stage, the smallest first; null: as the two numbers above say."""
    group_width: Width = 16
    """Features in a group of the 3x3 convolutions."""
    groups: list[Few] | None = None
    """Groups of the 3x3 convolutions of every stage; null: of the width above."""
    blocks: Depth = 2
    """Residual blocks of every stage."""
    expansion: Depth = 2
    """Residual branches are so many times wider inside."""
    g_embed_dim: Width = 64
    """Numbers that the generator sees a class as."""
    d_embed_dim: Width | None = None
    """Numbers that the discriminator sees a class as; null: the width of its last stage."""
    conditional: bool = True
    """Use the classes when the data have them."""
    sixteen_bit_stages: Few = 3
    """So many stages, from the image on, use 16 bits where train.precision is bf16."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""
    lr_final: LearningRate = 5e-5
    """Where it ends."""
    beta2: Beta = 0.9
    """Adam's memory of squared gradients, both players (of gradients: none)."""
    beta2_final: Beta = 0.99
    """Where it ends."""
    gamma: Weight = 0.05
    """Weight of the gradient penalties."""
    gamma_final: Weight = 0.005
    """Where it ends."""
    ema_halflife_nimg: Halflife = 5_000_000
    """Half-life of the averaged generator in images, at the end; it starts at 0."""
    augment_p: Fraction = 0.55
    """Probability of ADA's transforms (of colors: half of it) at the end; it starts at 0."""
    schedule_nimg: Images = 20_000_000
    """Images in which all of these end (normally train.total_nimg)."""


class R3GAN(NoiseToImage):
    """The modern baseline: relativistic loss, R1 and R2 (Huang et al., 2024)."""

    vectors, waits = True, True
    run_state = ("conditions.table",)
    drawn_by = ("G_ema", "conditions")

    def __init__(self, data: DataSpec, options: R3GANOptions):
        """
        Args:
            data: what the images look like; their sides halve down to 4x4 to 16x16 pixels.
            options: see `R3GANOptions`.
        """
        super().__init__()
        o = self.options = options
        check(o)
        self.z_dim, self.num_classes = o.z_dim, data.num_classes if o.conditional else 0
        self.conditions = Conditions(self.num_classes, data.condition_dim)
        sizes = stage_sizes(data.height, data.width)
        unit = o.group_width // min(o.expansion, o.group_width)
        widths = o.widths or [
            features(max(size), o.channel_base, o.channel_max, unit) for size in sizes
        ]
        trunk = TrunkOptions(
            widths=widths,
            groups=o.groups or [width * o.expansion // o.group_width for width in widths],
            blocks=[o.blocks] * len(widths),
            expansion=o.expansion,
            image_channels=data.channels,
            c_dim=self.conditions.width,
            sixteen_bit=o.sixteen_bit_stages,
        )
        size = (data.height, data.width)
        self.G = Generator(*size, trunk, z_dim=o.z_dim, embed_dim=o.g_embed_dim)
        self.D = Discriminator(*size, trunk, embed_dim=o.d_embed_dim or widths[0])
        self.G_ema = Ema(self.G, halflife_nimg=0.0, rampup=None)
        self.curves = {
            "lr": (o.lr, o.lr_final),
            "beta2": (o.beta2, o.beta2_final),
            "gamma": (o.gamma, o.gamma_final),
            "ema_halflife_nimg": (0.0, o.ema_halflife_nimg),
            "augment_p": (0.0, o.augment_p),
        }
        g_lr, d_lr = o.rates()
        self.players = {
            "D": Player(
                [self.D],
                adam(d_lr, 0.0, o.beta2),
                partial(self.schedule, share=d_lr / o.lr),
            ),
            "G": Player(
                [self.G],
                adam(g_lr, 0.0, o.beta2),
                partial(self.schedule, share=g_lr / o.lr),
            ),
        }
        self.phases = [
            Phase("D", self.discriminator, second_order=o.second_order),
            Phase("G", self.generator),
        ]

    def value(self, name: str, nimg: int) -> float:
        """A scheduled number after `nimg` images, the five of `curves`."""
        return cosine_decay(*self.curves[name], nimg, total_nimg=self.options.schedule_nimg)

    def scheduled(self, name: str, at: Progress) -> float | Tensor:
        """The same, for losses."""
        return at.scheduled(lambda now: self.value(name, now.nimg))

    def schedule(self, at: Progress, share: float = 1.0) -> dict:
        """`share` is what a learning rate of a player's own is of `lr`: it falls alike."""
        return {
            "lr": share * self.value("lr", at.nimg),
            "betas": (0.0, self.value("beta2", at.nimg)),
        }

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        """Real images should score higher than fakes of their class, on plateaus of D."""
        c, p = self.labels(batch), self.scheduled("augment_p", at)
        real, fake = batch["image"], self.fake(batch)
        penalty = self.options.penalty
        real_scores, r1 = zero_centered(lambda x: self.judge(x, c, p), real, penalty)
        fake_scores, r2 = zero_centered(lambda x: self.judge(x, c, p), fake, penalty)
        gamma = self.scheduled("gamma", at)
        self.watch(real_score=real_scores.mean(), fake_score=fake_scores.mean())
        self.scored(real_scores, fake_scores, "relative")
        return {
            "adv": relativistic_d(real_scores, fake_scores),
            "r1": gamma * r1,
            "r2": gamma * r2,
        }

    def generator(self, batch: Batch, at: Progress) -> Terms:
        c, p = self.labels(batch), self.scheduled("augment_p", at)
        fake = self.judge(self.fake(batch), c, p)
        real = self.judge(batch["image"], c, p)
        return {"adv": relativistic_g(real, fake)}

    def labels(self, batch: Batch) -> Tensor | None:
        """One-hot classes `[N, num_classes]`, or the vectors that labels stand for."""
        return self.conditions(batch["label"]) if self.num_classes else None

    def judge(self, images: Tensor, c: Tensor | None, p: float | Tensor) -> Tensor:
        """The discriminator sees every image augmented (in float32) with probability `p`."""
        if isinstance(p, Tensor) or p > 0:
            with exact(images):
                images = augment(images, p, TRANSFORMS, waits=self.waits)
        return self.D(images, c)

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.halflife_nimg = self.value("ema_halflife_nimg", at.nimg - batch_size)
        self.G_ema.update(self.G, at, batch_size)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`; without labels the classes take turns."""
        if self.num_classes and labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        return self.G_ema(z, self.labels({"label": labels})).clamp(-1, 1)


def stage_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) of every stage, from the smallest to the image's own."""
    sizes = [(height, width)]
    while all(side % 2 == 0 and side >= 2 * SMALLEST for side in sizes[0]):
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    h, w = sizes[0]
    if min(h, w) < SMALLEST or h * w > LARGEST_START:
        raise ConfigError(
            f"R3GAN halves images down to a first stage of at least 4x4 and at most 16x16 pixels; "
            f"{height}x{width} ends at {h}x{w}: pack the data at sides that are multiples of a "
            "power of two, such as 32, 48 or 256"
        )
    return sizes


def features(side: int, base: int, most: int, unit: int) -> int:
    """Feature maps of a stage: `base` over its longer side, a multiple of `unit`, up to `most`."""
    return max(unit, min(base // side, most) // unit * unit)


def check(o: R3GANOptions) -> None:
    """Refuses options that no network or schedule can be made of."""
    for name in ("blocks", "group_width", "expansion", "schedule_nimg"):
        if getattr(o, name) < 1:
            raise ConfigError(f"recipe.{name} is {getattr(o, name)}; it must be at least 1")
    fits = max(o.group_width, o.expansion) % min(o.group_width, o.expansion) == 0
    if not fits and not (o.widths and o.groups):
        raise ConfigError(
            f"recipe.group_width {o.group_width} and recipe.expansion {o.expansion} do not fit: "
            "one has to be a multiple of the other"
        )
    if not 0 <= o.augment_p <= 1:
        raise ConfigError(f"recipe.augment_p is {o.augment_p:g}; a probability is from 0 to 1")
