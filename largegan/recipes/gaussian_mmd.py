"""The 1-D toy by moment matching: learns N(4, 1.25^2) with no discriminator (Li et al., 2015).

The generator of `gaussian`, trained directly on the maximum mean discrepancy: beside `gaussian` it
shows what a discriminator is for, and what it costs (`largegan toys` draws both).
"""

from dataclasses import dataclass

from largegan.ema import Ema
from largegan.files.ranges import PositiveWeight
from largegan.nets.mlp import MLP
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.gmmn import MomentMatchingOptions, moment_loss
from largegan.recipes.toy import Toy, ToyOptions, refuse_images


@dataclass(frozen=True, kw_only=True)
class GaussianMMDOptions(ToyOptions, MomentMatchingOptions):
    """Options of `gaussian_mmd`."""

    variances: tuple[PositiveWeight, ...] = (0.1, 1.0, 10.0)
    """Of the Gaussian kernels, which are summed."""


class GaussianMMD(Toy):
    """The 1-D toy by moment matching: learns N(4, 1.25^2) from uniform noise."""

    def __init__(self, data: DataSpec, options: GaussianMMDOptions):
        """
        Args:
            data: one number per example (data.path synthetic:gaussian).
            options: see `GaussianMMDOptions`.
        """
        super().__init__()
        refuse_images(data, "gaussian_mmd")
        self.z_dim, self.distance = options.z_dim, moment_loss(options)
        self.G = MLP(options.z_dim, 1, width=options.width)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {"G": Player([self.G], adam(options.lr, 0.5, 0.99))}
        self.phases = [Phase("G", self.moments)]

    def moments(self, batch: Batch, at: Progress) -> Terms:
        return {"mmd": self.distance(batch["x"], self.fake(batch))}
