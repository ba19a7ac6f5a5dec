"""Unpaired image-to-image translation by cycle consistency (Zhu et al., 2017, arXiv 1703.10593).

As published: ResNet generators (6 blocks below 256 pixels, 9 from there), 70 x 70 PatchGANs,
instance norm, least squares, lambda 10, identity loss 0.5 lambda, a pool of 50 fakes for each
discriminator, Adam 2e-4 with beta1 0.5, batch 1, weights from N(0, 0.02), 100 epochs and 100 more
while the learning rate falls to 0 (`constant_nimg`, `decay_nimg`: an epoch is as many images as
the larger domain has). Both generators move first, then both discriminators on the same fakes.
Here: images are translated by averaged weights.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from largegan.errors import ConfigError
from largegan.files.ranges import Weight, WholeNumber
from largegan.layers.image_pool import ImagePool
from largegan.losses import PATCH_LOSSES
from largegan.recipe import Batch, DataSpec, Phase, Progress, Terms, by_averages_alone
from largegan.recipes.translation import (
    ArchitectureOptions,
    Translation,
    build_discriminator,
    build_generator,
)


@dataclass(frozen=True, kw_only=True)
class CycleGANOptions(ArchitectureOptions):
    """Options of `cyclegan`."""

    cycle_a: Weight = 10.0
    """Weight of a -> b -> a coming back (the paper's lambda)."""
    cycle_b: Weight = 10.0
    """Weight of b -> a -> b coming back."""
    identity: Weight = 0.5
    """Weight of images of the target domain staying as they are, as a fraction of that domain's
    cycle weight; domains of different channels need 0."""
    pool_size: WholeNumber = 50
    """Fakes that each discriminator remembers."""


class CycleGAN(Translation):
    """Unpaired translation in both directions (Zhu et al., 2017)."""

    directions = ("a_to_b", "b_to_a")
    run_state = ("pool_a.images", "pool_a.count", "pool_b.images", "pool_b.count")

    def __init__(self, data: DataSpec, options: CycleGANOptions):
        """
        Args:
            data: what the images of the two domains look like; any size from 32 pixels on.
            options: see `CycleGANOptions`.
        """
        super().__init__()
        self.keep(options)
        a, b = data.channels, data.channels_b
        if options.identity and a != b:
            raise ConfigError(
                f"the identity loss needs domains with the same channels, not {a} and {b}; set "
                "recipe.identity 0"
            )
        self.gan, self.identity = PATCH_LOSSES[options.gan_loss], options.identity
        self.cycle_a, self.cycle_b = options.cycle_a, options.cycle_b
        self.G_ab = build_generator(data, a, b, options)
        self.G_ba = build_generator(data, b, a, options)
        self.D_a = build_discriminator(data, a, options)
        self.D_b = build_discriminator(data, b, options)
        self.pool_a = ImagePool(options.pool_size, (a, data.height, data.width))
        self.pool_b = ImagePool(options.pool_size, (b, data.height, data.width))
        self.G_ab_ema = self.averaged(self.G_ab, options)
        self.G_ba_ema = self.averaged(self.G_ba, options)
        self.players = {
            "G": self.player(self.g_lr, self.G_ab, self.G_ba),
            "D": self.player(self.d_lr, self.D_a, self.D_b),
        }
        self.phases = [
            Phase("G", self.generators),
            Phase("D", self.discriminators, fresh=False, others=()),
        ]

    def generators(self, batch: Batch, at: Progress) -> Terms:
        a, b = batch["image_a"], batch["image_b"]
        fake_b = self.G_ab(a)
        again_a = self.G_ba(fake_b)
        fake_a = self.G_ba(b)
        again_b = self.G_ab(fake_a)
        # The discriminators judge these very fakes, made before the generators moved.
        batch["fake_a"], batch["fake_b"] = fake_a.detach(), fake_b.detach()
        terms = {
            "gan_ab": self.gan.generator(self.D_b(fake_b)),
            "gan_ba": self.gan.generator(self.D_a(fake_a)),
            "cycle_a": self.cycle_a * F.l1_loss(again_a, a),
            "cycle_b": self.cycle_b * F.l1_loss(again_b, b),
        }
        if self.identity:
            weight_a, weight_b = self.identity * self.cycle_a, self.identity * self.cycle_b
            terms["identity_a"] = weight_a * F.l1_loss(self.G_ba(a), a)
            terms["identity_b"] = weight_b * F.l1_loss(self.G_ab(b), b)
        return terms

    def discriminators(self, batch: Batch, at: Progress) -> Terms:
        first = self.micro_batch * len(batch["image_a"])
        fake_a = self.pool_a.exchange(batch["fake_a"], first=first)
        fake_b = self.pool_b.exchange(batch["fake_b"], first=first)
        judged = {
            "a": (self.D_a(batch["image_a"]), self.D_a(fake_a)),
            "b": (self.D_b(batch["image_b"]), self.D_b(fake_b)),
        }
        for domain, (on_real, on_fake) in judged.items():
            self.scored(on_real, on_fake, self.gan.reading, by=domain)
        return {f"gan_{domain}": self.gan.discriminator(*both) for domain, both in judged.items()}

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ab_ema.update(self.G_ab, at, batch_size)
        self.G_ba_ema.update(self.G_ba, at, batch_size)

    def translator(self, direction: str) -> nn.Module:
        return {"a_to_b": self.G_ab_ema, "b_to_a": self.G_ba_ema}[direction].net
