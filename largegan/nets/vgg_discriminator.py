"""The VGG-like discriminator that MMagic and BasicSR train SRGAN and ESRGAN with."""

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.nets.srresnet import Norm, norm2d


def halvings(size: int) -> int:
    """How often `size` halves until 4 pixels are left. Raises `ConfigError` when it does not."""
    if size < 8 or size & (size - 1):
        raise ConfigError(
            f"the vgg discriminator needs crops of 8, 16, 32, ... pixels, not {size}; set "
            "data.crop, or another recipe.discriminator"
        )
    return size.bit_length() - 3


class VGGDiscriminator(nn.Module):
    """Images `[N, C, size, size]` -> logits `[N]`: pairs of a 3 x 3 and a halving 4 x 4 layer.

    Widths double from `channels` to 8 times that. 128 pixels have the published five pairs, 256
    six (BasicSR). Batch norm but on the first layer; then 100 units.
    """

    def __init__(
        self, size: int = 128, *, image_channels: int = 3, channels: int = 64, norm: Norm = "batch"
    ):
        super().__init__()
        widths = [channels << min(i, 3) for i in range(halvings(size))]
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        inputs = image_channels
        for width in widths:
            first = not self.convs
            self.convs.append(nn.Conv2d(inputs, width, 3, 1, 1, bias=first or norm == "none"))
            self.norms.append(nn.Identity() if first else norm2d(width, norm))
            self.convs.append(nn.Conv2d(width, width, 4, 2, 1, bias=norm == "none"))
            self.norms.append(norm2d(width, norm))
            inputs = width
        self.dense, self.score = nn.Linear(widths[-1] * 4 * 4, 100), nn.Linear(100, 1)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        x = F.leaky_relu(self.dense(x.flatten(1)), 0.2)  # [N, 100]
        return self.score(x).squeeze(1)
