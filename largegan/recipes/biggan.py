"""Large scale GAN training for high fidelity natural image synthesis (Brock et al., 2019, arXiv
1809.11096): BigGAN.

As published: ResNets with self-attention at 64 pixels, spectral norm in both networks, class
embedding shared by all norms, each block with its own part of z, projection, hinge, orthogonal
start and orthogonal regularisation 1e-4, batch norm over all devices, Adam 5e-5 and 2e-4, beta
(0, 0.999), eps 1e-6, 2 discriminator steps, batch 2048, samples from averaged weights (0.9999 a
step), with standing statistics and truncated z (`tools/sample.py --standing 16 --truncation T`).
Here: fakes take the labels of the batch's reals (the paper draws them uniformly), running
statistics follow the generator's own steps only, and the average's half-life grows with training
instead of starting at step 20,000.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.latents import resampled
from largegan.layers.orthogonal import Start, orthogonal_penalty
from largegan.layers.singular_values import SingularValues
from largegan.layers.spectral_norm import Spectral
from largegan.losses import hinge_d, hinge_g
from largegan.nets.biggan import Discriminator, Generator
from largegan.nets.resnet_sn import blocks_that_give
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


class BigGAN(Recipe):
    """Class-conditional GAN at large scale (Brock et al., 2019)."""

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 120,
        shared_dim: int = 128,
        hierarchical: bool = True,
        g_channels: int = 96,
        d_channels: int = 96,
        attention: int = 64,
        norm: Literal["batch", "none"] = "batch",
        sync_bn: bool = True,
        sn_values: int = 1,
        sn_iterations: int = 1,
        sn_eps: float = 1e-6,
        sn_update: Literal["forward", "step"] = "forward",
        start: Start = "orthogonal",
        fold: bool = True,
        ortho: float = 1e-4,
        d_steps: int = 2,
        g_lr: float = 5e-5,
        d_lr: float = 2e-4,
        beta1: float = 0.0,
        ema_halflife_nimg: float = 14_200_000,
    ):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels, with or without classes.
            z_dim: numbers in a latent vector, standard normal; rounded down to equal parts.
            shared_dim: length of the class embedding.
            hierarchical: each block sees its own part of z; else the first layer sees all of it.
            g_channels: unit of the generator's widths (16 of them at 4 x 4).
            d_channels: unit of the discriminator's widths.
            attention: size of the feature maps with self-attention, in both networks; 0: none.
            norm: batch norm, or none, in the generator.
            sync_bn: batch norm over the images of all ranks; with accumulation, of the
                micro-batches that ranks compute at the same moment.
            sn_values: singular values followed in each layer; the paper's figures show 3.
            sn_iterations: power iterations per update.
            sn_eps: least norm of a singular vector.
            sn_update: refine singular vectors in every forward (as published) or once a step.
            start: what weights start as.
            fold: resample inside the convolutions: the same numbers, less arithmetic.
            ortho: weight of the orthogonal regularisation of the generator.
            d_steps: discriminator steps per generator step.
            g_lr: Adam's learning rate of the generator.
            d_lr: Adam's learning rate of the discriminator.
            beta1: Adam's momentum, both players.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        if data.height != data.width:
            raise ConfigError(f"recipe biggan needs square images, not {data.height}x{data.width}")
        self.num_classes, size = data.num_classes, data.height
        shape = {"image_channels": data.channels, "num_classes": data.num_classes}
        spectral = Spectral(sn_values, sn_iterations, sn_eps, sn_update, refine_in_eval=True)
        common = shape | {"spectral": spectral, "start": start, "fold": fold}
        self.G = Generator(
            size,
            z_dim=z_dim,
            channels=g_channels,
            shared_dim=shared_dim,
            hierarchical=hierarchical,
            attention=blocks_that_give(attention, resolution=size, up=True),
            norm=norm,
            batch_norm=partial(BatchNorm2d, cross_rank=sync_bn),
            **common,
        )
        self.D = Discriminator(
            size,
            channels=d_channels,
            attention=blocks_that_give(attention, resolution=size, up=False),
            **common,
        )
        self.set_up(
            ortho=ortho,
            d_steps=d_steps,
            g_lr=g_lr,
            d_lr=d_lr,
            beta1=beta1,
            ema_halflife_nimg=ema_halflife_nimg,
        )

    def set_up(
        self,
        *,
        ortho: float,
        d_steps: int,
        g_lr: float,
        d_lr: float,
        beta1: float,
        ema_halflife_nimg: float,
    ) -> None:
        """How `G` and `D` learn, whatever they are made of: BigGAN-deep does it alike."""
        self.ortho = ortho
        self.G_ema = Ema(self.G, halflife_nimg=ema_halflife_nimg)
        self.singular_values = SingularValues(G=self.G, D=self.D)
        self.players = {
            "D": Player([self.D], adam(d_lr, beta1, 0.999, eps=1e-6)),
            "G": Player([self.G], adam(g_lr, beta1, 0.999, eps=1e-6)),
        }
        self.phases = [
            Phase("D", self.discriminator, repeat=d_steps),
            Phase("G", self.generator, fresh=False),
        ]

    def labels(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.num_classes else None

    def fake(self, batch: Batch) -> Tensor:
        real = batch["image"]
        z = torch.randn(len(real), self.G.z_dim, device=real.device)
        return self.G(z, self.labels(batch))

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real, labels = batch["image"], self.labels(batch)
        with frozen_statistics(self.G):
            fake = self.fake(batch)
        # One forward: nothing in D mixes images, and singular vectors are refined once.
        both = None if labels is None else torch.cat([labels, labels])
        on_real, on_fake = self.D(torch.cat([real, fake]), both).chunk(2)
        self.watch(logit_real=on_real.mean(), logit_fake=on_fake.mean())
        return {"adv": hinge_d(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        terms = {"adv": hinge_g(self.D(self.fake(batch), self.labels(batch)))}
        if self.ortho:
            # Not the class embedding: its rows are classes, and may be alike.
            named = self.G.named_parameters()
            weights = [p for name, p in named if not name.startswith("shared.")]
            terms["ortho"] = self.ortho * orthogonal_penalty(weights)
        return terms

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)
        if at.step == 1:
            self.singular_values.begin()

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.G.z_dim, generator=generator, device=generator.device)

    def truncate(self, z: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        """Values beyond `amount` are drawn again (section 3.1); the paper's range is 0.04 to 2."""
        return resampled(z, amount, generator)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`; without labels the classes take turns."""
        if self.num_classes and labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        return self.G_ema(z, labels)

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
