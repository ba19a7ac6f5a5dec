"""Large scale GAN training for high fidelity natural image synthesis (Brock et al., 2019, arXiv
1809.11096): BigGAN.

As published: ResNets with self-attention at 64 pixels, spectral norm in both networks, class
embedding shared by all norms, each block with its own part of z, projection, hinge, orthogonal
start and orthogonal regularization 1e-4, batch norm over all devices, Adam 5e-5 and 2e-4, beta
(0, 0.999), eps 1e-6, 2 discriminator steps, batch 2048, samples from averaged weights (0.9999 a
step), with standing statistics and truncated z (`largegan sample --standing 16 --truncation T`).
Here: fakes take the labels of the batch's reals (the paper draws them uniformly), running
statistics follow the generator's own steps only, and the average's half-life grows with training
instead of starting at step 20,000.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.files.ranges import (
    Beta,
    Depth,
    Few,
    Halflife,
    LearningRate,
    PositiveWeight,
    Weight,
    Width,
)
from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.latents import resampled
from largegan.layers.orthogonal import Start, orthogonal_penalty
from largegan.layers.singular_values import SingularValues
from largegan.layers.spectral_norm import Spectral
from largegan.losses import hinge_d, hinge_g
from largegan.nets.biggan import (
    Discriminator,
    DiscriminatorOptions,
    Generator,
    GeneratorOptions,
)
from largegan.recipe import Batch, DataSpec, Player, Progress, Terms, adam, by_averages_alone
from largegan.recipes.handicaps import HandicapOptions, Handicapped
from largegan.recipes.noise_to_image import square_side
from largegan.recipes.self_attention import SelfAttentionOptions
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class LargeScaleOptions(HandicapOptions, SelfAttentionOptions):
    """Options of `biggan` and of `biggan_deep`."""

    z_dim: Width = 120
    """Numbers in a latent vector, standard normal."""
    shared_dim: Few = 128
    """Length of the class embedding that all norms share; 0: each has a table of its own."""
    g_channels: Width = 96
    """Unit of the generator's widths (16 of them at 4 x 4)."""
    d_channels: Width = 96
    """Unit of the discriminator's widths."""
    g_widths: list[Width] | None = None
    """The generator's feature maps at 4 x 4 and after each stage; null: multiples of g_channels."""
    d_widths: list[Width] | None = None
    """The discriminator's after each stage (BigGAN-deep: and before); null: of d_channels."""
    d_activated_shortcut: bool = False
    """The discriminator's shortcuts see activated features, as in StudioGAN."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in the generator."""
    bn_eps: PositiveWeight = 1e-5
    """What batch norm adds to variances."""
    sync_bn: bool = True
    """Batch norm over the images of all ranks; with accumulation, of the micro-batches that
    ranks compute at the same moment."""
    sn_values: Depth = 1
    """Singular values followed in each layer; the paper's figures show 3."""
    sn_iterations: Depth = 1
    """Power iterations per update."""
    sn_eps: PositiveWeight = 1e-6
    """Least norm of a singular vector."""
    sn_update: Literal["forward", "step"] = "forward"
    """Refine singular vectors in every forward (as published) or once a step."""
    sn_refine_in_eval: bool = True
    """Refine copies of them once more while sampling, as BigGAN-PyTorch does and torch does not."""
    start: Start = "orthogonal"
    """What weights start as."""
    fold: bool = True
    """Resample inside the convolutions: the same numbers, less arithmetic."""
    ortho: Weight = 1e-4
    """Weight of the orthogonal regularization of the generator."""
    d_steps: Depth = 2
    """Discriminator steps per generator step."""
    g_lr: LearningRate = 5e-5
    """Adam's learning rate of the generator."""
    d_lr: LearningRate = 2e-4
    """Adam's learning rate of the discriminator."""
    beta1: Beta = 0.0
    """Adam's momentum, both players."""
    adam_eps: PositiveWeight = 1e-6
    """What Adam adds to the roots that it divides by, both players."""
    ema_halflife_nimg: Halflife = 14_200_000

    def for_networks(self, data: DataSpec) -> tuple[dict[str, Any], dict[str, Any]]:
        """Options of the generator and of the discriminator, as far as both recipes have them."""
        g_attention, d_attention = self.attended(data.height)
        spectral = Spectral(
            self.sn_values,
            self.sn_iterations,
            self.sn_eps,
            self.sn_update,
            refine_in_eval=self.sn_refine_in_eval,
        )
        common = {
            "image_channels": data.channels,
            "num_classes": data.num_classes,
            "spectral": spectral,
            "start": self.start,
            "fold": self.fold,
        }
        generator = {
            "z_dim": self.z_dim,
            "channels": self.g_channels,
            "widths": self.g_widths,
            "shared_dim": self.shared_dim,
            "attention": g_attention,
            "norm": self.norm,
            "bn_eps": self.bn_eps,
            "batch_norm": partial(BatchNorm2d, cross_rank=self.sync_bn),
        }
        discriminator = {
            "channels": self.d_channels,
            "widths": self.d_widths,
            "activated_shortcut": self.d_activated_shortcut,
            "attention": d_attention,
        }
        return generator | common, discriminator | common


