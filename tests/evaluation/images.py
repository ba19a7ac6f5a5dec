"""Images and networks that the tests of evaluation share."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from largegan.metrics.features import Backbone, Extractor

SIZES, FORMATS = (32, 256, 1024), ("jpg", "png")


def picture(size: int | tuple[int, int], seed: int = 0) -> np.ndarray:
    """uint8 `[H, W, 3]`: smooth colors with edges and grain, so that every filter matters."""
    height, width = (size, size) if isinstance(size, int) else size
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    image = np.zeros((height, width, 3))
    for _ in range(6):
        wave = np.sin(random.uniform(2, 40) * (x * random.normal() + y * random.normal()))
        image += wave[..., None] * random.normal(0, 30, 3)
        edge = x * random.normal() + y * random.normal() > random.uniform(-0.3, 0.5)
        image += edge[..., None] * random.normal(0, 25, 3)
    image += random.normal(128, 8, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)
    return path


def load(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


class Tiny(nn.Module):
    """A feature network that takes milliseconds: fixed random filters, pooled."""

    def __init__(self, dim: int = 12):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.register_buffer("filters", torch.randn(dim, 3, 8, 8, generator=random) / 14)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x / 128 - 1, self.filters, stride=4).relu().mean((2, 3))


def tiny_extractor(*, dim: int = 12, size: int = 32, **options) -> Extractor:
    return Extractor(Backbone("tiny", "0" * 64, dim, size), Tiny(dim), **options)
