"""What a discriminator sees of several versions of an image at once: augmented alike, and noisy.

Multi-level noise-perturbed images of Hyun et al. (2025, arXiv 2509.24935, section 3), with the
DiffAugment of Zhao et al. (2020), mirrored now and then.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.augment.diffaugment import brightness, contrast, cut, saturation, translated

COLOR_P, FLIP_P, SHIFT, CUT = 0.5, 0.4, 0.125, 0.5
LEAST_NOISE, DECAY = 0.01, 0.125


def noise_schedule(levels: int) -> list[float]:
    """How much of each level is noise: 0.885, 0.76, 0.51, 0.01 for four, the draft first."""
    last = max(levels - 1, 1)
    return [1 - DECAY ** (1 - i / last) + LEAST_NOISE for i in range(levels)]


def with_noise(levels: Tensor, noise: Tensor) -> Tensor:
    """`(1 - t) x + n` for `[L, N, C, H, W]`; n walks from the last level to the first.

    So the noise of a draft contains that of the finished image. `noise` is standard normal and of
    the same shape; its first entry belongs to the last level.
    """
    n, before, seen = torch.zeros_like(levels[0]), 0.0, []
    for image, t, fresh in zip(
        levels.flip(0), reversed(noise_schedule(len(levels))), noise, strict=True
    ):
        kept = (1 - t) / (1 - before)
        n = n * kept + fresh * (t**2 - (before * kept) ** 2) ** 0.5
        seen.append((1 - t) * image + n)
        before = t
    return torch.stack(seen[::-1])


@dataclass(frozen=True)
class LevelView:
    """One draw of everything random, for `N` images; called, it shows images through that draw.

    Strengths are `[N, 1, 1, 1]` in [0, 1), places int64 `[N, 1]`, choices bool `[N, 1, 1, 1]`.
    Colors are moved away from the means of `reference` `[N, C, H, W]`, the finished image, for
    every level and also when the images are not exactly those that were drawn for.
    """

    reference: Tensor
    brightness: Tensor
    saturation: Tensor
    contrast: Tensor
    colored: Tensor
    down: Tensor
    right: Tensor
    cut_row: Tensor
    cut_column: Tensor
    flipped: Tensor
    noise: Tensor  # [L, N, C, H, W]

    def __call__(self, images: Tensor) -> Tensor:
        """Levels `[L, N, C, H, W]`, or images `[N, C, H, W]` that are every level -> levels."""
        if images.dim() == 4:
            return with_noise(self.augment(images).expand_as(self.noise), self.noise)
        return with_noise(torch.stack([self.augment(level) for level in images]), self.noise)

    def augment(self, image: Tensor) -> Tensor:
        x = torch.where(self.colored, self._color(image), image)
        x = cut(translated(x, self.down, self.right), self.cut_row, self.cut_column, CUT)
        return torch.where(self.flipped, x.flip(3), x)

    def move(self, image: Tensor) -> Tensor:
        """Where things are, and nothing else: for other networks that look at the same image."""
        x = translated(image, self.down, self.right)
        return torch.where(self.flipped, x.flip(3), x)

    def _color(self, image: Tensor) -> Tensor:
        x = saturation(brightness(image, self.brightness), self.saturation, self.reference)
        return contrast(x, self.contrast, self.reference)


def draw_view(reference: Tensor, levels: int) -> LevelView:
    """Draws for the finished images `[N, C, H, W]`."""
    n, _, height, width = reference.shape
    device = reference.device

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, 1, dtype=reference.dtype, device=device)

    def whole(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (n, 1), device=device)

    down, right = (int(size * SHIFT + 0.5) for size in (height, width))
    # An odd square has its center on a pixel, an even one between two.
    odd_rows, odd_columns = (int(size * CUT + 0.5) % 2 for size in (height, width))
    return LevelView(
        reference=reference,
        brightness=uniform(),
        saturation=uniform(),
        contrast=uniform(),
        colored=uniform() < COLOR_P,
        down=whole(-down, down + 1),
        right=whole(-right, right + 1),
        cut_row=whole(0, height + 1 - odd_rows),
        cut_column=whole(0, width + 1 - odd_columns),
        flipped=uniform() < FLIP_P,
        noise=torch.randn(levels, *reference.shape, dtype=reference.dtype, device=device),
    )
