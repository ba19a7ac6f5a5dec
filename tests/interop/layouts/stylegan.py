"""Networks of StyleGAN2 and StyleGAN3: names and shapes."""

import torch

from tests.interop.layouts.base import Shapes, plain, under


def mapping(z: int, c: int, w: int, layers: int, *, embed: int | None = None) -> Shapes:
    embedded = (w if embed is None else embed) if c else 0
    shapes = under("mapping.embed.", plain(c, embedded)) if c else {}
    for i in range(layers):
        shapes |= under(f"mapping.fc{i}.", plain(z + embedded if i == 0 else w, w))
    return shapes


def sides(resolution: int) -> list[int]:
    return [4 << i for i in range((resolution // 4).bit_length())]


def width(side: int, base: int, most: int) -> int:
    return min(base // side, most)


def stylegan2_layer(inputs: int, outputs: int, side: int, w: int, *, noise: bool) -> Shapes:
    shapes = plain(inputs, outputs, 3, 3) | under("affine.", plain(w, inputs))
    shapes["resample_filter"] = (4, 4)
    return shapes | ({"noise_strength": (), "noise_const": (side, side)} if noise else {})


def stylegan2_g(
    *,
    resolution: int,
    z: int = 8,
    w: int = 8,
    c: int = 0,
    channels: int = 3,
    layers: int = 2,
    base: int = 64,
    most: int = 8,
    architecture: str = "skip",
    noise: bool = True,
) -> Shapes:
    shapes = mapping(z, c, w, layers) | {"mapping.w_avg": (w,)}
    for side in sides(resolution):
        inputs, outputs = width(side // 2, base, most), width(side, base, most)
        block: Shapes = {"resample_filter": (4, 4)}
        if side == 4:
            block["const"] = (outputs, 4, 4)
        else:
            block |= under("conv0.", stylegan2_layer(inputs, outputs, side, w, noise=noise))
        block |= under("conv1.", stylegan2_layer(outputs, outputs, side, w, noise=noise))
        if architecture == "skip" or side == resolution:
            rgb = plain(outputs, channels, 1, 1) | under("affine.", plain(w, outputs))
            block |= under("torgb.", rgb)
        if architecture == "resnet" and side > 4:
            block |= {"skip.weight": (outputs, inputs, 1, 1), "skip.resample_filter": (4, 4)}
        shapes |= under(f"synthesis.b{side}.", block)
    return shapes


def stylegan2_d(
    *,
    resolution: int,
    c: int = 0,
    channels: int = 3,
    base: int = 64,
    most: int = 8,
    architecture: str = "resnet",
    spread: int = 1,
) -> Shapes:
    def conv(inputs: int, outputs: int, kernel: int, bias: bool = True) -> Shapes:
        return plain(inputs, outputs, kernel, kernel, bias=bias) | {"resample_filter": (4, 4)}

    shapes: Shapes = {}
    for side in reversed(sides(resolution)[1:]):
        inputs, outputs = width(side, base, most), width(side // 2, base, most)
        block: Shapes = {"resample_filter": (4, 4)}
        if side == resolution or architecture == "skip":
            block |= under("fromrgb.", conv(channels, inputs, 1))
        block |= under("conv0.", conv(inputs, inputs, 3)) | under(
            "conv1.", conv(inputs, outputs, 3)
        )
        if architecture == "resnet":
            block |= under("skip.", conv(inputs, outputs, 1, bias=False))
        shapes |= under(f"b{side}.", block)
    last = width(4, base, most)
    out = last if c else 1
    if architecture == "skip":
        shapes |= under("b4.fromrgb.", conv(channels, last, 1))
    shapes |= under("b4.conv.", conv(last + spread, last, 3))
    shapes |= under("b4.fc.", plain(last * 16, last)) | under("b4.out.", plain(last, out))
    return shapes | (mapping(0, c, last, 8) if c else {})


def stylegan3_bands(resolution: int, layers: int, critical: int, margin: int, base: int, most: int):
    """(size, width, its filters) of every layer, from the paper's geometric series."""
    first, last = 2.0, resolution / 2
    stops = (2**2.1, last * 2**0.3)
    found = []
    for i in range(layers + 1):
        at = min(i / (layers - critical), 1)
        cutoff, stop = first * (last / first) ** at, stops[0] * (stops[1] / stops[0]) ** at
        rate = 2 ** torch.tensor(min(2 * stop, resolution)).log2().ceil().item()
        size = int(rate) + (2 * margin if i < layers - 1 else 0)
        feature_maps = round(min(base / 2 / cutoff, most))
        found.append((resolution if i >= layers - 1 else size, feature_maps, int(rate), cutoff))
    return found


def stylegan3_g(
    *,
    resolution: int,
    kind: str = "t",
    z: int = 8,
    w: int = 8,
    c: int = 0,
    channels: int = 3,
    map_layers: int = 2,
    base: int = 64,
    most: int = 8,
    layers: int = 14,
    critical: int = 2,
    margin: int = 10,
    filter_size: int = 6,
) -> Shapes:
    bands = stylegan3_bands(resolution, layers, critical, margin, base, most)
    first = bands[0][1]
    shapes = mapping(z, c, w, map_layers) | {"mapping.w_avg": (w,)}
    inside = {"weight": (first, first), "freqs": (first, 2), "phases": (first,)}
    inside |= {"transform": (3, 3)} | under("affine.", plain(w, 4))
    shapes |= under("synthesis.input.", inside)
    kernel = 1 if kind == "r" else 3
    before = bands[0]
    for i, (size, outputs, rate, cutoff) in enumerate(bands):
        inputs = before[1]
        is_image = i == layers
        outputs = channels if is_image else outputs
        k = 1 if is_image else kernel
        layer = plain(inputs, outputs, k, k) | under("affine.", plain(w, inputs))
        layer["magnitude_ema"] = ()
        if not is_image:
            factor = 2 * max(rate, before[2]) // before[2]
            layer["up_filter"] = (filter_size * factor,)
            down = filter_size * 2 * max(rate, before[2]) // rate
            radial = kind == "r" and i < layers - critical
            layer["down_filter"] = (down, down) if radial else (down,)
        shapes |= under(f"synthesis.L{i}_{size}_{outputs}.", layer)
        before = (size, outputs, rate, cutoff)
    return shapes
