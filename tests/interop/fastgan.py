"""Projected GAN's networks as its snapshots hold them: torch's own modules, hooks and all.

A FastGAN generator written anew from the published facts (layers, names, widths), so that a pickle
of it has what real ones have: spectral norm's hooks, activations, and a judge with a backbone of
timm. Pickled by reference under the names of the published code.
"""

import pickle
import sys
import types

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 1 / 2}
EXCITED = {64: 4, 128: 8, 256: 16}


def conv(*sizes: int, bias: bool = False) -> nn.Module:
    return spectral_norm(nn.Conv2d(*sizes, bias=bias))


class GLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, 1)


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid()


class NoiseInjection(nn.Module):
    """Of the weight 0, or what it adds would be drawn anew."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight * torch.randn(len(x), 1, *x.shape[2:])


class CCBN(nn.Module):
    def __init__(self, features: int, condition: int):
        super().__init__()
        self.gain = spectral_norm(nn.Linear(condition, features))
        self.bias = spectral_norm(nn.Linear(condition, features))
        self.register_buffer("stored_mean", 0.1 * torch.randn(features))
        self.register_buffer("stored_var", 1 + torch.rand(features))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = F.batch_norm(x, self.stored_mean, self.stored_var, eps=1e-5)
        return x * (1 + self.gain(c))[..., None, None] + self.bias(c)[..., None, None]


class UpBlockCond(nn.Module):
    def __init__(self, inputs: int, outputs: int, condition: int, lite: bool):
        super().__init__()
        names = [""] if lite else ["1", "2"]
        for name, width in zip(names, (inputs, outputs), strict=False):
            self.add_module(f"conv{name}", conv(width, 2 * outputs, 3, 1, 1))
            self.add_module(f"bn{name}", CCBN(2 * outputs, condition))
        self.act, self.names = GLU(), names
        if not lite:
            self.noise = NoiseInjection()

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2)
        for name in self.names:
            x = getattr(self, f"conv{name}")(x)
            x = self.noise(x) if "1" in self.names else x
            x = self.act(getattr(self, f"bn{name}")(x, c))
        return x


def up_block(inputs: int, outputs: int, lite: bool) -> nn.Module:
    layers: list[nn.Module] = [nn.Upsample(scale_factor=2)]
    for width in (inputs,) if lite else (inputs, outputs):
        noise = [] if lite else [NoiseInjection()]
        layers += [conv(width, 2 * outputs, 3, 1, 1), *noise, nn.BatchNorm2d(2 * outputs), GLU()]
    return nn.Sequential(*layers)


class SEBlock(nn.Module):
    def __init__(self, low: int, high: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), conv(low, high, 4), Swish(), conv(high, high, 1), nn.Sigmoid()
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return high * self.main(low)


class InitLayer(nn.Module):
    def __init__(self, z_dim: int, features: int):
        super().__init__()
        first = spectral_norm(nn.ConvTranspose2d(z_dim, 2 * features, 4, bias=False))
        self.init = nn.Sequential(first, nn.BatchNorm2d(2 * features), GLU())

    def forward(self, z: Tensor) -> Tensor:
        return self.init(z[..., None, None])


class Synthesis(nn.Module):
    """As published it always has maps of 256 pixels, needed or not."""

    def __init__(self, size: int, z_dim: int, ngf: int, classes: int, lite: bool):
        super().__init__()
        widths = {side: int(ngf * factor) for side, factor in WIDTHS.items()}
        self.size, self.sides = size, [side for side in widths if side > 4]
        self.init = InitLayer(z_dim, widths[4])
        self.embed = nn.Embedding(1000, z_dim) if classes else None
        for side in self.sides:
            sizes = widths[side // 2], widths[side]
            made = UpBlockCond(*sizes, z_dim, lite) if classes else up_block(*sizes, lite)
            self.add_module(f"feat_{side}", made)
            if side in EXCITED:
                self.add_module(f"se_{side}", SEBlock(widths[EXCITED[side]], widths[side]))
        self.to_big = conv(widths[size], 3, 3, 1, 1, bias=True)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        condition = () if self.embed is None else (self.embed(labels),)
        maps = {4: self.init(z / z.square().mean(1, keepdim=True).add(1e-8).sqrt())}
        for side in (s for s in self.sides if s <= self.size):
            x = getattr(self, f"feat_{side}")(maps[side // 2], *condition)
            if side in EXCITED:
                x = getattr(self, f"se_{side}")(maps[EXCITED[side]], x)
            maps[side] = x
        return self.to_big(maps[self.size])


class Generator(nn.Module):
    def __init__(self, size: int, *, z_dim: int = 6, ngf: int = 4, classes: int = 0, lite: bool):
        super().__init__()
        self.img_resolution, self.img_channels, self.z_dim, self.c_dim = size, 3, z_dim, classes
        self.mapping = nn.Identity()
        self.synthesis = Synthesis(size, z_dim, ngf, classes, lite)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.synthesis(z, labels)


class ProjectedDiscriminator(nn.Module):
    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.feature_network = backbone
        self.discriminator = nn.Sequential(conv(3, 2, 4), nn.LeakyReLU(0.2, inplace=True))


MODULES = {
    "pg_modules.blocks": (GLU, Swish, NoiseInjection, CCBN, UpBlockCond, SEBlock, InitLayer),
    "pg_modules.networks_fastgan": (Synthesis, Generator),
    "pg_modules.discriminator": (ProjectedDiscriminator,),
}


def pickled(content: dict) -> bytes:
    """A snapshot's bytes; the published modules exist only while they are written."""
    made = {name: types.ModuleType(name) for name in ("pg_modules", *MODULES)}
    for name, kinds in MODULES.items():
        for kind in kinds:
            kind.__module__ = name
            setattr(made[name], kind.__name__, kind)
    try:
        sys.modules.update(made)
        return pickle.dumps(content)
    finally:
        for name in made:
            del sys.modules[name]
        for kinds in MODULES.values():
            for kind in kinds:
                kind.__module__ = __name__
