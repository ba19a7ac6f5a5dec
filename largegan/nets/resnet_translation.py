"""The ResNet that translates images (Johnson et al., 2016; Zhu et al., 2017, appendix 7.2).

c7s1-64, d128, d256, residual blocks of 256, u128, u64, c7s1-3: two halvings, 6 or 9 blocks, two
doublings. Park et al. (2020, CUT) resample with blur filters instead of strides.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.plain_norm import Norm, has_bias, init_weights, norm2d, rectified, run
from largegan.layers.resample import BlurDown, BlurUp, pad_to_multiple

Padding = Literal["reflect", "replicate", "zeros"]


class ResidualBlock(nn.Module):
    """x + norm 3x3 relu norm 3x3: `[N, C, H, W]` -> the same; `dropout` 0.5 in the middle."""

    def __init__(self, channels: int, *, norm: Norm, padding: Padding, dropout: bool):
        super().__init__()

        def conv() -> nn.Module:
            return nn.Conv2d(
                channels, channels, 3, padding=1, padding_mode=padding, bias=has_bias(norm)
            )

        self.conv1, self.norm1 = conv(), norm2d(norm, channels)
        self.dropout = nn.Dropout(0.5) if dropout else nn.Identity()
        self.conv2, self.norm2 = conv(), norm2d(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(rectified(self.norm1, self.conv1(x)))
        return self.norm2(self.conv2(h)).add_(x)  # in place: as in `rectified`


class ResnetGenerator(nn.Module):
    """Images `[N, in_channels, H, W]` in [-1, 1] -> `[N, out_channels, H, W]`, of any size.

    Sides that 4 does not divide are continued by reflection, and the result is cropped.

    Args:
        in_channels, out_channels: colors of the two domains.
        channels: width at full size; four times that in the residual blocks.
        blocks: residual blocks; the paper has 6 up to 128 pixels and 9 from 256 on.
        norm: "instance" as published, "batch" or "none".
        padding: of the residual blocks' convolutions; "reflect" as published.
        antialias_down, antialias_up: blur filters (CUT) instead of strided and transposed
            convolutions (CycleGAN).
        dropout: 0.5 in every residual block.
    """

    multiple = 4  # pixels in a cell of the coarsest grid; inputs are padded to whole cells

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        channels: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        antialias_down: bool = False,
        antialias_up: bool = False,
        dropout: bool = False,
    ):
        super().__init__()
        self.blocks, self.antialias_down, self.antialias_up = blocks, antialias_down, antialias_up
        # One list, numbered like the published one: papers name features by these numbers.
        # In place, as there: a feature before a ReLU is the one that the ReLU has rectified.
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(in_channels, channels, 7, bias=has_bias(norm)),
            norm2d(norm, channels),
            nn.ReLU(inplace=True),
            *_down(channels, norm=norm, antialias=antialias_down),
            *_down(2 * channels, norm=norm, antialias=antialias_down),
            *(
                ResidualBlock(4 * channels, norm=norm, padding=padding, dropout=dropout)
                for _ in range(blocks)
            ),
            *_up(4 * channels, norm=norm, antialias=antialias_up),
            *_up(2 * channels, norm=norm, antialias=antialias_up),
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, out_channels, 7),
            nn.Tanh(),
        )
        init_weights(self)

    @property
    def halo(self) -> int:
        """How far an output pixel sees through the convolutions, in pixels to each side, rounded
        up to whole cells. Norms over the image see all of it and are not counted."""
        ends, halvings, doublings = 3 + 3, 1 + 2, 4 + 2
        blocks = self.blocks * 2 * self.multiple
        # A blur filter sees one pixel of its grid more, at strides 1 and 2.
        blurs = (1 + 2) * self.antialias_down + (1 + 2) * self.antialias_up
        pixels = ends + halvings + doublings + blocks + blurs
        return pixels + -pixels % self.multiple

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x, ())[0]

    def with_features(self, x: Tensor, numbers: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The translation, and the numbered layers' outputs on the way to it, as `features`."""
        h, w = x.shape[-2:]
        found, y = self._run(x, numbers)
        done = numbers[-1] + 1 if numbers else 0
        return run(self.layers[done:], y)[..., :h, :w], found

    def features(self, x: Tensor, numbers: Sequence[int]) -> list[Tensor]:
        """Outputs of the numbered layers, in ascending order, and no computation beyond them."""
        return self._run(x, numbers)[0]

    def _run(self, x: Tensor, numbers: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Outputs of the numbered layers, and the last of them: what the next layer gets."""
        # Twice the cell: reflection needs two pixels inside.
        x = pad_to_multiple(x, self.multiple, least=2 * self.multiple)
        found: list[Tensor] = []
        for first, last in zip((-1, *numbers), numbers, strict=False):
            x = run(self.layers[first + 1 : last + 1], x)
            found.append(x)
        return found, x

    def feature_channels(self, numbers: Sequence[int]) -> list[int]:
        """Widths of `features`, without images; raises `ConfigError` for layers there are not."""
        last = len(self.layers) - 1
        if not numbers or list(numbers) != sorted(set(numbers)) or numbers[-1] > last:
            raise ConfigError(
                f"layers {list(numbers)} are not ascending numbers between 0 and {last}; the "
                "paper's are 0, 4, 8, 12, 16"
            )
        widths = [self.layers[1].in_channels]
        for layer in self.layers[1:]:
            widths.append(getattr(layer, "out_channels", widths[-1]))
        return [widths[number] for number in numbers]


def _down(channels: int, *, norm: Norm, antialias: bool) -> list[nn.Module]:
    """Half the size, twice the width."""
    stride = 1 if antialias else 2
    conv = nn.Conv2d(channels, 2 * channels, 3, stride, 1, bias=has_bias(norm))
    blur = [BlurDown()] if antialias else []
    return [conv, norm2d(norm, 2 * channels), nn.ReLU(inplace=True), *blur]


def _up(channels: int, *, norm: Norm, antialias: bool) -> list[nn.Module]:
    """Twice the size, half the width."""
    half, bias = channels // 2, has_bias(norm)
    if antialias:
        convs = [BlurUp(), nn.Conv2d(channels, half, 3, 1, 1, bias=bias)]
    else:
        convs = [nn.ConvTranspose2d(channels, half, 3, 2, 1, output_padding=1, bias=bias)]
    return [*convs, norm2d(norm, half), nn.ReLU(inplace=True)]
