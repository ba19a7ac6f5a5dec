"""Contrastive unpaired translation: CUT and FastCUT (Park et al., 2020, arXiv 2007.15651).

As published: a ResNet generator of 9 blocks and a 70 x 70 PatchGAN, both with blur filters,
instance norm, least squares; features after layers 0, 4, 8, 12, 16 of the generator's encoder,
256 places each, projected to 256 numbers; temperature 0.07; Adam 2e-4 with beta1 0.5, batch 1,
Glorot-normal weights with gain 0.02; the discriminator moves first, then generator and projection
together. CUT: lambda 1 on translations and on identities, 200 + 200 epochs (`constant_nimg`,
`decay_nimg`). FastCUT: `nce: 10, nce_identity: false, flip_equivariance: true`, 150 + 50 epochs.
Here: the projection is built with the other networks, not from the first batch; flips are drawn
for each image; random crops go on while the learning rate falls; images are translated by
averaged weights.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.plain_norm import init_weights, use_own_statistics
from largegan.losses import PATCH_LOSSES, patch_nce
from largegan.nets.patch_sampler import PatchSampler
from largegan.nets.patchgan import discriminator
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.recipe import (
    Batch,
    DataSpec,
    Phase,
    Player,
    Progress,
    Recipe,
    Terms,
    adam,
    linear_decay,
)


class CUT(Recipe):
    """Contrastive unpaired translation, CUT and FastCUT (Park et al., 2020)."""

    reads = ("image_a", "image_b")

    def __init__(
        self,
        data: DataSpec,
        *,
        direction: Literal["a_to_b", "b_to_a"] = "a_to_b",
        blocks: int | None = None,
        g_channels: int = 64,
        d_channels: int = 64,
        d_layers: int = 3,
        norm: Literal["instance", "batch", "none"] = "instance",
        antialias: bool = True,
        dropout: bool = False,
        gan_loss: Literal["lsgan", "vanilla", "hinge"] = "lsgan",
        gan: float = 1.0,
        nce: float = 1.0,
        nce_identity: bool = True,
        nce_layers: list[int] | None = None,
        nce_across_images: bool = False,
        patches: int = 256,
        projection: int = 256,
        temperature: float = 0.07,
        flip_equivariance: bool = False,
        lr: float = 2e-4,
        constant_nimg: int | None = None,
        decay_nimg: int = 100_000,
        ema_halflife_nimg: float = 1_000,
    ):
        """
        Args:
            data: what the images of the two domains look like; any size from 32 pixels on.
            direction: which domain becomes which.
            blocks: residual blocks of the generator; null: 9, as published.
            g_channels: width of the generator's first layer.
            d_channels: width of the discriminator's first layer.
            d_layers: halvings in the discriminator; 3 sees 70 x 70 patches, 0 single pixels.
            norm: in both networks.
            antialias: blur filters instead of strides, in both networks.
            dropout: 0.5 in the generator's blocks.
            gan_loss: least squares, cross entropy or hinge.
            gan: weight of the adversarial loss.
            nce: weight of the contrastive loss.
            nce_identity: also compare images of the target domain with their own translation;
                needs domains of the same channels.
            nce_layers: generator layers whose features are compared; null: 0, 4, 8, 12, 16.
            nce_across_images: negatives come from the whole micro-batch, not from the same image.
            patches: places compared in each layer.
            projection: numbers that features are projected to; 0: features are compared as
                they are.
            temperature: of the contrastive loss.
            flip_equivariance: translate mirrored images at random and compare them mirrored back.
            lr: Adam's learning rate, both players.
            constant_nimg: images before the learning rate begins to fall; null: it never does.
            decay_nimg: images over which it falls to 0.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        source, target = data.channels, data.channels_b
        if direction == "b_to_a":
            source, target = target, source
        if source != target:
            raise ConfigError(
                "recipe cut compares input and output by the same encoder, so both domains need "
                f"the same channels, not {source} and {target}; pack both with --channels 3"
            )
        self.directions, self.norm = (direction,), norm
        self.adversarial, self.gan = PATCH_LOSSES[gan_loss], gan
        self.nce, self.nce_identity, self.temperature = nce, nce_identity, temperature
        self.nce_layers = (0, 4, 8, 12, 16) if nce_layers is None else tuple(nce_layers)
        self.across_images, self.patches = nce_across_images, patches
        self.flip_equivariance = flip_equivariance
        self.lr, self.constant_nimg, self.decay_nimg = lr, constant_nimg, decay_nimg
        self.G = ResnetGenerator(
            source,
            target,
            channels=g_channels,
            blocks=blocks or 9,
            norm=norm,
            antialias_down=antialias,
            antialias_up=antialias,
            dropout=dropout,
        )
        self.F = PatchSampler(
            self.G.feature_channels(self.nce_layers), dim=projection, project=projection > 0
        )
        self.D = discriminator(
            target,
            size=min(data.height, data.width),
            channels=d_channels,
            layers=d_layers,
            norm=norm,
            antialias=antialias,
        )
        for net in (self.G, self.F, self.D):
            init_weights(net, xavier=True)
        self.G_ema = Ema(use_own_statistics(self.G), halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(lr, 0.5, 0.999), self.schedule),
            "G": Player([self.G, self.F], adam(lr, 0.5, 0.999), self.schedule),
        }
        self.phases = [
            Phase("D", self.discriminator),
            Phase("G", self.generator, fresh=False),
        ]

    def schedule(self, at: Progress) -> dict[str, float]:
        return linear_decay(
            self.lr, at, constant_nimg=self.constant_nimg, decay_nimg=self.decay_nimg
        )

    def domains(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images to translate, and images of the domain they shall look like."""
        images = batch["image_a"], batch["image_b"]
        return images if self.directions == ("a_to_b",) else images[::-1]

    def inputs(self, batch: Batch) -> Tensor:
        """What the generator gets: the source, then the target where identities are compared.

        Mirrored where the iteration's coin flips say so; both phases use the same flips.
        """
        source, target = self.domains(batch)
        images = torch.cat([source, target]) if self.nce_identity else source
        if self.flip_equivariance:
            if "flipped" not in batch:
                batch["flipped"] = torch.rand(len(images), device=images.device) < 0.5
            images = mirrored(images, batch["flipped"])
        return images

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        source, target = self.domains(batch)
        inputs = self.inputs(batch)
        # Only batch norm lets the identities change the translations.
        inputs = inputs if self.norm == "batch" else inputs[: len(source)]
        with frozen_statistics(self.G):
            fake = self.G(inputs)[: len(source)]
        return {"gan": self.adversarial.discriminator(self.D(target), self.D(fake))}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        source, target = self.domains(batch)
        fake, *rest = self.G(self.inputs(batch)).split(len(source))
        flips = batch["flipped"].split(len(source)) if self.flip_equivariance else (None, None)
        share = self.nce / 2 if self.nce_identity else self.nce
        terms = {
            "gan": self.gan * self.adversarial.generator(self.D(fake)),
            "nce": share * self.contrast(source, fake, flips[0]),
        }
        if self.nce_identity:
            terms["identity"] = share * self.contrast(target, rest[0], flips[1])
        return terms

    def contrast(self, source: Tensor, output: Tensor, flipped: Tensor | None) -> Tensor:
        """Each place of the output should resemble its own place in the source more than others.

        `flipped` says which outputs were made from mirrored sources.
        """
        queries = self.G.features(output, self.nce_layers)
        keys = self.G.features(source, self.nce_layers)
        if flipped is not None:
            queries = [mirrored(features, flipped) for features in queries]
        places = self.F.positions(keys, self.patches)
        pairs = zip(self.F(queries, places), self.F(keys, places), strict=True)
        losses = [
            patch_nce(q, k, temperature=self.temperature, across_images=self.across_images)
            for q, k in pairs
        ]
        return torch.stack(losses).mean()

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def translator(self, direction: str) -> nn.Module:
        return self.G_ema.net


def mirrored(x: Tensor, which: Tensor) -> Tensor:
    """`[N, C, H, W]` with the images flipped left to right for which `which` `[N]` is true."""
    return torch.where(which[:, None, None, None], x.flip(3), x)
