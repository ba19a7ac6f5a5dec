"""The table of ops: one row each, which the doctor, the benchmarks, the tests and the docs read.

A new op is a folder and a row here.
"""

from collections.abc import Callable
from typing import NamedTuple

from largegan import ops
from largegan.ops.bias_act import reference as bias_act
from largegan.ops.conv import reference as conv
from largegan.ops.conv_resample import reference as conv_resample
from largegan.ops.examples import (
    Cost,
    Example,
    affine,
    affine_by_image,
    biased,
    biased_weights,
    modulated,
    noise,
    noisy,
    noisy_modulated,
    places,
    styled,
    styles,
    vector,
    weights,
    weights_back,
)
from largegan.ops.filtered_lrelu import reference as filtered_lrelu
from largegan.ops.fir import reference as fir
from largegan.ops.fir_act import reference as fir_act
from largegan.ops.grid_sample import reference as grid_sample
from largegan.ops.modulate import reference as modulate
from largegan.ops.modulated_conv2d import reference as modulated_conv2d
from largegan.ops.norm import reference as norm

F = ops.BINOMIAL
ROWS = ((0.25, 0.5, -0.125), (0.5, 1.0, 0.25))  # a filter that does not separate
LONG = ops.taps((1, 3, 7, 12, 16, 18, 18, 16, 12, 7, 3, 1))  # as StyleGAN3's, 6 taps a factor
UP = {"f": F, "up": 2, "padding": (2, 1, 2, 1), "fir_gain": 4.0}
LAYER = {"f": F, "padding": (2, 1), "clamp": 256.0}


class Op(NamedTuple):
    """`reference` has the signature of `public`. The doctor tries the first of the examples."""

    public: Callable
    reference: Callable
    examples: dict[str, Example]
    source: str | None = None  # file of its kernel; None: made of ops that have some, or of none
    planes: bool = False  # the kernel is for contiguous images


