"""The 1-D toy: a generator learns N(4, 1.25^2) from uniform noise, in seconds on one core.

It is the smallest thing that is a GAN in every respect, so it is where to look first: two
players, two phases, two losses. A zero-centered gradient penalty on the discriminator (R1,
Mescheder et al., 2018, Eq. 9) makes it converge instead of circling.
"""

from dataclasses import dataclass

from largegan.ema import Ema
from largegan.files.ranges import Weight
from largegan.losses import minimax_d, non_saturating_g
from largegan.nets.mlp import MLP
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.gradient_penalty import GradientPenaltyOptions, zero_centered
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.toy import Toy, ToyOptions, refuse_images


@dataclass(frozen=True, kw_only=True)
class GaussianOptions(ToyOptions, GradientPenaltyOptions, LearningRates):
    """Options of `gaussian`."""

    r1: Weight = 0.02
    """Weight of the gradient penalty."""


class Gaussian(Toy):
    """The 1-D toy: learns N(4, 1.25^2) from uniform noise."""

    def __init__(self, data: DataSpec, options: GaussianOptions):
        """
        Args:
            data: one number per example (data.path synthetic:gaussian).
            options: see `GaussianOptions`.
        """
        super().__init__()
        refuse_images(data, "gaussian")
        self.z_dim, self.weight, self.penalty = options.z_dim, options.r1, options.penalty
        self.G, self.D = MLP(options.z_dim, 1, width=options.width), MLP(1, 1, width=options.width)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        g_lr, d_lr = options.rates()
        self.players = {
            "D": Player([self.D], adam(d_lr, 0.5, 0.99)),
            "G": Player([self.G], adam(g_lr, 0.5, 0.99)),
        }
        self.phases = [
            Phase("D", self.discriminator, second_order=options.second_order),
            Phase("G", self.generator, fresh=False),
        ]

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real = batch["x"]  # [N, 1]
        score, r1 = zero_centered(self.D, real, self.penalty)
        on_fake = self.D(self.fake(batch))
        self.scored(score, on_fake)
        return {
            "adv": minimax_d(score, on_fake),
            "r1": self.weight * r1,
        }

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": non_saturating_g(self.D(self.fake(batch)))}
