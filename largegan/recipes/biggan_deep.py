"""BigGAN-deep (Brock et al., 2019, arXiv 1809.11096, appendix B): deeper, with bottlenecks.

As published: as BigGAN (`recipes/biggan.py`), but 128 wide, two bottleneck blocks a stage, and all
of z (128 numbers) beside the class in every norm. `shortcut` chooses between the paper's blocks and
StudioGAN's, which could not train the paper's. BigGAN-PyTorch calls its own version untested.
Losses and sampling are those of `recipes/biggan.py`, and so is what differs from the paper.
"""

from functools import partial
from typing import Literal

from largegan.errors import ConfigError
from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.orthogonal import Start
from largegan.layers.spectral_norm import Spectral
from largegan.nets.biggan_deep import Discriminator, Generator, Shortcut
from largegan.nets.resnet_sn import blocks_that_give
from largegan.recipe import DataSpec, Recipe
from largegan.recipes.biggan import BigGAN


class BigGANDeep(BigGAN):
    """BigGAN-deep (Brock et al., 2019), in both of its published forms."""

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 128,
        shared_dim: int = 128,
        g_channels: int = 128,
        d_channels: int = 128,
        depth: int = 2,
        shortcut: Shortcut = "identity",
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
            z_dim: numbers in a latent vector, standard normal.
            shared_dim: length of the class embedding.
            g_channels: unit of the generator's widths (16 of them at 4 x 4).
            d_channels: unit of the discriminator's widths.
            depth: blocks a stage, in both networks.
            shortcut: the paper's blocks drop or append channels (identity), StudioGAN's have 1 x 1
                convolutions (conv).
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
        Recipe.__init__(self)  # not BigGAN's networks
        if data.height != data.width:
            raise ConfigError(
                f"recipe biggan_deep needs square images, not {data.height}x{data.width}"
            )
        self.num_classes, size = data.num_classes, data.height
        shape = {"image_channels": data.channels, "num_classes": data.num_classes}
        spectral = Spectral(sn_values, sn_iterations, sn_eps, sn_update, refine_in_eval=True)
        common = shape | {"spectral": spectral, "start": start, "fold": fold}
        common |= {"depth": depth, "shortcut": shortcut}
        self.G = Generator(
            size,
            z_dim=z_dim,
            channels=g_channels,
            shared_dim=shared_dim,
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
