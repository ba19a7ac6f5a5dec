"""StyleGAN2's discriminator (Karras et al., 2020), conditional by projection (ibid., ADA).

Under autocast the convolutions use its sixteen bits; the smallest block stays in float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from largegan.layers.equalized import EqualizedConv2d, EqualizedLinear
from largegan.layers.minibatch_std import MinibatchStd
from largegan.layers.precision import compute_dtype, exact
from largegan.nets.stylegan2 import RESIDUAL_GAIN, Architecture, BlockOptions, block_sizes, widths
from largegan.nets.stylegan2_mapping import Mapping
from largegan.ops import downsample2d


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptions(BlockOptions):
    """Options of `Discriminator`.

    `group_size` images at a time show how varied they are, in `group_features` extra features (0:
    none).
    """

    c_dim: int = 0
    architecture: Architecture = "resnet"
    group_size: int | None = 4
    group_features: int = 1
    cmap_dim: int | None = None
    mapping_layers: int = 8
    mapping_lr: float = 0.01


class DiscriminatorBlock(nn.Module):
    """One resolution: (features, image) -> both at half the size.

    "skip" reads the image at every size, the others only where there are no features yet.
    """

    def __init__(
        self,
        inputs: int,
        between: int,
        outputs: int,
        options: DiscriminatorOptions,
    ):
        super().__init__()
        architecture, f = options.architecture, options.f
        self.architecture, self.f = architecture, f
        layer = {"activation": options.activation, "clamp": options.conv_clamp}
        reads, colors = inputs == 0 or architecture == "skip", options.image_channels
        self.from_image = EqualizedConv2d(colors, between, 1, **layer) if reads else None
        self.conv0 = EqualizedConv2d(between, between, 3, **layer)
        self.conv1 = EqualizedConv2d(between, outputs, 3, down=2, f=f, **layer)
        self.skip = None
        if architecture == "resnet":
            self.skip = EqualizedConv2d(
                between, outputs, 1, activation="linear", bias=False, down=2, f=f
            )

    def forward(self, x: Tensor | None, image: Tensor) -> tuple[Tensor, Tensor]:
        if self.from_image is not None:
            seen = self.from_image(image)
            x = seen if x is None else x + seen
            image = downsample2d(image, self.f) if self.architecture == "skip" else image
        if self.skip is None:
            return self.conv1(self.conv0.convolve(x), after=self.conv0), image
        y = self.skip(x, gain=RESIDUAL_GAIN)
        x = self.conv1(self.conv0.convolve(x), after=self.conv0, gain=RESIDUAL_GAIN)
        return y + x, image


class Discriminator(nn.Module):
    """Images `[N, C, H, W]` (and conditions `[N, c_dim]`) -> logits `[N]`.

    Conditions act by projection: `<features, mapping(c)> / sqrt(cmap_dim)`.
    """

    def __init__(self, height: int, width: int, options: DiscriminatorOptions | None = None):
        super().__init__()
        o = options or DiscriminatorOptions()
        sizes = block_sizes(height, width)
        features = widths(sizes, o.channel_base, o.channel_max)
        blocks = [
            DiscriminatorBlock(0 if size == sizes[-1] else between, between, outputs, o)
            for (outputs, between), size in zip(pairwise(features), sizes[1:], strict=True)
        ]
        self.blocks = nn.ModuleList(reversed(blocks))
        last, (h, w) = features[0], sizes[0]
        self.from_image = None
        if o.architecture == "skip" or not blocks:
            self.from_image = EqualizedConv2d(o.image_channels, last, 1, activation=o.activation)
        spreads = o.group_features > 0
        self.spread = MinibatchStd(o.group_size, o.group_features) if spreads else nn.Identity()
        self.conv = EqualizedConv2d(
            last + o.group_features, last, 3, activation=o.activation, clamp=o.conv_clamp
        )
        self.dense = EqualizedLinear(last * h * w, last, activation=o.activation)
        self.cmap_dim = (o.cmap_dim or last) if o.c_dim else 1
        self.out = EqualizedLinear(last, self.cmap_dim)
        self.mapping = None
        if o.c_dim:
            self.mapping = Mapping(
                z_dim=0,
                c_dim=o.c_dim,
                w_dim=self.cmap_dim,
                layers=o.mapping_layers,
                lr_multiplier=o.mapping_lr,
            )

    def forward(self, image: Tensor, c: Tensor | None = None) -> Tensor:
        dtype, x = compute_dtype(image), None
        with exact(image):
            image = image.to(dtype)
            for block in self.blocks:
                x, image = block(x, image)  # [N, C', H/2, W/2]
            x = self.finish(x, image)
            if self.mapping is None:
                return x.squeeze(1)
            return (x * self.mapping(None, c)).sum(1) / self.cmap_dim**0.5

    def layers(self) -> Iterator[nn.Module]:
        """Layers with weights, from the image on: what Freeze-D counts."""
        for block in self.blocks:
            for layer in (block.from_image, block.conv0, block.conv1, block.skip):
                if layer is not None:
                    yield layer
        yield from (self.conv, self.dense, self.out)

    def finish(self, x: Tensor | None, image: Tensor) -> Tensor:
        """The smallest block, in float32: `[N, C, 4, 4]` -> `[N, 1]` or `[N, cmap_dim]`."""
        exact_type = self.out.weight.dtype
        if self.from_image is not None:
            seen = self.from_image(image.to(exact_type))
            x = seen if x is None else x.to(exact_type) + seen
        x = self.conv(self.spread(x.to(exact_type)))
        return self.out(self.dense(x.flatten(1)))