TABLE = {
    op.public.__name__: op
    for op in (
        Op(
            ops.upfirdn2d,
            fir.upfirdn2d,
            {
                "mixed": Example({"fx": F, "fy": (1.0, -0.5), "up": (2, 1), "down": (1, 2)}),
                "crops": Example({"fx": LONG, "up": 4, "down": 2, "padding": (9, -3, -2, 12)}),
                "rows": Example({"fx": ROWS, "up": 2, "padding": 3, "flip": True, "gain": 2.0}),
                "by 3": Example({"fx": F, "up": 3, "down": 2, "padding": 1}),
            },
            "fir.cu",
        ),
        Op(
            ops.upsample2d,
            fir.upsample2d,
            {
                "by 2": Example({"f": F}, cost=Cost((1.25, 1.25, 1.25), half=True)),
                "by 3": Example({"f": ROWS, "factor": 3, "padding": 1, "flip": True}),
            },
            "fir.cu",
        ),
        Op(
            ops.downsample2d,
            fir.downsample2d,
            {
                "by 2": Example({"f": F}, cost=Cost((1.25, 1.25, 1.25))),
                "by (4, 1)": Example({"f": ROWS, "factor": (4, 1), "gain": 1.5}),
            },
            "fir.cu",
        ),
        Op(
            ops.filter2d,
            fir.filter2d,
            {"blur": Example({"f": F}, cost=Cost((2, 2, 2))), "rows": Example({"f": ROWS})},
            "fir.cu",
        ),
        Op(
            ops.bias_act,
            bias_act.bias_act,
            {
                "lrelu": Example({"act": "lrelu", "clamp": 1.0}, vector, cost=Cost((2, 3, 3))),
                "relu": Example({"act": "relu", "gain": 1.5}),
                "silu": Example({"act": "silu", "clamp": 0.75}, vector),
                "turned": Example({"act": "lrelu", "alpha": -0.25, "gain": -1.0}, vector),
            },
            "bias_act.cu",
        ),
        Op(
            ops.fir_act,
            fir_act.fir_act,
            {
                "up": Example(UP, biased),
                "styled": Example(LAYER, styled, cost=Cost((2, 3, 5))),
                "noisy": Example(UP | {"clamp": 1.0}, noisy, noise),
                "smooth": Example(UP | {"act": "silu"}, biased),
            },
            "fir.cu",
        ),
        Op(
            ops.act_fir,
            fir_act.act_fir,
            {
                "blur": Example({"f": F, "padding": 2}, biased),
                "layer": Example(LAYER, biased, cost=Cost((2.125, 2.125, 2.125))),
                "down": Example({"f": ROWS, "down": 2, "padding": 1, "act": "relu"}, biased),
            },
            "fir.cu",
        ),
        Op(
            ops.filtered_lrelu,
            filtered_lrelu.filtered_lrelu,
            {
                "binomial": Example({"fu": F, "fd": F, "up": 2, "down": 2, "padding": 3}, vector),
                "stylegan3": Example(
                    {"fu": LONG, "fd": LONG, "up": 2, "down": 2, "padding": (11, 10)},
                    vector,
                    # Two bits for each of four pixels between the filters; along x, y, y, x.
                    cost=Cost((2, 2.5, 2.5), fmas=4 * (12 / 4 + 12 / 2 + 12 / 2 + 12 / 4)),
                ),
                "rows": Example({"fu": F, "fd": ROWS, "up": 4, "padding": 2, "flip": True}),
                "plain": Example({"fu": None, "fd": None, "clamp": 1.0}, vector),
            },
            "filtered_lrelu.cu",
            planes=True,
        ),
        Op(
            ops.modulate,
            modulate.modulate,
            {"styles": Example({}, styles, cost=Cost((2, 3, 5)))},
            "modulate.cu",
        ),
        Op(
            ops.batch_norm_act,
            norm.batch_norm_act,
            {
                "by channel": Example({"act": "lrelu", "alpha": 0.25}, affine),
                "by image": Example({}, affine_by_image, cost=Cost((3, 5, None))),
            },
            "norm.cu",
        ),
        Op(
            ops.instance_norm_act,
            norm.instance_norm_act,
            {
                "plain": Example({}, cost=Cost((3, 5, None))),
                "affine": Example({"act": "lrelu", "alpha": 0.5}, affine),
            },
            "norm.cu",
        ),
        Op(
            ops.conv2d,
            conv.conv2d,
            {
                "3x3": Example({"padding": 1}, weights(3)),
                "strided": Example({"stride": 2}, weights(2)),
            },
        ),
        Op(
            ops.conv_transpose2d,
            conv.conv_transpose2d,
            {"by 2": Example({"stride": 2, "padding": 1, "output_padding": 1}, weights_back(3))},
        ),
        Op(
            ops.conv2d_resample,
            conv_resample.conv2d_resample,
            {
                "up": Example({"f": F, "up": 2, "padding": 1, "flip_weight": False}, weights(3)),
                "up, 1x1": Example({"f": F, "up": 2}, weights(1)),
                "down": Example({"f": F, "down": 2, "padding": 1}, weights(3)),
                "down, 1x1": Example({"f": F, "down": 2, "flip_filter": True}, weights(1)),
                "both": Example({"f": F, "up": 2, "down": 2, "padding": 1}, weights(3)),
                "same": Example({"padding": (1, 0, 2, 1)}, weights(3)),
            },
        ),
        Op(
            ops.act_conv2d_down,
            conv_resample.act_conv2d_down,
            {
                "3x3": Example(
                    {"f": F, "down": 2, "padding": 1, "act": "lrelu", "gain": 1.5, "clamp": 1.0},
                    biased_weights(3),
                )
            },
        ),
        Op(
            ops.modulated_conv2d,
            modulated_conv2d.modulated_conv2d,
            {
                "same": Example({"padding": 1}, modulated(3)),
                "weights": Example({"padding": 1, "form": "weights"}, modulated(3)),
                "up": Example({"f": F, "up": 2, "padding": 1, "flip_weight": False}, modulated(3)),
                "down": Example({"f": F, "down": 2, "padding": 1}, modulated(3)),
                "colors": Example({"demodulate": False}, modulated(1)),
                "gain": Example({"gain": 0.75, "f": F, "up": 2, "padding": 2}, modulated(3)),
            },
        ),
        Op(
            ops.modulated_conv2d_act,
            modulated_conv2d.modulated_conv2d_act,
            {
                "same": Example({"padding": 1}, modulated(3)),
                "up": Example(
                    {"f": F, "up": 2, "padding": 1, "flip_weight": False, "clamp": 2.0},
                    noisy_modulated,
                    noise,
                ),
            },
        ),
        Op(ops.grid_sample, grid_sample.grid_sample, {"beyond": Example({}, fixed=places)}),
    )
}


def markdown() -> str:
    """The table as the documentation shows it; `python -m largegan.ops table` prints it."""
    lines = ["| op | what it computes | kernel |", "|---|---|---|"]
    for name, op in TABLE.items():
        first = op.public.__doc__.splitlines()[0].rstrip(".").replace("|", "\\|")
        lines.append(f"| `{name}` | {first} | {f'`{op.source}`' if op.source else ''} |")
    return "\n".join(lines) + "\n"
