"""Networks of R3GAN: names and shapes."""

from tests.interop.layouts.base import Shapes, under


def r3gan_block(features: int, groups: int, expansion: int) -> Shapes:
    inner = features * expansion
    return {
        "LinearLayer1.Layer.weight": (inner, features, 1, 1),
        "LinearLayer2.Layer.weight": (inner, inner // groups, 3, 3),
        "LinearLayer3.Layer.weight": (features, inner, 1, 1),
        "NonLinearity1.Bias": (inner,),
        "NonLinearity2.Bias": (inner,),
    }


def r3gan_resample(inputs: int, outputs: int) -> Shapes:
    shapes: Shapes = {"Resampler.Kernel": (4, 4)}
    return shapes | ({"LinearLayer.Layer.weight": (outputs, inputs, 1, 1)}
                     if inputs != outputs else {})  # fmt: skip


def r3gan_g(
    *,
    widths: list[int],
    groups: list[int],
    z: int = 8,
    c: int = 0,
    embed: int = 6,
    blocks: int = 2,
    expansion: int = 2,
    channels: int = 3,
) -> Shapes:
    shapes: Shapes = {"Model.EmbeddingLayer.weight": (embed, c)} if c else {}
    for stage, (features, count) in enumerate(zip(widths, groups, strict=True)):
        prefix = f"Model.MainLayers.{stage}.Layers."
        first: Shapes = {"Basis": (features, 4, 4)}
        first["LinearLayer.weight"] = (features, z + (embed if c else 0))
        if stage:
            first = r3gan_resample(widths[stage - 1], features)
        shapes |= under(f"{prefix}0.", first)
        for i in range(blocks):
            shapes |= under(f"{prefix}{i + 1}.", r3gan_block(features, count, expansion))
    return shapes | {"Model.AggregationLayer.Layer.weight": (channels, widths[-1], 1, 1)}


def r3gan_d(
    *,
    widths: list[int],
    groups: list[int],
    c: int = 0,
    embed: int = 7,
    blocks: int = 2,
    expansion: int = 2,
    channels: int = 3,
) -> Shapes:
    """`widths` and `groups` as the generator's: the smallest maps first."""
    order = list(zip(widths, groups, strict=True))[::-1]
    shapes: Shapes = {"Model.ExtractionLayer.Layer.weight": (order[0][0], channels, 1, 1)}
    for stage, (features, count) in enumerate(order):
        prefix = f"Model.MainLayers.{stage}.Layers."
        for i in range(blocks):
            shapes |= under(f"{prefix}{i}.", r3gan_block(features, count, expansion))
        last: Shapes = {"Basis.weight": (features, 1, 4, 4)}
        last["LinearLayer.weight"] = (embed if c else 1, features)
        if stage < len(order) - 1:
            last = r3gan_resample(features, order[stage + 1][0])
        shapes |= under(f"{prefix}{blocks}.", last)
    return shapes | ({"Model.EmbeddingLayer.weight": (embed, c)} if c else {})
