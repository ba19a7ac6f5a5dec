"""`ops_nvlabs_sg2`: our ops against those of NVlabs/stylegan2-ada-pytorch, call by call.

The notes of the case say what was called; a case with the same outputs and other tensors (sizes,
channels, filters) is checked by the same calls.
"""

import torch

from largegan import ops
from largegan.layers.minibatch_std import MinibatchStd

ACTS = ["linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"]


def check(case) -> None:
    x, b = case.input("x"), case.input("b")
    f = tuple(case.input("f1331").tolist())
    f2d = tuple(tuple(row) for row in case.input("f2d").tolist())
    asym = tuple(case.input("f_asym").tolist())
    _filters(case, x, f, f2d, asym)
    for act in ACTS:
        case.check(f"bias_act_{act}", ops.bias_act(x, b, act=act))
    clamped = ops.bias_act(x, b, act="lrelu", alpha=0.1, gain=2, clamp=0.7)
    case.check("bias_act_lrelu_clamp", clamped)
    _convolutions(case, x, ops.taps(f))
    _modulated(case, x, ops.taps(f))
    for name, group, channels in (("g2_f1", 2, 1), ("g4_f2", 4, 2), ("none", None, 1)):
        appended = MinibatchStd(group, channels)(x)[:, x.shape[1] :]
        case.check(f"mbstd_{name}", appended)


def outer(f) -> torch.Tensor:
    return torch.tensor(f)[:, None] * torch.tensor(f)


def _filters(case, x, f, f2d, asym) -> None:
    even, rows = ops.taps(f), ops.taps(f2d)
    case.check("setup_filter_1331", outer(even))
    case.check("setup_filter_2d", torch.tensor(rows))
    gained = outer(ops.taps(asym, gain=4.0, flip=True))
    case.check("setup_filter_gain4_flip", gained)
    case.check("up2", ops.upsample2d(x, even))
    case.check("down2", ops.downsample2d(x, even))
    case.check("filter2d", ops.filter2d(x, even))
    case.check("filter2d_2d_flip", ops.filter2d(x, rows, flip=True, gain=1.5))
    odd = ops.upfirdn2d(x, rows, up=3, down=2, padding=[2, 1, -1, 3], gain=2.0)
    case.check("upfirdn_u3d2", odd)
    mixed = ops.upfirdn2d(x, asym, up=(2, 1), down=(1, 3), padding=(3, 2, 4, 0), flip=True)
    case.check("upfirdn_u2x1_d1x3_sep", mixed)
    case.check("down2_asym", ops.downsample2d(x, asym))


def _convolutions(case, x, f) -> None:
    w1, w3 = case.input("w1"), case.input("w3")
    up = ops.conv2d_resample(x, w3, f, up=2, padding=1, flip_weight=False)
    case.check("conv_up2_k3", up)
    case.check("conv_down2_k3", ops.conv2d_resample(x, w3, f, down=2, padding=1))
    case.check("conv_down2_k1", ops.conv2d_resample(x, w1, f, down=2))
    case.check("conv_up2_k1", ops.conv2d_resample(x, w1, f, up=2))
    case.check("conv_k3_plain", ops.conv2d_resample(x, w3, padding=1))
    case.check("conv_k3_noflip", ops.conv2d_resample(x, w3, padding=1, flip_weight=False))


def _modulated(case, x, f) -> None:
    w1, w3, s = case.input("w1"), case.input("w3"), case.input("styles")
    up = {"f": f, "up": 2, "padding": 1, "flip_weight": False}
    for name, form in (("fused", "weights"), ("unfused", "activations")):
        noise, noise_up = case.input("noise"), case.input("noise_up")
        y = ops.modulated_conv2d(x, w3, s, noise=noise, padding=1, f=f, form=form)
        case.check(f"mod_{name}", y)
        y = ops.modulated_conv2d(x, w3, s, noise=noise_up, form=form, **up)
        case.check(f"mod_up2_{name}", y)
        y = ops.modulated_conv2d(x, w1, s, demodulate=False, form=form)
        case.check(f"mod_nodemod_k1_{name}", y)
    leaves = [t.requires_grad_() for t in (x.clone(), w3, s)]
    y = ops.modulated_conv2d(*leaves, form="activations", **up)
    gradients = torch.autograd.grad((y * case.input("probe")).sum(), leaves)
    for name, gradient in zip("xws", gradients, strict=True):
        case.check(f"mod_up2_grad_{name}", gradient)
