"""The table of recipes: the one place where a paper's name becomes a class.

Adding a GAN is one file in this folder and one row here. Nothing is imported until it is chosen.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from largegan.recipe import DataSpec, Recipe

TABLE = {
    # name: (module:class, what it is)
    "gaussian": ("gaussian:Gaussian", "1-D toy: learns N(4, 1.25^2) from uniform noise"),
    "gan": ("gan:GAN", "the original GAN with MLPs (Goodfellow et al., 2014)"),
    "dcgan": ("dcgan:DCGAN", "deep convolutional GAN (Radford et al., 2016)"),
    "wgan": ("wgan:WGAN", "Wasserstein GAN with weight clipping (Arjovsky et al., 2017)"),
    "wgan_gp": ("wgan_gp:WGANGP", "Wasserstein GAN with gradient penalty (Gulrajani et al., 2017)"),
    "sngan": ("sngan:SNGAN", "spectral normalization, ResNet, hinge (Miyato et al., 2018)"),
    "stylegan2": ("stylegan2:StyleGAN2", "style-based generator, ADA (Karras et al., 2020)"),
    "stylegan3": ("stylegan3:StyleGAN3", "alias-free generator, T and R (Karras et al., 2021)"),
    "r3gan": ("r3gan:R3GAN", "relativistic loss, R1 and R2, no tricks (Huang et al., 2024)"),
    "cgan": ("cgan:CGAN", "conditional GAN with MLPs or DCGAN (Mirza & Osindero, 2014)"),
    "sagan": ("sagan:SAGAN", "self-attention, spectral norm in both (Zhang et al., 2019)"),
    "biggan": ("biggan:BigGAN", "class-conditional at large scale (Brock et al., 2019)"),
    "biggan_deep": ("biggan_deep:BigGANDeep", "BigGAN-deep, both published forms (ibid.)"),
    "pix2pix": ("pix2pix:Pix2Pix", "translation from pairs (Isola et al., 2017)"),
    "cyclegan": ("cyclegan:CycleGAN", "unpaired translation both ways (Zhu et al., 2017)"),
    "lapgan": ("lapgan:LAPGAN", "a Laplacian pyramid of GANs (Denton et al., 2015)"),
    "gmmn": ("gmmn:GMMN", "moment matching, no discriminator (Li et al., 2015)"),
    "gmmn_codes": ("gmmn_codes:GMMNCodes", "moment matching on codes of an auto-encoder (ibid.)"),
    "gaussian_mmd": ("gaussian_mmd:GaussianMMD", "the 1-D toy by moment matching"),
    "ali": ("ali:ALI", "adversarially learned inference, an encoder (Dumoulin et al., 2017)"),
    "bigan": ("bigan:BiGAN", "bidirectional GAN with MLPs, an encoder (Donahue et al., 2017)"),
    "srresnet": ("srresnet:SRResNet", "super-resolution by a pixel loss (Ledig et al., 2017)"),
    "srgan": ("srgan:SRGAN", "super-resolution GAN (Ledig et al., 2017)"),
    "esrgan": ("esrgan:ESRGAN", "SRGAN, relativistic, dense blocks (Wang et al., 2018)"),
    "projected_gan": (
        "projected_gan:ProjectedGAN",
        "a frozen, pre-trained network as the judges' eyes (Sauer et al., 2021)",
    ),
    "gat": ("gat:GAT", "transformers that are judged at four levels (Hyun et al., 2025)"),
    "cut": ("cut:CUT", "contrastive unpaired translation, FastCUT (Park et al., 2020)"),
}


def recipe_class(name: str) -> "type[Recipe]":
    """The class behind a name in the table."""
    module, cls = TABLE[name][0].split(":")
    return getattr(importlib.import_module(f"largegan.recipes.{module}"), cls)


def options_class(name: str) -> type:
    """The dataclass of a recipe's options: what its constructor takes besides the data."""
    return inspect.signature(recipe_class(name).__init__).parameters["options"].annotation


def build(name: str, data: "DataSpec", options: Mapping[str, Any]) -> "Recipe":
    """A recipe with new weights. Raises `TypeError` for an option that it does not have."""
    return recipe_class(name)(data, options_class(name)(**options))
