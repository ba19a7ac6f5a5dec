"""BigGAN-deep's networks, for 16 to 512 pixels (Brock et al., 2019, appendix B, figure 16).

Bottleneck blocks, several a stage; all of z and the class embedding reach the first layer and
every norm. There are two published forms, which differ in how a shortcut changes its width:

- "identity": the paper's, BigGAN-PyTorch's and the released weights'. A generator's shortcut drops
  the surplus channels, a discriminator's appends new ones from a 1 x 1 convolution.
- "conv": StudioGAN's, which could train it. Every shortcut that changes something, and every
  one of the generator, is a 1 x 1 convolution.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.attention import attention_after
from largegan.layers.cond_norm import activated
from largegan.layers.dropout import Drops
from largegan.layers.fold import conv_down, up_conv
from largegan.layers.orthogonal import Start, init_weights
from largegan.layers.projection import ProjectionHead
from largegan.layers.spectral_norm import conv_and_linear
from largegan.nets import biggan
from largegan.nets.resnet_blocks import Parts
from largegan.nets.resnet_sn import CriticOptions, check_resolution

Shortcut = Literal["identity", "conv"]
# Multiples of `channels`: after the stem, then after each stage. The last stages keep their size.
D_WIDTHS = {
    16: (4, 4, 4),
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}
D_DOWN = {16: 1, 32: 2, 64: 4, 128: 5, 256: 6, 512: 7}  # stages that halve


@dataclass(frozen=True, kw_only=True)
class BottleneckParts(Parts):
    """What blocks are made of; `shortcut` is the form."""

    shortcut: Shortcut


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions(biggan.GeneratorOptions):
    """Options of `Generator`.

    `depth` blocks a stage: the last one changes the width and doubles the size. With
    `hierarchical=False` only the first layer sees z and only the norms the class, an option of
    BigGAN-PyTorch. `attention` lists the stages, counted from 0, that self-attention follows.
    `widths` are those of the start and after each stage.
    """

    z_dim: int = 128
    channels: int = 128
    shared_dim: int = 128
    depth: int = 2
    shortcut: Shortcut = "identity"


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptions(CriticOptions):
    """Options of `Discriminator`.

    `depth` blocks a stage: the first one changes the width and halves the size. `widths` are those
    after the stem and after each stage. `spectral=None` leaves the weights plain.
    """

    channels: int = 128
    depth: int = 2
    shortcut: Shortcut = "identity"
    start: Start = "orthogonal"


class UpBlock(nn.Module):
    """Four times norm - act - conv: 1x1 to a quarter, (up) 3x3, 3x3, 1x1 to the output."""

    def __init__(self, inputs: int, outputs: int, parts: BottleneckParts, *, up: bool):
        super().__init__()
        norm, conv, hidden = parts.norm, parts.conv, inputs // 4
        self.up, self.outputs = up, outputs
        self.activation, self.fold = parts.activation, parts.fold
        self.norm1, self.norm2 = norm(inputs), norm(hidden)
        self.norm3, self.norm4 = norm(hidden), norm(hidden)
        self.conv1 = conv(inputs, hidden, 1)
        self.conv2 = conv(hidden, hidden, 3, 1, 1)
        self.conv3 = conv(hidden, hidden, 3, 1, 1)
        self.conv4 = conv(hidden, outputs, 1)
        self.shortcut = conv(inputs, outputs, 1) if parts.shortcut == "conv" else None

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        def act(norm: nn.Module, x: Tensor) -> Tensor:
            return activated(norm, x, *condition, activation=self.activation)

        h = act(self.norm2, self.conv1(act(self.norm1, x)))
        h = up_conv(self.conv2, h, fold=self.fold) if self.up else self.conv2(h)
        h = self.conv3(act(self.norm3, h))
        return self.conv4(act(self.norm4, h)) + self._shortcut(x)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.shortcut is None:
            x = x[:, : self.outputs]
            return F.interpolate(x, scale_factor=2) if self.up else x
        return up_conv(self.shortcut, x, fold=self.fold) if self.up else self.shortcut(x)


class Generator(Drops):
    """As `biggan.Generator`, of bottleneck blocks: `[N, z_dim]` and labels -> images in [-1, 1]."""

    def __init__(self, resolution: int, options: GeneratorOptions | None = None):
        super().__init__()
        check_resolution(resolution)
        o = options or GeneratorOptions()
        widths = o.widths or [o.channels * m for m in biggan.G_WIDTHS[resolution]]
        self.z_dim, self.depth, self.hierarchical = o.z_dim, o.depth, o.hierarchical
        self.activation, self.first = o.activation, widths[0]
        conv, linear = conv_and_linear(o.spectral)
        self.shared = nn.Embedding(o.num_classes, o.shared_dim) if o.num_classes else None
        class_dim = o.shared_dim if o.num_classes else 0
        condition_dim = class_dim + o.z_dim if o.hierarchical else class_dim
        self.conditional = condition_dim > 0
        self.project = linear(condition_dim if o.hierarchical else o.z_dim, widths[0] * 4 * 4)
        norm, form = o.block_norm(condition_dim, linear), {"shortcut": o.shortcut, "fold": o.fold}
        parts = BottleneckParts(norm=norm, conv=conv, activation=o.activation, **form)
        self.blocks = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            self.blocks.extend(UpBlock(inputs, inputs, parts, up=False) for _ in range(o.depth - 1))
            self.blocks.append(UpBlock(inputs, outputs, parts, up=True))
        self.attention = attention_after(o.attention, widths[1:], conv=conv)
        self.norm = o.plain_norm(widths[-1])
        self.to_rgb = conv(widths[-1], o.image_channels, 3, 1, 1)
        init_weights(self, o.start)

    def embed(self, labels: Tensor | None) -> Tensor | None:
        """What norms see of a class: `[N, shared_dim]`."""
        return None if self.shared is None else self.shared(labels)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.draw(z, self.embed(labels))

    def draw(self, z: Tensor, embedded: Tensor | None) -> Tensor:
        """Images from latents and class embeddings, which may lie between those of classes."""
        condition = embedded
        if self.hierarchical:
            z = condition = z if embedded is None else torch.cat([embedded, z], 1)
        conditions = (condition,) if self.conditional else ()
        x = self.project(z).unflatten(1, (self.first, 4, 4))
        for i, block in enumerate(self.blocks):
            x = self.drop(block(x, *conditions))  # [N, C', H', W']
            stage, place = divmod(i, self.depth)
            if place == self.depth - 1 and str(stage) in self.attention:
                x = self.attention[str(stage)](x)
        return self.to_rgb(activated(self.norm, x, activation=self.activation)).tanh()


class DownBlock(nn.Module):
    """act-1x1 to a quarter of the output, act-3x3, act-3x3, then act, pool and 1x1.

    The two forms pool in different places: "identity" after the last activation and before its
    convolution of the shortcut; "conv" before that activation, and after the shortcut's
    convolution, except in the `first` block.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        parts: BottleneckParts,
        *,
        down: bool,
        first: bool,
        activated_shortcut: bool,
    ):
        super().__init__()
        conv, hidden = parts.conv, outputs // 4
        self.down, self.first, self.fold = down, first, parts.fold
        self.activation, self.activated_shortcut = parts.activation, activated_shortcut
        self.form = shortcut = parts.shortcut
        self.conv1 = conv(inputs, hidden, 1)
        self.conv2 = conv(hidden, hidden, 3, 1, 1)
        self.conv3 = conv(hidden, hidden, 3, 1, 1)
        self.conv4 = conv(hidden, outputs, 1)
        self.shortcut = None
        if shortcut == "identity" and inputs != outputs:
            self.shortcut = conv(inputs, outputs - inputs, 1)
        elif shortcut == "conv" and (down or inputs != outputs):
            self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        act = self.activation
        h = act(self.conv2(act(self.conv1(act(x)))))
        if self.form == "identity":
            h = act(self.conv3(h))
            h = F.avg_pool2d(h, 2) if self.down else h
        else:
            h = act(conv_down(self.conv3, h, fold=self.fold) if self.down else self.conv3(h))
        return self.conv4(h) + self._shortcut(act(x) if self.activated_shortcut else x)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.form == "identity":
            x = F.avg_pool2d(x, 2) if self.down else x
            return x if self.shortcut is None else torch.cat([x, self.shortcut(x)], 1)
        if not self.down:
            return x if self.shortcut is None else self.shortcut(x)
        # The order of pooling and 1x1 convolution only moves the last bits; fold takes the cheap.
        return conv_down(self.shortcut, x, fold=self.fold or self.first)


