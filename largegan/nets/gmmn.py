"""Networks of generative moment matching (Li et al., 2015, arXiv 1502.02761): perceptrons."""

import torch
from torch import Tensor, nn


class MomentGenerator(nn.Module):
    """`[N, z_dim]` -> `[N, *shape]`: hidden layers of 1, 4, 4 and 16 times `width`, with ReLU.

    `squash` bounds the last layer (published: a sigmoid, for images in [0, 1]).
    """

    def __init__(self, z_dim: int, shape: tuple[int, ...], *, width: int = 64, squash=torch.tanh):
        super().__init__()
        self.shape, self.squash = shape, squash
        layers, inputs = [], z_dim
        for factor in (1, 4, 4, 16):
            layers += [nn.Linear(inputs, factor * width), nn.ReLU()]
            inputs = factor * width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, torch.Size(shape).numel()))

    def forward(self, z: Tensor) -> Tensor:
        return self.squash(self.layers(z)).unflatten(1, self.shape)


class Autoencoder(nn.Module):
    """Images `[N, C, H, W]` in [-1, 1] -> themselves, through codes `[N, code_dim]` in [0, 1].

    One hidden layer of `width` each way; `dropout` is on the way in.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        code_dim: int = 32,
        width: int = 1024,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.shape, values = shape, torch.Size(shape).numel()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(values, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, code_dim), nn.Sigmoid(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(code_dim, width), nn.ReLU(), nn.Linear(width, values), nn.Tanh()
        )

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decoder(codes).unflatten(1, self.shape)

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))
