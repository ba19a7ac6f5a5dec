"""ESRGAN: dense blocks and a relativistic judge (Wang et al., 2018, arXiv 1809.00219).

As published: 23 residual-in-residual dense blocks without batch norm, the relativistic average
discriminator, content before the ReLU, 0.01 L1 + 1 content + 0.005 adversarial, Adam 1e-4, from a
generator that was trained on pixels (`srresnet` with `generator: rrdb`). Both halves of each
adversarial loss are halved, as in MMagic and BasicSR.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from largegan.losses import relativistic
from largegan.nets.upscalers import Generator, Judge
from largegan.recipe import Batch, DataSpec, Progress, Terms
from largegan.recipes.srgan import SRGAN, SRGANOptions
from largegan.recipes.srresnet import unit


@dataclass(frozen=True, kw_only=True)
class ESRGANOptions(SRGANOptions):
    """Options of `esrgan`."""

    generator: Generator = "rrdb"
    """The paper's dense blocks, or SRGAN's networks."""
    discriminator: Judge = "vgg"
    """The paper's (vgg), SRGAN's, or one that judges every pixel (unet)."""
    compare: Literal["average", "pairs"] = "average"
    """Logits with the mean of the other kind in the micro-batch, or one by one."""


class ESRGAN(SRGAN):
    """Enhanced SRGAN (Wang et al., 2018): SRGAN, but judged in comparison."""

    def __init__(self, data: DataSpec, options: ESRGANOptions):
        super().__init__(data, options)

    def generator(self, batch: Batch, at: Progress) -> Terms:
        real = unit(batch["image"])
        fake = self.G(unit(self.sources(batch)))
        batch["fake"] = fake.detach()
        on_real = self.D(real)
        to_real, to_fake = self.judged(self.D(fake), on_real)
        gan = self.options.gan_weight * (to_real + to_fake) / 2
        return self.distances(fake, real) | {"gan": gan}

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        on_fake = self.D(batch["fake"])
        on_real = self.D(unit(batch["image"]))
        self.scored(on_real, on_fake, "relative")
        # As published, what a logit is compared with is not learned from.
        real, _ = self.judged(on_real, on_fake.detach())
        _, fake = self.judged(on_real.detach(), on_fake)
        return {"real": real / 2, "fake": fake / 2}

    def judged(self, better: Tensor, worse: Tensor) -> tuple[Tensor, Tensor]:
        average = self.options.compare == "average"
        return relativistic(self.gan, better, worse, average=average)
