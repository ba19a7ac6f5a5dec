"""Operations of image GANs: plain functions on `[N, C, H, W]`, with gradients of any order."""

from largegan.ops.activation import bias_act
from largegan.ops.conv import act_conv2d_down, conv2d, conv2d_resample, conv_transpose2d
from largegan.ops.filtered import filtered_lrelu
from largegan.ops.fir import BINOMIAL, downsample2d, filter2d, taps, upfirdn2d, upsample2d
from largegan.ops.fir_activation import act_fir, fir_act
from largegan.ops.grid import grid_sample
from largegan.ops.modulated import modulate, modulated_conv2d, modulated_conv2d_act
from largegan.ops.norm import batch_norm_act, instance_norm_act

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
