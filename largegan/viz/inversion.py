"""Which w draws this picture? Gradient descent in w (Karras et al., 2020, appendix D).

As published: the start is the mean w, noise on w fades out over three quarters of the steps, the
learning rate rises and falls. Differently: the distance is one of features of a timm backbone (the
published one is LPIPS), and the generator's constant noise is left as it is.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORKING_SIZE = 224  # pixels at which features are compared
Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """Where the search is. `ws` `[1, num_ws, w_dim]`, `image` `[1, C, H, W]` in [-1, 1]."""

    number: int
    distance: float
    ws: Tensor
    image: Tensor


class FeatureDistance(nn.Module):
    """Distance of images from `target` `[1, C, H, W]` in [-1, 1], as a backbone sees them.

    Feature maps of several depths are scaled to unit length at every pixel and compared there, as
    in LPIPS (Zhang et al., 2018) without its learned weights. `model` is a timm network with
    `forward_intermediates`; `mean` and `std` are what it was trained with.
    """

    def __init__(self, model: nn.Module, target: Tensor, *, mean, std):
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.to(target.device)
        with torch.no_grad():
            self.wanted = self.features(target)

    def features(self, images: Tensor) -> list[Tensor]:
        """Maps of several depths, normalized over channels, of images `[N, C, H, W]` in [-1, 1]."""
        x = (rgb(images) + 1) / 2
        size = (WORKING_SIZE, WORKING_SIZE)
        x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        maps = self.model.forward_intermediates((x - self.mean) / self.std, intermediates_only=True)
        return [F.normalize(m, dim=1) for m in maps]

    def forward(self, images: Tensor) -> Tensor:
        pairs = zip(self.features(images), self.wanted, strict=True)
        return sum((a - b).square().sum(1).mean() for a, b in pairs)


class PixelDistance(nn.Module):
    """Mean squared difference: blurry, but needs no feature network."""

    def __init__(self, target: Tensor):
        super().__init__()
        self.target = target

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.target).square().mean()


def rgb(images: Tensor) -> Tensor:
    """1 to 4 channels -> 3: gray is repeated, alpha left out."""
    colors = images[:, :3] if images.shape[1] >= 3 else images[:, :1]
    return colors.expand(-1, 3, -1, -1)


def invert(
    recipe,
    distance: Distance,
    *,
    label: int | None = None,
    steps: int = 500,
    lr: float = 0.1,
    extended: bool = False,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Iterator[Step]:
    """Yields every step of the search, the last one without noise.

    Args:
        recipe: has `ws` and `draw` (StyleGAN), averaged weights.
        distance: images to a number.
        label: the class to stay in, where the recipe has classes.
        steps: of Adam.
        lr: its learning rate at the height.
        extended: search one w per layer (W+): closer to the picture, further from what the
            generator knows.
        device: where `recipe` is.
        seed: of the noise, and of the latents whose mean and spread are measured.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        z = recipe.latent(2000, random).to(device)
        labels = None if label is None else torch.full((len(z),), label, device=device)
        known = recipe.ws(z, labels)  # [2000, num_ws, w_dim]
    center, num_ws = known[:, 0].mean(0), known.shape[1]
    spread = (known[:, 0] - center).square().sum(1).mean().sqrt()
    w = center.repeat(1, num_ws if extended else 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([w], lr=lr, betas=(0.9, 0.999))
    for i in range(steps):
        optimizer.param_groups[0]["lr"] = lr * schedule(i / steps)
        strength = 0.05 * spread * max(0.0, 1 - i / steps / 0.75) ** 2
        noise = torch.randn(w.shape, generator=random).to(device) * strength
        image = recipe.synthesize((w + noise).expand(-1, num_ws, -1))
        loss = distance(image)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield Step(i, float(loss.detach()), w.detach().expand(-1, num_ws, -1), image.detach())
    with torch.no_grad():
        ws = w.detach().expand(-1, num_ws, -1)
        image = recipe.synthesize(ws)
        yield Step(steps, float(distance(image)), ws, image)


def schedule(t: float) -> float:
    """Learning rate at `t` in [0, 1]: up during the first twentieth, down in the last quarter."""
    down = min(1.0, (1 - t) / 0.25)
    return (0.5 - 0.5 * math.cos(down * math.pi)) * min(1.0, t / 0.05)
