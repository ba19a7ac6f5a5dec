"""Networks of StudioGAN: names and shapes."""

from itertools import pairwise

from tests.interop.layouts.base import Shapes, plain, under
from tests.interop.layouts.biggan import BIGGAN_D, BIGGAN_G
from tests.interop.layouts.translation import norm_of


def torch_spectral(inputs: int, outputs: int, *kernel: int, bias: bool = True) -> Shapes:
    """A layer with torch's spectral norm; plain ones are of `plain`."""
    length = inputs
    for side in kernel:
        length *= side
    shapes: Shapes = {"bias": (outputs,)} if bias else {}
    shapes["weight_orig"] = (outputs, inputs, *kernel)
    return shapes | {"weight_u": (outputs,), "weight_v": (length,)}


def studio_norm(features: int, condition: int, layer) -> Shapes:
    """Batch norm, in a conditional one where there is a condition."""
    if not condition:
        return norm_of("batch", features)
    inner: Shapes = {"running_mean": (features,), "running_var": (features,)}
    shapes = under("bn.", inner | {"num_batches_tracked": ()})
    for name in ("gain.", "bias."):
        shapes |= under(name, layer(condition, features, bias=False))
    return shapes


def studio_attention(features: int, layer) -> Shapes:
    shapes: Shapes = {"sigma": (1,)}
    for name, i, o in (("theta", 1, 8), ("phi", 1, 8), ("g", 1, 2), ("attn", 2, 1)):
        shapes |= under(f"conv1x1_{name}.", layer(features // i, features // o, 1, 1, bias=False))
    return shapes


SN_G = BIGGAN_G | {64: (16, 8, 4, 2, 1)}
SN_D = BIGGAN_D | {32: (2, 2, 2, 2)}


def studio_g(
    *,
    resolution: int,
    z: int = 8,
    ch: int = 1,
    classes: int = 0,
    spectral: bool = False,
    attention: tuple[int, ...] = (),
    shared: int = 0,
    hier: bool = False,
    channels: int = 3,
) -> Shapes:
    """The ResNet, or with `shared` or `hier` BigGAN's; `attention` counts places from 1."""
    layer = torch_spectral if spectral else plain
    widths = [ch * m for m in SN_G[resolution]]
    part = z // len(widths) if shared or hier else z
    condition = shared + part if shared or hier else classes
    shapes: Shapes = {"shared.weight": (classes, shared)} if shared else {}
    shapes |= under("linear0.", layer(part, 16 * widths[0]))
    place = 0
    for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        block = under("conv2d0.", layer(inputs, outputs, 1, 1))
        block |= under("conv2d1.", layer(inputs, outputs, 3, 3))
        block |= under("conv2d2.", layer(outputs, outputs, 3, 3))
        block |= under("bn1.", studio_norm(inputs, condition, layer))
        block |= under("bn2.", studio_norm(outputs, condition, layer))
        shapes |= under(f"blocks.{place}.0.", block)
        place += 1
        if i in attention:
            shapes |= under(f"blocks.{place}.0.", studio_attention(outputs, layer))
            place += 1
    shapes |= under("bn4.", norm_of("batch", widths[-1]))
    return shapes | under("conv2d5.", layer(widths[-1], channels, 3, 3))


def studio_d(
    *,
    resolution: int,
    ch: int = 1,
    classes: int = 0,
    spectral: bool = True,
    attention: tuple[int, ...] = (),
    channels: int = 3,
) -> Shapes:
    layer = torch_spectral if spectral else plain
    widths = [channels, *(ch * m for m in SN_D[resolution])]
    halvings = 2 if resolution == 32 else len(widths) - 2
    shapes: Shapes = {}
    place = 0
    for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        block = under("conv2d1.", layer(inputs, outputs, 3, 3))
        block |= under("conv2d2.", layer(outputs, outputs, 3, 3))
        learned = i <= halvings or inputs != outputs
        block |= under("conv2d0.", layer(inputs, outputs, 1, 1)) if learned else {}
        if not spectral:
            block |= under("bn1.", norm_of("batch", outputs if i == 1 else inputs))
            block |= under("bn2.", norm_of("batch", outputs)) if i > 1 else {}
            block |= under("bn0.", norm_of("batch", inputs)) if learned else {}
        shapes |= under(f"blocks.{place}.0.", block)
        place += 1
        if i in attention:
            shapes |= under(f"blocks.{place}.0.", studio_attention(outputs, layer))
            place += 1
    shapes |= under("linear1.", layer(widths[-1], 1))
    return shapes | (studio_table(classes, widths[-1], spectral) if classes else {})


def studio_table(classes: int, features: int, spectral: bool) -> Shapes:
    """Projection's table of classes."""
    table: Shapes = {"weight": (classes, features)}
    if spectral:
        table = {"weight_orig": (classes, features), "weight_u": (classes,)}
        table["weight_v"] = (features,)
    return under("embedding.", table)


def studio_dcgan_g(
    *, z: int = 8, widths: tuple[int, ...] = (16, 8, 4, 2), classes: int = 0, channels: int = 3,
    spectral: bool = False,
) -> Shapes:  # fmt: skip
    layer = torch_spectral if spectral else plain
    shapes = under("linear0.", layer(z, 16 * widths[0]))
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        turned = {"weight": (inputs, outputs, 4, 4), "bias": (outputs,)}
        if spectral:
            turned = {"weight_orig": (inputs, outputs, 4, 4), "bias": (outputs,)}
            turned |= {"weight_u": (outputs,), "weight_v": (inputs * 16,)}
        block = under("deconv0.", turned) | under("bn0.", studio_norm(outputs, classes, layer))
        shapes |= under(f"blocks.{i}.0.", block)
    return shapes | under("conv4.", layer(widths[-1], channels, 3, 3))


def studio_dcgan_d(
    *, widths: tuple[int, ...] = (2, 4, 8, 16), spectral: bool = False, channels: int = 3,
    classes: int = 0,
) -> Shapes:  # fmt: skip
    layer = torch_spectral if spectral else plain
    shapes: Shapes = {}
    row = [channels, *widths[:-1]]
    for i, (inputs, outputs) in enumerate(pairwise(row)):
        block = under("conv0.", layer(inputs, outputs, 3, 3))
        block |= under("conv1.", layer(outputs, outputs, 4, 4))
        for name in () if spectral else ("bn0.", "bn1."):
            block |= under(name, norm_of("batch", outputs))
        shapes |= under(f"blocks.{i}.0.", block)
    shapes |= under("conv1.", layer(widths[-2], widths[-1], 3, 3))
    shapes |= {} if spectral else under("bn1.", norm_of("batch", widths[-1]))
    shapes |= under("linear1.", layer(widths[-1], 1))
    return shapes | (studio_table(classes, widths[-1], spectral) if classes else {})
