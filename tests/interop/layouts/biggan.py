"""Networks of BigGAN-PyTorch: names and shapes."""

from itertools import pairwise

from tests.interop.layouts.base import Shapes, plain, under

BIGGAN_G = {32: (4, 4, 4, 4), 64: (16, 16, 8, 4, 2), 128: (16, 16, 8, 4, 2, 1),
            256: (16, 16, 8, 8, 4, 2, 1), 512: (16, 16, 8, 8, 4, 2, 1, 1)}  # fmt: skip
BIGGAN_D = {32: (4, 4, 4, 4), 64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16),
            256: (1, 2, 4, 8, 8, 16, 16), 512: (1, 1, 2, 4, 8, 8, 16, 16)}  # fmt: skip


def singular(inputs: int, outputs: int, *kernel: int, bias: bool = True, values: int = 1) -> Shapes:
    """A layer with that code's spectral norm."""
    shapes = plain(inputs, outputs, *kernel, bias=bias)
    for i in range(values):
        shapes |= {f"u{i}": (1, outputs), f"sv{i}": (1,)}
    return shapes


def biggan_attention(features: int) -> Shapes:
    shapes: Shapes = {"gamma": ()}
    for name, outputs in (("theta", features // 8), ("phi", features // 8), ("g", features // 2)):
        shapes |= under(f"{name}.", singular(features, outputs, 1, 1, bias=False))
    return shapes | under("o.", singular(features // 2, features, 1, 1, bias=False))


def biggan_norm(features: int, condition: int, *, classes: int, own: bool) -> Shapes:
    """Conditional batch norm; `classes` where nothing is shared, `own` with that code's norm."""
    inner = ("bn.stored_mean", "bn.stored_var") if own else ("stored_mean", "stored_var")
    shapes: Shapes = dict.fromkeys(inner, (features,))
    shapes |= {"bn.accumulation_counter": (1,)} if own else {}
    for name in ("gain.", "bias."):
        layer: Shapes = {"weight": (classes, features)}
        layer = layer if classes else singular(condition, features, bias=False)
        shapes |= under(name, layer)
    return shapes


def biggan_g(
    *,
    resolution: int,
    z: int = 16,
    ch: int = 1,
    classes: int = 5,
    shared: int = 6,
    hier: bool = True,
    attention: tuple[int, ...] = (),
    own_norm: bool = False,
    values: int = 1,
    channels: int = 3,
) -> Shapes:
    """`shared` 0: each norm has a table of its own. `attention` lists sizes of feature maps."""
    widths = [ch * m for m in BIGGAN_G[resolution]]
    part = z // len(widths) if hier else z
    shapes: Shapes = {"shared.weight": (classes, shared)} if shared else {}
    shapes |= under("linear.", singular(part, 16 * widths[0], values=values))
    condition = shared + (part if hier else 0)
    norm = {"classes": 0 if shared else classes, "own": own_norm}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        block = under("conv1.", singular(inputs, outputs, 3, 3, values=values))
        block |= under("conv2.", singular(outputs, outputs, 3, 3, values=values))
        block |= under("conv_sc.", singular(inputs, outputs, 1, 1, values=values))
        block |= under("bn1.", biggan_norm(inputs, condition, **norm))
        block |= under("bn2.", biggan_norm(outputs, condition, **norm))
        shapes |= under(f"blocks.{i}.0.", block)
        if 8 << i in attention:
            shapes |= under(f"blocks.{i}.1.", biggan_attention(outputs))
    last: Shapes = dict.fromkeys(("gain", "bias"), (widths[-1],))
    inner = "bn." if own_norm else ""
    last |= {f"{inner}stored_mean": (widths[-1],), f"{inner}stored_var": (widths[-1],)}
    last |= {"bn.accumulation_counter": (1,)} if own_norm else {}
    shapes |= under("output_layer.0.", last)
    return shapes | under("output_layer.2.", singular(widths[-1], channels, 3, 3, values=values))


def biggan_d(
    *,
    resolution: int,
    ch: int = 1,
    classes: int = 5,
    wide: bool = True,
    attention: tuple[int, ...] = (),
    channels: int = 3,
) -> Shapes:
    widths = [channels, *(ch * m for m in BIGGAN_D[resolution])]
    halvings = 2 if resolution == 32 else len(widths) - 2
    shapes: Shapes = {}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        hidden = outputs if wide else inputs
        block = under("conv1.", singular(inputs, hidden, 3, 3))
        block |= under("conv2.", singular(hidden, outputs, 3, 3))
        if i < halvings or inputs != outputs:
            block |= under("conv_sc.", singular(inputs, outputs, 1, 1))
        shapes |= under(f"blocks.{i}.0.", block)
        if resolution >> min(i + 1, halvings) in attention:
            shapes |= under(f"blocks.{i}.1.", biggan_attention(outputs))
    shapes |= under("linear.", singular(widths[-1], 1))
    embed: Shapes = {"weight": (classes, widths[-1]), "u0": (1, classes), "sv0": (1,)}
    return shapes | under("embed.", embed)
