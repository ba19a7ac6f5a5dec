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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.files.ranges import Depth, Few, PositiveWeight, Weight, Width
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.plain_norm import init_weights
from largegan.losses import PATCH_LOSSES, patch_nce
from largegan.nets.patch_sampler import PatchSampler
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.recipe import Batch, DataSpec, Phase, Progress, Terms, by_averages_alone
from largegan.recipes.translation import (
    Translation,
    TranslationOptions,
    build_discriminator,
    channels_of,
    up,
)


@dataclass(frozen=True, kw_only=True)
class CUTOptions(TranslationOptions):
    """Options of `cut`."""

    direction: Literal["a_to_b", "b_to_a"] = "a_to_b"
    """Which domain becomes which."""
    blocks: Depth | None = None
    """Residual blocks of the generator; null: 9, as published."""
    antialias: bool = True
    gan: Weight = 1.0
    """Weight of the adversarial loss."""
    nce: Weight = 1.0
    """Weight of the contrastive loss."""
    nce_identity: bool = True
    """Also compare images of the target domain with their own translation; needs domains of the
    same channels."""
    nce_layers: list[Few] | None = None
    """Generator layers whose features are compared; null: 0, 4, 8, 12, 16."""
    nce_across_images: bool = False
    """Negatives come from the whole micro-batch, not from the same image."""
    patches: Width = 256
    """Places compared in each layer."""
    projection: Few = 256
    """Numbers that features are projected to; 0: features are compared as they are."""
    temperature: PositiveWeight = 0.07
    """Of the contrastive loss."""
    flip_equivariance: bool = False
    """Translate mirrored images at random and compare them mirrored back."""


class CUT(Translation):
    """Contrastive unpaired translation, CUT and FastCUT (Park et al., 2020)."""

    def __init__(self, data: DataSpec, options: CUTOptions):
        """
        Args:
            data: what the images of the two domains look like; any size from 32 pixels on.
            options: see `CUTOptions`.
        """
        super().__init__()
        self.keep(options)
        source, target = channels_of(data, options.direction)
        if source != target:
            raise ConfigError(
                "recipe cut compares input and output by the same encoder, so both domains need "
                f"the same channels, not {source} and {target}; pack both with --channels 3"
            )
        self.directions = (options.direction,)
        self.norm, self.dropout = options.norm, options.dropout
        self.adversarial, self.gan = PATCH_LOSSES[options.gan_loss], options.gan
        self.nce, self.nce_identity = options.nce, options.nce_identity
        self.temperature, self.patches = options.temperature, options.patches
        chosen = options.nce_layers
        self.nce_layers = (0, 4, 8, 12, 16) if chosen is None else tuple(chosen)
        self.across_images = options.nce_across_images
        self.flip_equivariance = options.flip_equivariance
        self.G = ResnetGenerator(
            source,
            target,
            channels=options.g_channels,
            blocks=options.blocks or 9,
            norm=options.norm,
            antialias_down=options.antialias,
            antialias_up=up(options),
            dropout=options.dropout,
        )
        self.F = PatchSampler(
            self.G.feature_channels(self.nce_layers),
            dim=options.projection,
            project=options.projection > 0,
        )
        self.D = build_discriminator(data, target, options)
        for net in (self.G, self.F, self.D):
            init_weights(net, xavier=True)
        self.G_ema = self.averaged(self.G, options)
        self.players = {
            "D": self.player(self.d_lr, self.D),
            "G": self.player(self.g_lr, self.G, self.F),
        }
        self.phases = [
            Phase("D", self.discriminator),
            Phase("G", self.generator, fresh=False),
        ]

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
        on_real, on_fake = self.D(target), self.D(fake)
        self.scored(on_real, on_fake, self.adversarial.reading)
        return {"gan": self.adversarial.discriminator(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        source, target = self.domains(batch)
        # What the outputs are compared with lies on the way to them, if nothing sets them apart.
        shared = not (self.flip_equivariance or self.dropout or self.norm == "batch")
        made, met = self.G.with_features(self.inputs(batch), self.nce_layers if shared else ())
        fake, *rest = made.split(len(source))
        flips = batch["flipped"].split(len(source)) if self.flip_equivariance else (None, None)
        share = self.nce / 2 if self.nce_identity else self.nce
        own = slice(len(source))
        terms = {
            "gan": self.gan * self.adversarial.generator(self.D(fake)),
            "nce": share * self.contrast(source, fake, flips[0], [x[own] for x in met]),
        }
        if self.nce_identity:
            own = slice(len(source), None)
            met = [x[own] for x in met]
            terms["identity"] = share * self.contrast(target, rest[0], flips[1], met)
        return terms

    def contrast(
        self, source: Tensor, output: Tensor, flipped: Tensor | None, met: Sequence[Tensor] = ()
    ) -> Tensor:
        """Each place of the output should resemble its own place in the source more than others.

        `flipped` says which outputs were made from mirrored sources; `met` are features of the
        source, if they have been computed.
        """
        queries = self.G.features(output, self.nce_layers)
        if flipped is not None:
            queries = [mirrored(features, flipped) for features in queries]
        places = self.F.positions(queries, self.patches)
        with torch.no_grad():  # nothing is learned from what is compared with
            keys = self.F(met or self.G.features(source, self.nce_layers), places)
        losses = [
            patch_nce(q, k, temperature=self.temperature, across_images=self.across_images)
            for q, k in zip(self.F(queries, places), keys, strict=True)
        ]
        return torch.stack(losses).mean()

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def translator(self, direction: str) -> nn.Module:
        return self.G_ema.net


def mirrored(x: Tensor, which: Tensor) -> Tensor:
    """`[N, C, H, W]` with the images flipped left to right for which `which` `[N]` is true."""
    return torch.where(which[:, None, None, None], x.flip(3), x)
