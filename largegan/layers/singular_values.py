"""What the BigGAN paper watched its networks' health by: the layers' singular values."""

import torch
from torch import nn

from largegan.layers.spectral_norm import SpectralNorm


class SingularValues(nn.Module):
    """The top singular values of every spectrally normalized layer, and their growth.

    Brock et al. (2019), section 4.1 and appendix F: a generator's collapse shows as an explosion of
    the first values of some layers. They are by-products of the normalization and cost nothing.
    `first` remembers what they were after the first iteration.
    """

    def __init__(self, **nets: nn.Module):
        super().__init__()
        # A tuple is not registered: the layers belong to their networks.
        self.layers = tuple(
            (f"{net_name}.{name}", layer)
            for net_name, net in nets.items()
            for name, layer in net.named_modules()
            if isinstance(layer, SpectralNorm)
        )
        self.register_buffer("first", torch.zeros(len(self.layers)))

    @torch.no_grad()
    def begin(self) -> None:
        """After the first iteration: the values that growth is measured from."""
        self.first.copy_(torch.stack([layer.sigma[0] for _, layer in self.layers]))

    def read(self) -> dict[str, float]:
        """`sigma0/LAYER` (and sigma1, ... where they are followed) and `growth/LAYER`.

        Also the largest of each, which a person can watch.
        """
        values = [layer.sigma.tolist() for _, layer in self.layers]
        found = {
            f"sigma{i}/{name}": sigma
            for (name, _), sigmas in zip(self.layers, values, strict=True)
            for i, sigma in enumerate(sigmas)
        }
        growth = {
            f"growth/{name}": sigmas[0] / first if first else 1.0
            for (name, _), sigmas, first in zip(
                self.layers, values, self.first.tolist(), strict=True
            )
        }
        top = {"top_sigma": max(v[0] for v in values), "top_growth": max(growth.values())}
        return top | found | growth
