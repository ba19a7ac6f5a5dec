"""Latent vectors as papers draw them."""

import torch
from torch import Tensor

Source = torch.Generator | None  # of random numbers; None: torch's own
Device = torch.device | str | None


def normal(n: int, z_dim: int, *, generator: Source = None, device: Device = None) -> Tensor:
    """Standard normal latents `[n, z_dim]`."""
    return torch.randn(n, z_dim, generator=generator, device=device)


def uniform(n: int, z_dim: int, *, generator: Source = None, device: Device = None) -> Tensor:
    """Latents `[n, z_dim]`, uniform in [-1, 1]."""
    return torch.rand(n, z_dim, generator=generator, device=device) * 2 - 1


def resampled(z: Tensor, threshold: float, generator: torch.Generator) -> Tensor:
    """Normal numbers with those beyond `threshold` drawn again until all are within it.

    Brock et al. (2019), section 3.1. What is within stays, so thresholds can be compared.
    """
    z = z.clone()
    while True:
        beyond = z.abs() > threshold
        count = int(beyond.sum())
        if count == 0:
            return z
        z[beyond] = torch.randn(count, generator=generator, device=generator.device).to(z)