class Discriminator(Drops):
    """Images `[N, C, R, R]` (and labels `[N]` when `num_classes` > 0) -> logits `[N]`.

    A 3 x 3 stem, then `depth` blocks a stage. Nothing is batch-normalized.
    """

    def __init__(self, resolution: int, options: DiscriminatorOptions | None = None):
        super().__init__()
        check_resolution(resolution)
        o = options or DiscriminatorOptions()
        widths = o.widths or [o.channels * m for m in D_WIDTHS[resolution]]
        self.depth, self.activation = o.depth, o.activation
        conv, _ = conv_and_linear(o.spectral)
        form = {"shortcut": o.shortcut, "fold": o.fold}
        parts = BottleneckParts(conv=conv, activation=o.activation, **form)
        block = partial(DownBlock, parts=parts, activated_shortcut=o.activated_shortcut)
        self.stem = conv(o.image_channels, widths[0], 3, 1, 1)
        self.blocks = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            down = i < D_DOWN[resolution]
            self.blocks.append(block(inputs, outputs, down=down, first=i == 0))
            self.blocks.extend(
                block(outputs, outputs, down=False, first=False) for _ in range(o.depth - 1)
            )
        self.attention = attention_after(
            o.attention, widths[1:], conv=conv, second_order=o.second_order
        )
        self.head = ProjectionHead(widths[-1], num_classes=o.num_classes, spectral=o.spectral)
        init_weights(self, o.start)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = self.drop(block(x))  # [N, C', H', W']
            stage, place = divmod(i, self.depth)
            if place == self.depth - 1 and str(stage) in self.attention:
                x = self.attention[str(stage)](x)
        return self.head(self.activation(x).sum((2, 3)), labels)
