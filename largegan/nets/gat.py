"""The generative adversarial transformer's networks (Hyun et al., 2025, arXiv 2509.24935).

Both cut images into patches and are plain transformers on them: RMS norms, rotated queries and
keys, gated MLPs. The generator starts from a table of places and is told the latent by scales
and gates in every block (adaLN); each quarter of its depth adds to the image, and every sum so far
is an output. The discriminator sees all outputs of an image at once, as channels.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.precision import exact
from largegan.layers.running_mean import RunningClassMeans
from largegan.layers.transformer import (
    EPS,
    Attention,
    Rotary,
    SwiGLU,
    position_table,
    rms_norm,
    unpatched,
)

LEVELS = 4  # outputs of the generator
W_AVG_BETA = 0.995


class SlowLinear(nn.Module):
    """`x W^T / 100 + b / 100`: a layer that Adam moves a hundred times more slowly."""

    GAIN = 0.01

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight, gain=1 / self.GAIN)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.GAIN, self.bias * self.GAIN)


def slow_mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(SlowLinear(inputs, outputs), nn.SiLU(), SlowLinear(outputs, outputs))


class Mapping(nn.Module):
    """Latents `[N, z_dim]` and labels `[N]` -> w `[N, width]`; keeps each class's mean w.

    Both the class's embedding and z are RMS-normalized. `truncation` below 1 pulls w towards the
    mean of its class; 0 gives that mean.
    """

    def __init__(self, z_dim: int, width: int, num_classes: int):
        super().__init__()
        self.embed = nn.Embedding(num_classes, z_dim) if num_classes else None
        self.layers = slow_mlp(2 * z_dim if num_classes else z_dim, width)
        self.w_avg = RunningClassMeans(max(num_classes, 1), width, beta=W_AVG_BETA)

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None,
        *,
        track: bool = False,
        truncation: float | Tensor = 1.0,
    ) -> Tensor:
        with exact(z):
            parts = [] if self.embed is None else [rms_norm(self.embed(labels), 1e-8)]
            w = self.layers(torch.cat([*parts, rms_norm(z, 1e-8)], dim=1))
        classes = torch.zeros(z.shape[0], dtype=torch.long, device=z.device)
        classes = classes if self.embed is None else labels
        if track:
            self.w_avg.add(w, classes)
        if not isinstance(truncation, Tensor) and truncation == 1:
            return w
        return torch.lerp(self.w_avg.mean[classes].to(w.dtype), w, truncation)


class Modulation(nn.Linear):
    """w `[N, width]` -> `parts` vectors `[N, 1, width]` each: what adaLN scales and gates by."""

    def __init__(self, width: int, parts: int):
        super().__init__(width, parts * width)
        self.parts = parts

    def forward(self, w: Tensor) -> tuple[Tensor, ...]:
        return super().forward(F.silu(w)).unsqueeze(1).chunk(self.parts, dim=-1)


@dataclass(frozen=True, kw_only=True)
class TransformerOptions:
    """Options of both networks.

    The image's sides are multiples of `patch`, `depth` one of `LEVELS`, `width / heads` one of 4.
    """

    patch: int = 2
    image_channels: int = 3
    num_classes: int = 0
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    qk_norm: bool = True

    @property
    def inside(self) -> dict[str, Any]:
        """What a block's attention and MLP are like."""
        return {"mlp_ratio": self.mlp_ratio, "qk_norm": self.qk_norm}


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptions(TransformerOptions):
    """Options of `Discriminator`.

    With classes the logit is the class token's features (`cmap_dim` of them) times the class's
    query, unscaled. `align_dim` > 0 adds a head that predicts another network's features from the
    class token and from every patch (`features`). Where only differences of logits count, of images
    of one class, `head_bias` has no effect but to drift.
    """

    cmap_dim: int = 2048
    align_dim: int = 0
    align_hidden: int = 2048
    head_bias: bool = True


class GeneratorBlock(nn.Module):
    """`x + gate * attention(norm(x) (1 + scale))`, and the same with an MLP."""

    def __init__(self, width: int, heads: int, *, mlp_ratio: float, qk_norm: bool):
        super().__init__()
        self.attn = Attention(width, heads, qk_norm=qk_norm)
        self.mlp = SwiGLU(width, mlp_ratio)
        self.modulation = Modulation(width, 4)

    def forward(self, x: Tensor, w: Tensor, rotary: Rotary) -> Tensor:
        scale, gate, mlp_scale, mlp_gate = self.modulation(w)
        x = x + gate * self.attn(rms_norm(x) * (1 + scale), rotary)
        return x + mlp_gate * self.mlp(rms_norm(x) * (1 + mlp_scale))


