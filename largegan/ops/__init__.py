"""Operations of image GANs: plain functions on `[N, C, H, W]`, with gradients of any order.

Every op has a folder: the public function, its specification (`reference.py`, of the same
signature, which runs everywhere), what it is made of, and its kernel. `table.py` has a row each.
"""

from largegan.ops.bias_act import bias_act
from largegan.ops.conv import conv2d, conv_transpose2d
from largegan.ops.conv_resample import act_conv2d_down, conv2d_resample
from largegan.ops.filtered_lrelu import filtered_lrelu
from largegan.ops.fir import BINOMIAL, downsample2d, filter2d, taps, upfirdn2d, upsample2d
from largegan.ops.fir_act import act_fir, fir_act
from largegan.ops.grid_sample import grid_sample
from largegan.ops.modulate import modulate
from largegan.ops.modulated_conv2d import modulated_conv2d, modulated_conv2d_act
from largegan.ops.norm import batch_norm_act, instance_norm_act
from largegan.ops.runtime import backend, loader

backend.connect(loader.launch)

__all__ = [
    "BINOMIAL",
    "act_conv2d_down",
    "act_fir",
    "batch_norm_act",
    "bias_act",
    "conv2d",
    "conv2d_resample",
    "conv_transpose2d",
    "downsample2d",
    "filter2d",
    "filtered_lrelu",
    "fir_act",
    "grid_sample",
    "instance_norm_act",
    "modulate",
    "modulated_conv2d",
    "modulated_conv2d_act",
    "taps",
    "upfirdn2d",
    "upsample2d",
]
