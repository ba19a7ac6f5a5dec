"""StyleGAN2's discriminator (Karras et al., 2020), conditional by projection (ibid., ADA).

Under autocast the convolutions use its sixteen bits; the smallest block stays in float32.
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn

from largegan.layers.equalized import EqualizedConv2d, EqualizedLinear
from largegan.layers.minibatch_std import MinibatchStd
from largegan.layers.precision import compute_dtype, exact
from largegan.nets.stylegan2 import RESIDUAL_GAIN, Architecture, Mapping, block_sizes, widths
from largegan.ops import downsample2d, taps


class DiscriminatorBlock(nn.Module):
    """One resolution: (features, image) -> both at half the size.

    "skip" reads the image at every size, the others only where there are no features yet.
    """

    def __init__(
        self,
        inputs: int,
        between: int,
        outputs: int,
        *,
        image_channels: int,
        architecture: Architecture,
        f: tuple[float, ...],
        activation: str,
        clamp: float | None,
    ):
        super().__init__()
        self.architecture, self.f = architecture, f
        layer = {"activation": activation, "clamp": clamp}
        reads = inputs == 0 or architecture == "skip"
        self.from_image = EqualizedConv2d(image_channels, between, 1, **layer) if reads else None
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

    Conditions act by projection: `<features, mapping(c)> / sqrt(cmap_dim)`. `group_size` images
    at a time show how varied they are, in `group_features` extra features (0: none).
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        image_channels: int = 3,
        c_dim: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: Architecture = "resnet",
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        activation: str = "lrelu",
        conv_clamp: float | None = None,
        group_size: int | None = 4,
        group_features: int = 1,
        cmap_dim: int | None = None,
        mapping_layers: int = 8,
        mapping_lr: float = 0.01,
    ):
        super().__init__()
        sizes = block_sizes(height, width)
        features = widths(sizes, channel_base, channel_max)
        common = {"image_channels": image_channels, "architecture": architecture}
        common |= {"f": taps(resample_filter), "activation": activation, "clamp": conv_clamp}
        blocks = [
            DiscriminatorBlock(0 if size == sizes[-1] else between, between, outputs, **common)
            for (outputs, between), size in zip(pairwise(features), sizes[1:], strict=True)
        ]
        self.blocks = nn.ModuleList(reversed(blocks))
        last, (h, w) = features[0], sizes[0]
        reads = architecture == "skip" or not blocks
        self.from_image = (
            EqualizedConv2d(image_channels, last, 1, activation=activation) if reads else None
        )
        self.spread = MinibatchStd(group_size, group_features) if group_features else nn.Identity()
        self.conv = EqualizedConv2d(
            last + group_features, last, 3, activation=activation, clamp=conv_clamp
        )
        self.dense = EqualizedLinear(last * h * w, last, activation=activation)
        self.cmap_dim = (cmap_dim or last) if c_dim else 1
        self.out = EqualizedLinear(last, self.cmap_dim)
        self.mapping = None
        if c_dim:
            self.mapping = Mapping(
                z_dim=0,
                c_dim=c_dim,
                w_dim=self.cmap_dim,
                layers=mapping_layers,
                lr_multiplier=mapping_lr,
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
