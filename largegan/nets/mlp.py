"""Multi-layer perceptrons: the networks of the first GANs and of toys."""

from torch import Tensor, nn

from largegan.layers.dropout import Drops


class MLP(Drops, nn.Sequential):
    """`layers` hidden layers of `width` with leaky ReLU 0.2: `[N, inputs]` -> `[N, outputs]`."""

    def __init__(self, inputs: int, outputs: int, *, width: int = 64, layers: int = 2):
        stack: list[nn.Module] = []
        for _ in range(layers):
            stack += [nn.Linear(inputs, width), nn.LeakyReLU(0.2)]
            inputs = width
        super().__init__(*stack, nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                x = self.drop(x)
        return x


class ImageGenerator(nn.Module):
    """`[N, z_dim]` -> images `[N, C, H, W]` in [-1, 1]; `shape` is (C, H, W)."""

    def __init__(self, z_dim: int, shape: tuple[int, int, int], *, width: int, layers: int = 2):
        super().__init__()
        channels, height, self.image_width = shape
        self.channels, self.height = channels, height
        self.mlp = MLP(z_dim, channels * height * self.image_width, width=width, layers=layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.mlp(z).tanh().unflatten(1, (self.channels, self.height, self.image_width))


class ImageDiscriminator(nn.Module):
    """Images `[N, C, H, W]` -> logits `[N]`; `shape` is (C, H, W)."""

    def __init__(self, shape: tuple[int, int, int], *, width: int, layers: int = 2):
        super().__init__()
        channels, height, image_width = shape
        self.mlp = MLP(channels * height * image_width, 1, width=width, layers=layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x.flatten(1)).squeeze(1)
