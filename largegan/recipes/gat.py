"""Generative adversarial transformers (Hyun et al., 2025, arXiv 2509.24935).

As published: generator and discriminator are plain transformers of the same size (S, B, L, XL:
depth 12, 12, 24, 28, width 384, 768, 1024, 1152, heads 6, 12, 16, 16) with patches of 2, 4 or 8,
on latents of 4 x 32 x 32; the generator's four outputs, each a sum of what came before, are
judged together, under noise that is strong on the first and nearly none on the last; the
relativistic loss with R1 and R2 by finite differences in every step, DiffAugment always, AdamW
(0, 0.99) without decay and lr 2e-4 * 768 / width, gradients clipped to norm 1 (the setting
`train.max_grad_norm`), batch 512, an average of 0.999. The generator's step uses the latents of
the discriminator's. Here: pixels by default, latents of any shape where the data are latents, any
height and width that patches divide, with or without classes; the table of places is trained, as
the published program does though it means not to; the discriminator's pass is float32 under bf16
too, because differences of sixteen bits are noise. Alignment with a pre-trained network is off
unless one is named, and there is no guidance.

No phase differentiates twice and nothing mixes images, so every engine runs it, ZeRO-3 and FSDP2
included, with fused attention.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.augment.levels import LevelView, draw_view
from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import (
    Beta,
    Depth,
    Halflife,
    LearningRate,
    Place,
    PositiveWeight,
    Weight,
    Width,
)
from largegan.layers.precision import exact
from largegan.losses import align, finite_difference_gp, relativistic_d, relativistic_g
from largegan.nets.gat import (
    LEVELS,
    Discriminator,
    DiscriminatorOptions,
    Generator,
    TransformerOptions,
)
from largegan.nets.latent_decoder import LatentDecoder
from largegan.nets.pretrained import Teacher
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions


@dataclass(frozen=True, kw_only=True)
class GATOptions(NoiseToImageOptions, LearningRates):
    """Options of `gat`."""

    z_dim: Width = 64
    """Numbers in a latent vector, standard normal."""
    patch: Depth = 2
    """Side of a patch in pixels or latent cells; attention costs the 4th power of its inverse."""
    g_width: Width = 384
    """Numbers of a token in the generator (S, B, L, XL: 384, 768, 1024, 1152)."""
    g_depth: Depth = 12
    """Blocks of the generator, a multiple of 4 (12, 12, 24, 28)."""
    g_heads: Depth = 6
    """Attention heads of the generator (6, 12, 16, 16)."""
    d_width: Width = 384
    """Numbers of a token in the discriminator."""
    d_depth: Depth = 12
    """Blocks of the discriminator."""
    d_heads: Depth = 6
    """Attention heads of the discriminator."""
    cmap_dim: Width = 2048
    """Features in which the discriminator compares an image with its class."""
    conditional: bool = True
    """Use the classes when the data have them."""
    gamma: Weight = 0.1
    """Weight of the gradient penalties R1 and R2, halved."""
    gp_sigma: PositiveWeight = 0.01
    """Length of the steps whose differences stand for gradients."""
    lr: LearningRate | None = None
    """Adam's learning rate, both players; null: 2e-4 * 768 / width, each its own."""
    beta2: Beta = 0.99
    """Adam's memory of squared gradients, both players (of gradients: none)."""
    align: str | None = None
    """timm network with local weights whose features of real images the discriminator has to
    predict (the paper: DINOv2, weight 1); null: none. For images, not for latents."""
    decoder: Place | None = None
    """For latents: exported program (.pt2, from torch.export.save) that turns them into pictures;
    null: pictures show their first three channels."""
    ema_halflife_nimg: Halflife = 354_700
    """Half-life of the averaged generator, in images (0.999 at batch 512)."""
    ema_rampup: Halflife | None = None
    """The half-life is at most this part of the images seen; null: no ramp-up, as published."""


