"""What StyleGAN2 and StyleGAN3 have in common: styles w between latents and images, and ADA."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.augment import ADA, DiffAugment
from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import Few, Fraction, Images
from largegan.layers.conditions import Conditions
from largegan.layers.freeze import freeze
from largegan.nets.stylegan2_discriminator import Discriminator
from largegan.recipe import Batch, Recipe, Terms

Transforms = Literal[
    "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"
]
AUTO_EMA_ITERATIONS = 10_000 / 32  # half-life of "auto": batch / 32 * 10,000 images


@dataclass(frozen=True, kw_only=True)
class LimitedDataOptions:
    """Options of training with few images (Karras et al., 2020, arXiv 2006.06676)."""

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

    def augmentation(self) -> nn.Module:
        """`[N, C, H, W]` -> the same shape. Raises `ConfigError` unless p is a probability."""
        if not 0 <= self.ada_p <= 1:
            raise ConfigError(f"recipe.ada_p is {self.ada_p:g}; a probability is from 0 to 1")
        if self.augment == "ada":
            return ADA(
                self.ada_transforms,
                target=self.ada_target,
                nimg_to_full=self.ada_nimg_to_full,
                p=self.ada_p,
            )
        return DiffAugment() if self.augment == "diffaugment" else nn.Identity()


class StyleBased(Recipe):
    """A generator of `mapping` and `synthesis`, its average, a discriminator behind `augment`.

    A subclass builds them, `conditions`, and sets `z_dim` and `num_classes`.
    """

    vectors = True
    run_state = ("augment.p", "augment.signs", "conditions.table")
    drawn_by = ("G_ema", "conditions")

    z_dim: int
    conditions: Conditions
    augment: nn.Module
    G_ema: Ema

    def condition(self, batch: Batch) -> Tensor | None:
        """One-hot classes `[N, num_classes]`, or the vectors that labels stand for."""
        return self.conditions(batch["label"]) if self.num_classes else None

    def observe(self, real: Tensor) -> None:
        """D's logits of real images: how ADA sees that D overfits."""
        if isinstance(self.augment, ADA):
            self.augment.observe(real)
            self.watch(ada_p=self.augment.p, real_sign=real.sign().mean())

    def logistic(self, real: Tensor, fake: Tensor) -> Terms:
        """D's loss: softplus of its logits."""
        self.scored(real, fake)
        return {"fake": F.softplus(fake).mean(), "real": F.softplus(-real).mean()}

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
        raise NotImplementedError


def halflife(nimg: float | None, batch_size: int) -> float:
    """Of the averaged generator, in images; None follows the batch."""
    return AUTO_EMA_ITERATIONS * batch_size if nimg is None else nimg


def freeze_first(discriminator: Discriminator, count: int) -> None:
    """Freezes `count` layers; the last three have to learn."""
    layers = list(discriminator.layers())
    if not 0 <= count <= len(layers) - 3:
        raise ConfigError(
            f"recipe.freeze_d is {count}; at this size it may be from 0 to {len(layers) - 3}"
        )
    for layer in layers[:count]:
        freeze(layer)