class ToImage(nn.Module):
    """Tokens `[N, T, width]` and w -> `[N, T, outputs]`: what a level adds to the image."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.modulation = Modulation(width, 1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        (scale,) = self.modulation(w)
        return self.linear(rms_norm(x) * (1 + scale))


class Generator(nn.Module):
    """Latents `[N, z_dim]` (and labels `[N]`) -> images `[LEVELS, N, image_channels, H, W]`.

    The last level is the result; those before it are its first drafts. Values have no bound.
    """

    def __init__(self, height: int, width: int, options: TransformerOptions, *, z_dim: int = 64):
        super().__init__()
        o, self.patch = options, options.patch
        self.grid = (height // o.patch, width // o.patch)
        self.mapping = Mapping(z_dim, o.width, o.num_classes)
        self.places = nn.Parameter(position_table(*self.grid, o.width)[None])
        self.rotary = Rotary(*self.grid, o.width // o.heads)
        self.blocks = nn.ModuleList(
            GeneratorBlock(o.width, o.heads, **o.inside) for _ in range(o.depth)
        )
        self.to_image = nn.ModuleList(
            ToImage(o.width, o.patch**2 * o.image_channels) for _ in range(LEVELS)
        )
        initialize(self)

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        *,
        track: bool = False,
        truncation: float = 1.0,
    ) -> Tensor:
        """`track` moves the mean w; `truncation` as in `Mapping`."""
        return self.draw(self.mapping(z, labels, track=track, truncation=truncation))

    def draw(self, w: Tensor) -> Tensor:
        """w `[N, width]` -> `[LEVELS, N, image_channels, H, W]`."""
        x = self.places.expand(w.shape[0], -1, -1)
        every, image, levels = len(self.blocks) // LEVELS, 0, []
        for number, block in enumerate(self.blocks, 1):
            x = block(x, w, self.rotary)
            if number % every == 0:
                tokens = self.to_image[number // every - 1](x, w)
                image = image + unpatched(tokens, *self.grid, self.patch)
                levels.append(image)
        return torch.stack(levels)


class DiscriminatorBlock(nn.Module):
    """`x + a * attention(norm(x))`, and the same with an MLP; `a` per channel starts at 0.1."""

    def __init__(self, width: int, heads: int, *, mlp_ratio: float, qk_norm: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=EPS), nn.RMSNorm(width, eps=EPS)
        self.attn = Attention(width, heads, qk_norm=qk_norm)
        self.mlp = SwiGLU(width, mlp_ratio)
        self.ls_attn = nn.Parameter(torch.full((width,), 0.1))
        self.ls_mlp = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        x = x + self.ls_attn * self.attn(self.norm1(x), rotary)
        return x + self.ls_mlp * self.mlp(self.norm2(x))


class ClassQuery(nn.Module):
    """Labels `[N]` -> `[N, features]`: what the class token is compared with."""

    def __init__(self, num_classes: int, features: int):
        super().__init__()
        self.embed = nn.Embedding(num_classes, features)
        self.layers = slow_mlp(features, features)

    def forward(self, labels: Tensor) -> Tensor:
        return self.layers(self.embed(labels))


class Discriminator(nn.Module):
    """All levels `[LEVELS, N, channels, H, W]` of images (and labels `[N]`) -> logits `[N]`."""

    def __init__(self, height: int, width: int, options: DiscriminatorOptions):
        super().__init__()
        o, grid = options, (height // options.patch, width // options.patch)
        self.patches = nn.Conv2d(LEVELS * o.image_channels, o.width, o.patch, o.patch)
        self.places = nn.Parameter(position_table(*grid, o.width)[None])
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, o.width))
        self.rotary = Rotary(*grid, o.width // o.heads, prefix=1)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(o.width, o.heads, **o.inside) for _ in range(o.depth)
        )
        self.norm = nn.RMSNorm(o.width, eps=EPS)
        self.head = nn.Linear(o.width, o.cmap_dim if o.num_classes else 1, bias=o.head_bias)
        self.query = ClassQuery(o.num_classes, o.cmap_dim) if o.num_classes else None
        self.align = mlp(o.width, o.align_hidden, o.align_dim) if o.align_dim else None
        initialize(self)

    def forward(self, levels: Tensor, labels: Tensor | None = None, *, aligned: bool = False):
        """Logits `[N]`; with `aligned` also what `features` gives, as a tuple of two."""
        encoded = self.encode(levels)
        logits = self.judge(encoded, labels)
        return (logits, self.features(encoded)) if aligned else logits

    def tokens(self, levels: Tensor) -> Tensor:
        """`[N, T, width]`: the patches of all levels and their places."""
        stacked = levels.transpose(0, 1).flatten(1, 2)  # [N, LEVELS * C, H, W]
        return self.patches(stacked).flatten(2).mT + self.places

    def encode(self, levels: Tensor) -> Tensor:
        """`[N, 1 + T, width]`: the class token and the patches after all blocks."""
        x = self.tokens(levels)
        x = torch.cat([self.cls_token.to(x.dtype).expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x, self.rotary)
        return x

    def judge(self, encoded: Tensor, labels: Tensor | None) -> Tensor:
        score = self.head(self.norm(encoded[:, 0]))
        if self.query is None:
            return score.squeeze(1)
        with exact(score):
            return (score.to(self.places.dtype) * self.query(labels)).sum(1)

    def features(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """What the tokens say of another network: `[N, align_dim]` and `[N, T, align_dim]`."""
        found = self.align(encoded)
        return found[:, 0], found[:, 1:]


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, outputs),
    )


def initialize(net: nn.Module) -> None:
    """Glorot's uniform start, biases 0, modulations a tenth of it, embeddings N(0, 0.02)."""
    for layer in net.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(
                layer.weight.flatten(1), gain=0.1 if isinstance(layer, Modulation) else 1.0
            )
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=0.02)
