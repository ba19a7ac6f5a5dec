"""Networks that see a class beside their input (Mirza & Osindero, 2014, section 4.1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.dropout import Drops
from largegan.nets import dcgan
from largegan.nets.dcgan import Norm


class Maxout(nn.Module):
    """`[N, inputs]` -> `[N, outputs]`: each output is the largest of `pieces` linear maps."""

    def __init__(self, inputs: int, outputs: int, *, pieces: int):
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, outputs * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


class MLPGenerator(Drops):
    """`[N, z_dim]` and labels `[N]` -> images `[N, C, H, W]` in [-1, 1]; `shape` is (C, H, W).

    z and class each have a layer of their own before they meet: 200, 1000 and 1200 units in the
    paper, here multiples of `width` = 200.
    """

    def __init__(self, z_dim: int, shape: Sequence[int], *, num_classes: int, width: int = 200):
        super().__init__()
        self.shape, self.num_classes = tuple(shape), num_classes
        self.from_z = nn.Linear(z_dim, width)
        self.from_class = nn.Linear(num_classes, 5 * width)
        self.joint = nn.Linear(6 * width, 6 * width)
        self.out = nn.Linear(6 * width, int(torch.Size(shape).numel()))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        one_hot = F.one_hot(labels, self.num_classes).to(z.dtype)
        h = self.drop(torch.cat([self.from_z(z), self.from_class(one_hot)], 1).relu())
        return self.out(self.drop(self.joint(h).relu())).tanh().unflatten(1, self.shape)


class MLPDiscriminator(Drops):
    """Images `[N, C, H, W]` and labels `[N]` -> logits `[N]`; maxout as in the paper.

    240 units of 5 pieces for the image, 50 of 5 for the class, 240 of 4 for both; here multiples
    of `width` = 240.
    """

    def __init__(self, shape: Sequence[int], *, num_classes: int, width: int = 240):
        super().__init__()
        self.num_classes = num_classes
        class_width = max(1, width * 5 // 24)
        self.from_image = Maxout(int(torch.Size(shape).numel()), width, pieces=5)
        self.from_class = Maxout(num_classes, class_width, pieces=5)
        self.joint = Maxout(width + class_width, width, pieces=4)
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        one_hot = F.one_hot(labels, self.num_classes).to(x.dtype)
        h = self.drop(torch.cat([self.from_image(x.flatten(1)), self.from_class(one_hot)], 1))
        return self.score(self.drop(self.joint(h))).squeeze(1)


class ConvGenerator(nn.Module):
    """DCGAN's generator with the class beside z; see `dcgan.Generator`."""

    def __init__(
        self,
        resolution: int,
        *,
        z_dim: int,
        num_classes: int,
        channels: int,
        image_channels: int,
        norm: Norm,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.net = dcgan.Generator(
            resolution,
            z_dim=z_dim + num_classes,
            channels=channels,
            image_channels=image_channels,
            norm=norm,
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.net(torch.cat([z, F.one_hot(labels, self.num_classes).to(z.dtype)], 1))


class ConvDiscriminator(nn.Module):
    """DCGAN's discriminator with a constant map for each class beside the colors."""

    def __init__(
        self, resolution: int, *, num_classes: int, channels: int, image_channels: int, norm: Norm
    ):
        super().__init__()
        self.num_classes = num_classes
        self.net = dcgan.Discriminator(
            resolution, channels=channels, image_channels=image_channels + num_classes, norm=norm
        )

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        one_hot = F.one_hot(labels, self.num_classes).to(x.dtype)
        maps = one_hot[:, :, None, None].expand(-1, -1, *x.shape[2:])  # [N, classes, H, W]
        return self.net(torch.cat([x, maps], 1))
