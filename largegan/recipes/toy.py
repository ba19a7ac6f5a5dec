"""The task of the 1-D toys: numbers from N(4, 1.25^2), and how near a recipe comes to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.files.ranges import Halflife, LearningRate, Width
from largegan.recipe import Batch, DataSpec, Progress, Recipe, by_averages_alone

MEAN, STD = 4.0, 1.25


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """Options that every toy has."""

    z_dim: Width = 16
    """Uniform numbers that one example is made from."""
    width: Width = 64
    """Units of a hidden layer."""
    lr: LearningRate = 1e-3
    """Adam's learning rate, all players."""
    ema_halflife_nimg: Halflife = 50_000
    """Half-life of the averaged generator, in examples."""


class Toy(Recipe):
    """A generator `G` of numbers and its average `G_ema`; a subclass says how it learns."""

    reads = ("x",)
    targets = MappingProxyType({"mean": MEAN, "std": STD, "skew": 0.0, "kurtosis": 3.0})
    z_dim: int

    def fake(self, batch: Batch) -> Tensor:
        """`[N, 1]`, as many as the batch has."""
        like = batch["x"]
        return self.G(torch.rand(len(like), self.z_dim, device=like.device) * 2 - 1)

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, self.z_dim, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)

    def measure(self, generator: torch.Generator) -> dict[str, float]:
        """Mean, std, skew and kurtosis of 100,000 samples, to be held against `targets`."""
        return moments(self.sample(100_000, generator))

    def picture(self, generator: torch.Generator) -> Tensor:
        """The two histograms, and the moments against the target: uint8 [3, H, W]."""
        noise = torch.randn(100_000, generator=generator, device=generator.device)
        found = self.measure(generator)
        title = "  ".join(f"{k} {v:.2f} ({self.targets[k]:g})" for k, v in found.items())
        samples = {"generated": self.sample(100_000, generator)}
        name = type(self).__name__
        return histograms(noise, samples, title=f"{name}\nfound (wanted): {title}")


def refuse_images(data: DataSpec, recipe: str) -> None:
    """Raises `ConfigError` unless an example is one number."""
    if data != DataSpec(channels=1, height=1, width=1):
        raise ConfigError(
            f"recipe {recipe} learns single numbers; set data.path to synthetic:gaussian"
        )


def moments(x: Tensor) -> dict[str, float]:
    """Mean, std, skew and kurtosis of numbers of any shape."""
    x = x.flatten().double()
    mean, std = x.mean(), x.std()
    z = (x - mean) / std
    found = {"mean": mean, "std": std, "skew": (z**3).mean(), "kurtosis": (z**4).mean()}
    return {name: float(value) for name, value in found.items()}


def histograms(noise: Tensor, samples: Mapping[str, Tensor], *, title: str) -> Tensor:
    """uint8 `[3, H, W]`: the target's histogram, from normal `noise`, behind those of `samples`."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    bins = np.linspace(MEAN - 5 * STD, MEAN + 5 * STD, 81)
    shown = {f"target: N({MEAN:g}, {STD:g}²)": MEAN + STD * noise} | dict(samples)
    for label, x in shown.items():
        axes.hist(x.flatten().cpu().numpy(), bins=bins, alpha=0.5, density=True, label=label)
    axes.set_title(title, fontsize=9)
    axes.legend(loc="upper right")
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)
