"""The 1-D toy: a generator learns N(4, 1.25^2) from uniform noise, in seconds on one core.

It is the smallest thing that is a GAN in every respect, so it is where to look first: two
players, two phases, two losses. A zero-centred gradient penalty on the discriminator (R1,
Mescheder et al., 2018, Eq. 9) makes it converge instead of circling.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.losses import minimax_d, non_saturating_g, r1
from largegan.nets.mlp import MLP
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam

MEAN, STD = 4.0, 1.25


@dataclass(frozen=True, kw_only=True)
class GaussianOptions:
    """Options of `gaussian`."""

    z_dim: int = 16
    """Uniform numbers that one example is made from."""
    width: int = 64
    """Units of a hidden layer."""
    lr: float = 1e-3
    """Adam's learning rate, both players."""
    r1: float = 0.02
    """Weight of the gradient penalty."""
    ema_halflife_nimg: float = 50_000
    """Half-life of the averaged generator, in examples."""


class Gaussian(Recipe):
    """The 1-D toy: learns N(4, 1.25^2) from uniform noise."""

    reads = ("x",)
    targets = MappingProxyType({"mean": MEAN, "std": STD, "skew": 0.0, "kurtosis": 3.0})

    def __init__(self, data: DataSpec, options: GaussianOptions):
        """
        Args:
            data: one number per example (data.path synthetic:gaussian).
            options: see `GaussianOptions`.
        """
        super().__init__()
        if data != DataSpec(channels=1, height=1, width=1):
            raise ConfigError(
                "recipe gaussian learns single numbers; set data.path to synthetic:gaussian"
            )
        self.z_dim, self.weight = options.z_dim, options.r1
        self.G, self.D = MLP(options.z_dim, 1, width=options.width), MLP(1, 1, width=options.width)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(options.lr, 0.5, 0.99)),
            "G": Player([self.G], adam(options.lr, 0.5, 0.99)),
        }
        self.phases = [
            Phase("D", self.discriminator, second_order=True),
            Phase("G", self.generator, fresh=False),
        ]

    def fake(self, like: Tensor) -> Tensor:
        noise = torch.rand(len(like), self.z_dim, device=like.device) * 2 - 1
        return self.G(noise)  # [N, 1]

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real = batch["x"].requires_grad_()  # [N, 1]
        score = self.D(real)
        return {
            "adv": minimax_d(score, self.D(self.fake(real))),
            "r1": self.weight * r1(score, real),
        }

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": non_saturating_g(self.D(self.fake(batch["x"])))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, self.z_dim, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)

    def measure(self, generator: torch.Generator) -> dict[str, float]:
        """Mean, std, skew and kurtosis of 100,000 samples, to be held against `targets`."""
        x = self.sample(100_000, generator).flatten().double()
        mean, std = x.mean(), x.std()
        z = (x - mean) / std
        moments = {"mean": mean, "std": std, "skew": (z**3).mean(), "kurtosis": (z**4).mean()}
        return {name: float(value) for name, value in moments.items()}

    def picture(self, generator: torch.Generator) -> Tensor:
        """The two histograms, and the moments against the target: uint8 [3, H, W]."""
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
        canvas, axes = FigureCanvasAgg(figure), figure.subplots()
        noise = torch.randn(100_000, generator=generator, device=generator.device)
        bins = np.linspace(MEAN - 5 * STD, MEAN + 5 * STD, 81)
        for x, label in (
            (MEAN + STD * noise, f"target: N({MEAN:g}, {STD:g}²)"),
            (self.sample(100_000, generator), "generated"),
        ):
            axes.hist(x.flatten().cpu().numpy(), bins=bins, alpha=0.5, density=True, label=label)
        found = self.measure(generator)
        title = "  ".join(f"{k} {v:.2f} ({self.targets[k]:g})" for k, v in found.items())
        axes.set_title(f"found (wanted): {title}", fontsize=9)
        axes.legend(loc="upper right")
        canvas.draw()
        return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)
