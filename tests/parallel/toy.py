"""A recipe with everything that makes distribution hard, in few numbers.

Spectral norm, averages, notes from phase to phase, and lazy second-order phases of both players
(R1 on D, which also differentiates twice through G, frozen then; path length on G, whose parts are
called one by one and whose last layer it leaves out). Parameters without dimensions, of one
element, and not laid out row by row. Momentum that begins later.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from largegan.ema import Ema
from largegan.layers.spectral_norm import SNConv2d, SNLinear
from largegan.recipe import (
    Batch,
    DataSpec,
    Phase,
    Player,
    Progress,
    Recipe,
    Terms,
    adam,
    by_averages_alone,
)


class Generator(nn.Module):
    """`[N, 4]` -> `[N, 3, 16, 16]`, in a mapping and a synthesis."""

    def __init__(self):
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 5))
        self.synthesis = Synthesis()
        self.shift = nn.Parameter(torch.zeros(3))
        self.gain = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(1))
        self.sometimes = nn.Parameter(torch.zeros(2, 3))  # one rank may need it, another not

    def ws(self, z: Tensor) -> Tensor:
        """One latent's, or those of two mixed: ranks call the mapping differently often."""
        w = self.mapping(z)
        if float(torch.rand(())) < 0.5:
            w = (w + self.mapping(z.flip(1))) / 2 + self.sometimes.sum()
        return w

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.ws(z)) * self.gain + self.shift[:, None, None] + self.bias


class Synthesis(nn.Module):
    """Reads weights of parts that it never calls."""

    def __init__(self):
        super().__init__()
        self.const = nn.Parameter(torch.randn(6, 4, 4))
        self.affine = nn.Parameter(torch.randn(6, 5).t() / 2)  # not laid out row by row
        self.blocks = nn.ModuleList([nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 3, 1)])

    def forward(self, w: Tensor) -> Tensor:
        x = self.const * (w @ self.affine)[:, :, None, None]
        first, last = self.blocks
        x = F.conv2d(F.interpolate(x, scale_factor=4), 2 * first.weight, first.bias, padding=1)
        return last(F.softplus(x)).tanh()


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([SNConv2d(3, 4, 3, 2, 1), SNConv2d(4, 5, 3, 2, 1)])
        self.head = SNLinear(5 * 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = F.softplus(block(x))
        return self.head(x.flatten(1)).squeeze(1)


def momentum(at: Progress) -> dict[str, float]:
    """It begins after the first iteration."""
    return {"momentum": 0.5 if at.step else 0.0}


class Toy(Recipe):
    """Logistic loss, R1 every 2, path length every 2, all smooth."""

    def __init__(self, data: DataSpec | None = None):
        super().__init__()
        self.G, self.D = Generator(), Discriminator()
        self.G_ema = Ema(self.G, halflife_nimg=20)
        self.register_buffer("length", torch.zeros(()))
        # A large eps: with a small one Adam turns rounding of a gradient near 0 into a whole step.
        self.players = {
            "G": Player([self.G], adam(2e-3, 0.5, 0.99, eps=1e-4)),
            "D": Player([self.D], partial(SGD, lr=2e-3), momentum),
        }
        # R1 first: where it needs G, G's own phase before it was one of first order.
        self.phases = [
            Phase("D", self.discriminator),
            Phase("G", self.generator, fresh=False),
            Phase("D", self.r1, every=2, fresh=False, second_order=True),
            Phase("G", self.path_length, every=2, fresh=False, second_order=True, others=()),
        ]

    def fake(self, batch: Batch) -> Tensor:
        return self.G(torch.randn(len(batch["image"]), 4))

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real, fake = self.D(batch["image"]), self.D(self.fake(batch))
        return {"real": F.softplus(-real).mean(), "fake": F.softplus(fake).mean()}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": F.softplus(-self.D(self.fake(batch))).mean()}

    def path_length(self, batch: Batch, at: Progress) -> Terms:
        w = self.G.mapping(torch.randn(len(batch["image"]), 4))
        image = self.G.synthesis(w)
        (slope,) = torch.autograd.grad(
            (image * torch.randn(image.shape)).sum(), w, create_graph=True
        )
        return {"pl": (slope.square().sum(1).sqrt() - 0.3).square().mean()}

    def r1(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"].detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(self.D(real).sum(), real, create_graph=True)
        z = torch.randn(len(real), 4).requires_grad_(True)
        (to_z,) = torch.autograd.grad(self.D(self.G(z)).sum(), z, create_graph=True)
        return {"r1": slope.square().sum((1, 2, 3)).mean(), "through": to_z.square().sum(1).mean()}

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 4, generator=generator)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)
