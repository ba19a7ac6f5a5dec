"""Projected GANs converge faster (Sauer et al., 2021, arXiv 2111.01007).

As published: FastGAN's generator, a frozen EfficientNet-Lite0 whose maps are mixed at random
across channels and scales, four discriminators on them with spectral norm, hinge loss without
gradient penalty, DiffAugment (cutout of a fifth), Adam 2e-4, beta (0, 0.99), generator first, one
batch of reals for both, batch 64, an average of 312.5 batches with ramp-up. Adam of D is corrected
for lazy steps that there are none of (16/17), as in the published program. Images below 224 pixels
are enlarged to it. Here: any size from 8 pixels on (the published generator begins at 128), any
convolutional backbone of timm with local weights, and fakes take the labels of the batch's reals.
Where the backbone was trained with another normalization than [-1, 1] it gets its own.

What a pre-trained judge changes in D-dominance. A discriminator that learns from pixels wins by
finding any detail that fakes lack, soon one that means nothing to an eye, and G's gradients fade
or point at noise; R1, ADA, fewer D steps hold it back. Here the features are fixed: D can only
weigh what the backbone has always seen in photographs, through mixtures that hide no feature and
show none alone, and has few layers to do it with. So the balance is set by the feature space, not
by a penalty: D may win on the hinge loss (its logits leave [-1, 1], its loss falls towards 0) and
G still learns, because -E D(G(z)) has no plateau and the gradient comes back through features that
mean something. The price: what the backbone does not see nobody punishes (grain, small geometry),
FID flatters such images (its network was trained on the same photographs), and where the judges'
loss is 0 from the first minutes it no longer tells anything about the pictures.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.augment import DiffAugment
from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import Depth, Halflife, LearningRate, Width
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import hinge_d, hinge_g
from largegan.nets.fastgan import WIDTHS, Generator
from largegan.nets.pretrained import Backbone
from largegan.nets.projected import KERNEL, Discriminators, Projector
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions

EMA_ITERATIONS = 10_000 / 32  # half-life: batch / 32 * 10,000 images
CUTOUT = 0.2


@dataclass(frozen=True, kw_only=True)
class ProjectedGANOptions(NoiseToImageOptions, LearningRates):
    """Options of `projected_gan`."""

    z_dim: Width = 256
    """Numbers in a latent vector, standard normal."""
    channels: Width = 128
    """Unit of the generator's widths: 16 of them at 4x4, 1 at 128x128."""
    lite: bool = False
    """A generator with one convolution a size and no noise: a third of the time."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in both networks."""
    conditional: bool = True
    """Use the classes when the data have them."""
    backbone: str = "efficientnet_lite0"
    """The frozen network whose features are judged: efficientnet_lite0, or a convolutional model of
    timm whose weights lie in a weights folder."""
    backbone_size: Width = 224
    """Smaller images are enlarged to this side before the backbone; a multiple of 32."""
    mixing: Literal["none", "channels", "scales"] = "scales"
    """How features are mixed at random: not, across channels, or across channels and scales."""
    features: Width = 64
    """Width of the mixed maps."""
    expand: bool = True
    """Coarser maps are wider, by 2, 4 and 8 before the mixing of scales."""
    judges: Depth = 4
    """So many discriminators, from the finest map on."""
    separable: bool = False
    """Discriminators of depthwise separable convolutions."""
    patch: bool = False
    """Discriminators that judge small patches: one halving each."""
    d_channel_max: Width = 512
    """No map of a discriminator has more channels than this."""
    augment: bool = True
    """DiffAugment of what the discriminators see: colors, translation, cutout."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""
    ema_halflife_nimg: Halflife | None = None
    """Half-life of the averaged generator, in images; null: 312.5 batches."""


class ProjectedGAN(NoiseToImage):
    """Discriminators on frozen, mixed features of a pre-trained network (Sauer et al., 2021)."""

    def __init__(self, data: DataSpec, options: ProjectedGANOptions):
        super().__init__()
        o = self.options = options
        check(data, o)
        self.num_classes, self.z_dim = data.num_classes if o.conditional else 0, o.z_dim
        self.G = Generator(
            data.height,
            z_dim=o.z_dim,
            channels=o.channels,
            num_classes=self.num_classes,
            image_channels=data.channels,
            lite=o.lite,
            norm=o.norm,
        )
        self.backbone = Backbone(o.backbone)
        # Drawn once: it belongs to no player, and checkpoints hold it.
        self.projector = Projector(
            self.backbone.channels, features=o.features, expand=o.expand, mixing=o.mixing
        )
        self.D = Discriminators(
            self.projector,
            count=o.judges,
            num_classes=self.num_classes,
            separable=o.separable,
            patch=o.patch,
            norm=o.norm,
            channel_max=o.d_channel_max,
        )
        seen = max(o.backbone_size, data.height)
        if self.D.smallest_map(seen) < KERNEL:
            raise ConfigError(
                f"recipe.backbone_size is {o.backbone_size}: some of the {o.judges} judges are "
                f"left with a map smaller than {KERNEL}x{KERNEL}; enlarge it, lower recipe.judges "
                "or leave recipe.patch off"
            )
        self.augment = DiffAugment(cutout_ratio=CUTOUT) if o.augment else torch.nn.Identity()
        self.G_ema = Ema(self.G, halflife_nimg=o.ema_halflife_nimg or 0, average_buffers=False)
        g_lr, d_lr = o.rates()
        self.players = {
            "G": Player([self.G], adam(g_lr, 0.0, 0.99)),
            "D": Player([self.D], adam(d_lr, 0.0, 0.99, lazy=16)),
        }
        self.phases = [
            Phase("G", self.generator),
            Phase("D", self.discriminator, fresh=False),
        ]

    def set_batch_size(self, batch_size: int) -> None:
        """Training begins: from here on the backbone is needed."""
        super().set_batch_size(batch_size)
        self.backbone.open(self.G.to_image.weight.device)

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": hinge_g(self.judge(self.fake(batch), self.labels(batch)))}

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        """Two passes, fakes first: batch norm must not mix real and fake images."""
        with frozen_statistics(self.G):
            fake = self.fake(batch)
        on_fake = self.judge(fake, self.labels(batch))
        on_real = self.judge(batch["image"], self.labels(batch))
        self.watch(logit_real=on_real.mean(), logit_fake=on_fake.mean())
        self.scored(on_real, on_fake, "sign")
        return {"adv": hinge_d(on_real, on_fake)}

    def judge(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """All logits `[N, L]` for images `[N, C, H, W]`, augmented anew at every call."""
        return self.D(self.project(self.augment(images)), labels)

    def project(self, images: Tensor) -> list[Tensor]:
        """Mixed features, four maps, the finest first."""
        size = self.options.backbone_size
        if images.shape[-1] < size:
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
        return self.projector(self.backbone(images))

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        halflife = self.options.ema_halflife_nimg
        self.G_ema.halflife_nimg = EMA_ITERATIONS * batch_size if halflife is None else halflife
        super().after_iteration(at, batch_size)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`, with fixed noise; without labels the classes take turns."""
        return super().decode(z, labels).clamp(-1, 1)


def check(data: DataSpec, o: ProjectedGANOptions) -> None:
    """Refuses what the generator cannot make or the backbone cannot see."""
    if data.height != data.width or data.height not in WIDTHS or data.height < 8:
        raise ConfigError(
            f"recipe projected_gan makes square images of 8, 16, ... {max(WIDTHS)} pixels, not "
            f"{data.height}x{data.width}; pack the images with such a --resolution"
        )
    if data.channels not in (1, 3):
        raise ConfigError(
            f"recipe projected_gan judges images of 1 or 3 channels, not {data.channels}; pack "
            "them without transparency"
        )
    if o.backbone_size % 32 or o.backbone_size < 32:
        raise ConfigError(f"recipe.backbone_size is {o.backbone_size}; it must be a multiple of 32")
    if not 1 <= o.judges <= 4:
        raise ConfigError(f"recipe.judges is {o.judges}; there may be 1 to 4")
