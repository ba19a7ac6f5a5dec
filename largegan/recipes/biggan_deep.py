"""BigGAN-deep (Brock et al., 2019, arXiv 1809.11096, appendix B): deeper, with bottlenecks.

As published: as BigGAN (`recipes/biggan.py`), but 128 wide, two bottleneck blocks a stage, and all
of z (128 numbers) beside the class in every norm. `shortcut` chooses between the paper's blocks and
StudioGAN's, which could not train the paper's. BigGAN-PyTorch calls its own version untested.
Losses and sampling are those of `recipes/biggan.py`, and so is what differs from the paper.
"""

from dataclasses import dataclass

from largegan.files.ranges import Depth, Width
from largegan.nets.biggan_deep import (
    Discriminator,
    DiscriminatorOptions,
    Generator,
    GeneratorOptions,
    Shortcut,
)
from largegan.recipe import DataSpec
from largegan.recipes.biggan import LargeScaleGAN, LargeScaleOptions
from largegan.recipes.noise_to_image import square_side


@dataclass(frozen=True, kw_only=True)
class BigGANDeepOptions(LargeScaleOptions):
    """Options of `biggan_deep`."""

    z_dim: Width = 128
    g_channels: Width = 128
    d_channels: Width = 128
    depth: Depth = 2
    """Blocks a stage, in both networks."""
    shortcut: Shortcut = "identity"
    """The paper's blocks drop or append channels (identity), StudioGAN's have 1 x 1
    convolutions (conv)."""


class BigGANDeep(LargeScaleGAN):
    """BigGAN-deep (Brock et al., 2019), in both of its published forms."""

    def __init__(self, data: DataSpec, options: BigGANDeepOptions):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels, with or without classes.
            options: see `BigGANDeepOptions`.
        """
        super().__init__()
        size, self.num_classes = square_side(data, "biggan_deep"), data.num_classes
        g, d = options.for_networks(data)
        blocks = {"depth": options.depth, "shortcut": options.shortcut}
        self.G = Generator(size, GeneratorOptions(**blocks, **g))
        self.D = Discriminator(size, DiscriminatorOptions(**blocks, **d))
        self.learn(options)
