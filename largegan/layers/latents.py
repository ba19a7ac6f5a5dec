"""Latent vectors as papers draw them."""

import torch
from torch import Tensor


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