class GAT(NoiseToImage):
    """Transformers with noisy multi-level outputs (Hyun et al., 2025)."""

    latents = True

    def __init__(self, data: DataSpec, options: GATOptions):
        super().__init__()
        o = self.options = options
        check(data, o)
        self.num_classes, self.z_dim = data.num_classes if o.conditional else 0, o.z_dim
        self.teacher = None if o.align is None else Teacher(o.align)
        size = (data.height, data.width)
        shared = {
            "patch": o.patch,
            "image_channels": data.channels,
            "num_classes": self.num_classes,
        }
        g = TransformerOptions(width=o.g_width, depth=o.g_depth, heads=o.g_heads, **shared)
        self.G = Generator(*size, g, z_dim=o.z_dim)
        d = DiscriminatorOptions(
            width=o.d_width,
            depth=o.d_depth,
            heads=o.d_heads,
            cmap_dim=o.cmap_dim,
            align_dim=0 if self.teacher is None else self.teacher.dim,
            head_bias=False,  # it cancels in every difference; Adam would make rounding of it steps
            **shared,
        )
        self.D = Discriminator(*size, d)
        self.G_ema = Ema(
            self.G,
            halflife_nimg=o.ema_halflife_nimg,
            rampup=o.ema_rampup,
            average_buffers=False,
        )
        self.decoder = None
        if data.latent_scale:
            self.decoder = LatentDecoder(o.decoder, scale=data.latent_scale)
        g_lr = o.g_lr or o.lr or 2e-4 * 768 / o.g_width
        d_lr = o.d_lr or o.lr or 2e-4 * 768 / o.d_width
        self.players = {
            "D": Player([self.D], adam(d_lr, 0.0, o.beta2)),
            "G": Player([self.G], adam(g_lr, 0.0, o.beta2)),
        }
        self.phases = [Phase("D", self.discriminator), Phase("G", self.generator, fresh=False)]

    def set_batch_size(self, batch_size: int) -> None:
        """Training begins: files that are missing are found now, not at the first picture."""
        super().set_batch_size(batch_size)
        for frozen in (self.teacher, self.decoder):
            if frozen is not None:
                frozen.open(self.G.places.device)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        """Real images should score higher than fakes of their class, on plateaus of D."""
        labels, real = self.labels(batch), batch["image"]
        batch["z"] = self.noise(len(real), self.z_dim, device=real.device)
        fake = self.G(batch["z"], labels)
        o, see_fake, see_real = self.options, self.view(fake[-1]), self.view(real)

        def critic_of(see):
            return lambda images: self.D(see(images), labels)

        with exact(real):
            fake = fake.float()
            on_fake = critic_of(see_fake)(fake)
            on_real, aligned = self.judge_real(see_real, real, labels)
            r1 = finite_difference_gp(critic_of(see_real), on_real, real, sigma=o.gp_sigma)
            r2 = finite_difference_gp(critic_of(see_fake), on_fake, fake, sigma=o.gp_sigma)
        self.watch(real_score=on_real.mean(), fake_score=on_fake.mean())
        self.scored(on_real, on_fake, "relative")
        return {
            "adv": relativistic_d(on_real, on_fake),
            "r1": o.gamma * r1,
            "r2": o.gamma * r2,
            **aligned,
        }

    def judge_real(
        self, see: LevelView, real: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Terms]:
        """Logits, and how far D's tokens are from what the teacher says of the same images."""
        if self.teacher is None:
            return self.D(see(real), labels), {}
        logits, features = self.D(see(real), labels, aligned=True)
        losses = align(*features, *self.teacher(see.move(real)))
        return logits, {name: loss.mean() for name, loss in losses.items()}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        labels, real = self.labels(batch), batch["image"]
        fake = self.G(batch["z"], labels, track=True)
        on_fake = self.D(self.view(fake[-1])(fake), labels)
        on_real = self.D(self.view(real)(real), labels)
        return {"adv": relativistic_g(on_real, on_fake)}

    def view(self, finished: Tensor) -> LevelView:
        """How D sees these images in this pass: augmented and noisy, one draw an image."""
        return draw_view(finished, LEVELS)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`, decoded from latents; without labels the classes take turns."""
        return self.decode_truncated(z, labels, 1.0)

    @torch.no_grad()
    def decode_truncated(self, z: Tensor, labels: Tensor | None, amount: float) -> Tensor:
        """`decode` with w pulled towards its class's mean: 1 leaves it, 0 is the average image."""
        if not self.num_classes:
            labels = None
        elif labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        made = self.G_ema.net(z, labels, truncation=amount)[-1]
        return made.clamp(-1, 1) if self.decoder is None else self.decoder(made)


def check(data: DataSpec, o: GATOptions) -> None:
    """Refuses sizes that do not divide, before anything is built."""
    if o.decoder is not None and not data.latent_scale:
        raise ConfigError("recipe.decoder is for latents, and the data are images; leave it out")
    if o.align is not None and (data.latent_scale or data.height != data.width):
        raise ConfigError(
            "recipe.align compares square images with what another network says of them; leave it "
            "out for latents and for other shapes"
        )
    if data.height % o.patch or data.width % o.patch:
        raise ConfigError(
            f"recipe.patch is {o.patch}, which does not divide images of "
            f"{data.height}x{data.width}; choose a patch that does"
        )
    if o.g_depth % LEVELS or o.g_depth < LEVELS:
        raise ConfigError(
            f"recipe.g_depth is {o.g_depth}; the generator has {LEVELS} outputs, so its depth is "
            f"a multiple of {LEVELS}"
        )
    for who, width, heads in (("g", o.g_width, o.g_heads), ("d", o.d_width, o.d_heads)):
        if width % (4 * heads):
            raise ConfigError(
                f"recipe.{who}_width is {width}; it must be a multiple of 4 for each of the "
                f"{heads} heads of recipe.{who}_heads, that is of {4 * heads}"
            )