@dataclass(frozen=True, kw_only=True)
class BigGANOptions(LargeScaleOptions):
    """Options of `biggan`."""

    z_dim: Width = 120
    """Numbers in a latent vector, standard normal; rounded down to equal parts."""
    hierarchical: bool = True
    """Each block sees its own part of z; else the first layer sees all of it."""
    d_wide: bool = True
    """The hidden width of the discriminator's blocks is their output's; else their input's."""


class LargeScaleGAN(Handicapped):
    """How BigGAN and BigGAN-deep learn and sample, whatever `G` and `D` are made of."""

    reading = "sign"

    def learn(self, options: LargeScaleOptions) -> None:
        """Once `G` and `D` are built: sets the average, the players and the phases."""
        self.z_dim = self.G.z_dim
        self.handicap(options)
        self.ortho = options.ortho
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.singular_values = SingularValues(G=self.G, D=self.D)
        learner = partial(adam, beta1=options.beta1, beta2=0.999, eps=options.adam_eps)
        self.players = {
            "D": Player([self.D], learner(options.d_lr)),
            "G": Player([self.G], learner(options.g_lr)),
        }
        self.phases = d_then_g(self.discriminator, self.generator, d_steps=options.d_steps)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        # One forward: nothing in D mixes images, and singular vectors are refined once.
        images, labels = self.real_then_fake(batch)
        on_real, on_fake = self.D(self.seen(images, at), labels).chunk(2)
        self.watch(logit_real=on_real.mean(), logit_fake=on_fake.mean())
        on_real, on_fake = self.told(on_real, on_fake)
        return {"adv": hinge_d(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        fake = self.seen(self.fake(batch), at)
        terms = {"adv": hinge_g(self.D(fake, self.labels(batch)))}
        if self.ortho:
            # Not the class embedding: its rows are classes, and may be alike.
            named = self.G.named_parameters()
            weights = [p for name, p in named if not name.startswith("shared.")]
            terms["ortho"] = self.ortho * orthogonal_penalty(weights)
        return terms

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)
        if at.step == 1:
            self.singular_values.begin()

    def truncate(self, z: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        """Values beyond `amount` are drawn again (section 3.1); the paper's range is 0.04 to 2."""
        return resampled(z, amount, generator)

    @torch.no_grad()
    def embed(self, labels: Tensor) -> Tensor:
        """Class embeddings `[n, shared_dim]`, between which `decode_embedded` can go."""
        return self.G_ema.net.embed(labels)

    @torch.no_grad()
    def decode_embedded(self, z: Tensor, embedded: Tensor) -> Tensor:
        """Images for latents and embeddings `[n, shared_dim]`."""
        return self.G_ema.net.draw(z, embedded)

    def measure(self, generator: torch.Generator) -> dict[str, float]:
        """Singular values of all layers and their growth (section 4)."""
        return self.singular_values.read()


class BigGAN(LargeScaleGAN):
    """Class-conditional GAN at large scale (Brock et al., 2019)."""

    def __init__(self, data: DataSpec, options: BigGANOptions):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels, with or without classes.
            options: see `BigGANOptions`.
        """
        super().__init__()
        size, self.num_classes = square_side(data, "biggan"), data.num_classes
        g, d = options.for_networks(data)
        self.G = Generator(size, GeneratorOptions(hierarchical=options.hierarchical, **g))
        self.D = Discriminator(size, DiscriminatorOptions(wide=options.d_wide, **d))
        self.learn(options)
