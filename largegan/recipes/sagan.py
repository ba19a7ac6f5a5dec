"""Self-attention generative adversarial networks (Zhang et al., 2019, arXiv 1805.08318).

As published for ImageNet at 128 pixels: the ResNets of SNGAN, 64 wide, with self-attention on maps
of 64 pixels, spectral norm in both networks, conditional batch norm, projection, hinge, one step
each with Adam 1e-4 and 4e-4, beta (0, 0.9), batch 256, a million steps, weights from Glorot's
uniform distribution. Here: fakes take the labels of the batch's reals, any size from 16 to 512, and
samples come from averaged weights. The published FID (18.7) is hard to come by: StudioGAN reports
51.8 with its own settings.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from largegan.ema import Ema
from largegan.files.ranges import (
    Beta,
    Depth,
    Halflife,
    LearningRate,
    PositiveWeight,
    Width,
)
from largegan.layers.singular_values import SingularValues
from largegan.layers.spectral_norm import Spectral
from largegan.losses import hinge_d, hinge_g
from largegan.nets.resnet_sn import (
    Discriminator,
    DiscriminatorOptions,
    Generator,
    GeneratorOptions,
)
from largegan.recipe import Batch, DataSpec, Player, Progress, Terms, adam, by_averages_alone
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions, square_side
from largegan.recipes.self_attention import SelfAttentionOptions
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class SAGANOptions(NoiseToImageOptions, SelfAttentionOptions):
    """Options of `sagan`."""

    z_dim: Width = 128
    """Numbers in a latent vector, standard normal."""
    g_channels: Width = 64
    """Unit of the generator's widths (16 of them at 4 x 4)."""
    d_channels: Width = 64
    """Unit of the discriminator's widths."""
    d_activated_shortcut: bool = False
    """The discriminator's shortcuts see activated features, as in StudioGAN."""
    sn_refine_in_eval: bool = True
    """Refine copies of singular vectors once more while sampling, as BigGAN-PyTorch does and torch
    does not."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in the generator."""
    sn_eps: PositiveWeight = 1e-6
    """Least norm of a singular vector."""
    fold: bool = True
    """Resample inside the convolutions: the same numbers, less arithmetic."""
    d_steps: Depth = 1
    """Discriminator steps per generator step."""
    g_lr: LearningRate = 1e-4
    """Adam's learning rate of the generator."""
    d_lr: LearningRate = 4e-4
    """Adam's learning rate of the discriminator."""
    beta2: Beta = 0.9
    """Adam's second momentum, both players; BigGAN-PyTorch takes 0.999."""
    ema_halflife_nimg: Halflife = 1_770_000


class SAGAN(NoiseToImage):
    """Self-attention and spectral norm in both networks (Zhang et al., 2019)."""

    def __init__(self, data: DataSpec, options: SAGANOptions):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels, with or without
                classes.
            options: see `SAGANOptions`.
        """
        super().__init__()
        self.num_classes, self.z_dim = data.num_classes, options.z_dim
        size = square_side(data, "sagan")
        shape = {"image_channels": data.channels, "num_classes": data.num_classes}
        common = shape | {
            "spectral": Spectral(eps=options.sn_eps, refine_in_eval=options.sn_refine_in_eval),
            "fold": options.fold,
        }
        g_attention, d_attention = options.attended(size)
        g = GeneratorOptions(
            z_dim=options.z_dim,
            channels=options.g_channels,
            norm=options.norm,
            attention=g_attention,
            **common,
        )
        d = DiscriminatorOptions(
            channels=options.d_channels,
            norm="spectral",
            attention=d_attention,
            activated_shortcut=options.d_activated_shortcut,
            **common,
        )
        self.G, self.D = Generator(size, g), Discriminator(size, d)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.singular_values = SingularValues(G=self.G, D=self.D)
        self.players = {
            "D": Player([self.D], adam(options.d_lr, 0.0, options.beta2)),
            "G": Player([self.G], adam(options.g_lr, 0.0, options.beta2)),
        }
        self.phases = d_then_g(self.discriminator, self.generator, d_steps=options.d_steps)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        # One forward: nothing in D mixes images, and singular vectors are refined once.
        on_real, on_fake = self.D(*self.real_then_fake(batch)).chunk(2)
        self.watch(logit_real=on_real.mean(), logit_fake=on_fake.mean())
        self.scored(on_real, on_fake, "sign")
        return {"adv": hinge_d(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": hinge_g(self.D(self.fake(batch), self.labels(batch)))}

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)
        if at.step == 1:
            self.singular_values.begin()

    def measure(self, generator: torch.Generator) -> dict[str, float]:
        """Singular values of all layers and their growth, as BigGAN's authors watched them."""
        return self.singular_values.read()
