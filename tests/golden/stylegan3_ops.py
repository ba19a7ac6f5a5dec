"""StyleGAN3's filters and blur, and its equivariance as a metric: published numbers."""

import math
import re

import torch
from torch import Tensor

from largegan import ops
from largegan.augment.blur import fading, gaussian_blur
from largegan.ema import Ema
from largegan.layers.lowpass import lowpass
from largegan.metrics import equivariance as eq
from largegan.recipe import Progress
from tests.golden.goldcheck import Case
from tests.golden.stylegan3_build import (
    filled,
    generator,
    load_generator,
)


def check_ops(case: Case) -> None:
    """`ops_nvlabs_sg3`: filters around an activation, modulated convolutions, filter design."""
    x, b, w, s = (case.input(name) for name in "xbws")
    fu, fd = (tuple(case.input(name).tolist()) for name in ("fu", "fd"))
    rows = tuple(tuple(row) for row in case.input("fd2").tolist())
    found = ops.filtered_lrelu(x, fu, fd, b, up=4, down=2, padding=[11, 10, 9, 12], clamp=1.5)
    case.check("up4_down2", found)
    act = {"gain": 1.3, "slope": 0.1}
    found = ops.filtered_lrelu(x, fu, rows, b, up=2, down=2, padding=8, **act)
    case.check("up2_down2_rect", found)
    found = ops.filtered_lrelu(x, fu, None, up=2, padding=[6, 5, 6, 5], flip=True)
    case.check("up2_down1_flip", found)

    leaves = x.clone().requires_grad_(), b.clone().requires_grad_()
    probe = case.input("probe")
    y = ops.filtered_lrelu(leaves[0], fu, fd, leaves[1], up=2, down=2, padding=11)
    y = y[:, :, : x.shape[2], : x.shape[3]]
    gradients = torch.autograd.grad((y * probe[..., : y.shape[2], : y.shape[3]]).sum(), leaves)
    case.check("grad_x", gradients[0])
    case.check("grad_b", gradients[1])

    found = ops.modulated_conv2d(x, w, s, padding=2, gain=0.8)
    case.check("modconv3_demod", found)
    case.check("modconv3_nodemod", ops.modulated_conv2d(x, w, s, demodulate=False))
    said = re.findall(
        r"\(([\d.]+),([\d.]+),([\d.]+),([\d.]+),([TF])\)", case.meta["notes"]["lowpass"]
    )
    for i, (taps, cutoff, width, rate, radial) in enumerate(said):
        band = {"cutoff": float(cutoff), "width": float(width), "rate": float(rate)}
        taps = lowpass(int(taps), radial=radial == "T", **band)
        case.check(f"lowpass_{i}", torch.tensor(taps, dtype=torch.float64))


def check_blur_ema(case: Case) -> None:
    """Blur as it fades, and the average with its ramp-up, from `args`."""
    args, images = case.meta["args"], case.image("x_u8")
    fade_nimg = 1000 * args["blur_fade_kimg"]
    sigmas = [fading(args["blur_init_sigma"], nimg, fade_nimg) for nimg in args["cur_nimg"]]
    case.check("sigma", torch.tensor(sigmas, dtype=torch.float64))
    for i, sigma in enumerate(sigmas):
        case.check(f"blur_{i}", gaussian_blur(images, sigma))

    weights, buffers, batch = case.input("p"), case.input("b"), args["batch"]
    live = torch.nn.Module()
    live.p = torch.nn.Parameter(0.5 * weights[0].clone())
    live.register_buffer("b", torch.zeros_like(buffers[0]))
    average = Ema(
        live,
        halflife_nimg=1000 * args["ema_kimg"],
        rampup=args["ema_rampup"],
        average_buffers=False,
    )
    betas, seen = [], []
    for i in range(args["steps"]):
        before = Progress(i, i * batch)
        with torch.no_grad():
            live.p.copy_(weights[i + 1])
            live.b.copy_(buffers[i + 1])
        betas.append(average.beta(before, batch))
        average.update(live, before, batch)
        seen.append(average.net.p.clone())
    case.check("ema_beta", torch.tensor(betas, dtype=torch.float64))
    case.check("ema", torch.stack(seen))
    case.check("ema_buffers", average.net.b)


def check_equivariance(case: Case) -> None:
    """The operators, from `args`: shifts, filters, rotations, affine maps, and their masks."""
    args, x, smooth = case.meta["args"], case.input("x"), case.image("smooth_u8")
    a = args["a"]
    for i, (tx, ty) in enumerate(args["shifts"]):
        keep(case, f"int_{i}", eq.shift_integer(x, tx, ty))
        keep(case, f"frac_{i}", eq.shift_fractional(x, tx, ty, a=a))
    for i, angle in enumerate(args["angles"]):
        matrix = eq.rotation_matrix(angle)
        case.check(f"rotation_matrix_{i}", matrix)
        limits = {"a": a, "reach": 2 * a}
        found = eq.bandlimit_filter(matrix, up=4, **limits)
        case.check(f"filter_up4_{i}", found[::2, ::2])
        found = eq.bandlimit_filter(eq.rotation_matrix(-angle), up=1, **limits)
        case.check(f"filter_up1_{i}", found)
        keep(case, f"rot_{i}", eq.rotate(smooth, angle, a=a))
        keep(case, f"pseudo_{i}", eq.pseudo_rotate(smooth, angle, a=a))
    matrix = torch.tensor(args["affine"], dtype=torch.float64)
    limits = {"reach": 2 * a + 1, "cutoff_in": 0.8, "cutoff_out": 0.9}
    keep(case, "affine", eq.move(smooth, matrix, up=2, a=a, **limits))


def keep(case: Case, name: str, found: tuple[Tensor, Tensor]) -> None:
    """An image, or as many of its channels as the file has, and its mask."""
    case.check(name, found[0][:, : case.expected(name).shape[1]])
    case.check(f"{name}_mask", found[1])


def check_metric(case: Case) -> None:
    """EQ-T, EQ-T_frac and EQ-R of a generator whose weights are made from names."""
    args = case.meta["args"]
    G = generator(args, case.expected("img").shape[1]).eval()
    load_generator(G, filled(case, G))
    z, identity = case.input("z"), torch.eye(3)
    labels = case.input("c") if "in.c" in case.keys else [None] * args["batches"]
    ratios = {name: eq.Ratio() for name in args["which"]}
    for i in range(args["batches"]):
        with torch.no_grad():

            def draw(transform: Tensor, i: int = i) -> Tensor:
                return G(z[i], labels[i], transform=transform)

            still = draw(identity)
            if i == 0:
                rows = case.expected("img").shape[0]
                case.check("img", still[:rows, :, ::2, ::2])
            for name, ratio in ratios.items():
                drawn = 2 * case.input(f"u_{name}")[i].double() - 1
                if name == "rot":
                    angle = float(drawn) * args["rotate_max"] * math.pi
                    eq.compare_rotated(ratio, draw, still, angle)
                else:
                    shift = (drawn * args["translate_max"]).tolist()
                    SHIFTS[name](ratio, draw, still, *shift)
    for name, ratio in ratios.items():
        case.check(OUTPUTS[name], torch.tensor(ratio.decibel(), dtype=torch.float64))


SHIFTS = {"int": eq.compare_integer, "frac": eq.compare_fractional}
OUTPUTS = {"int": "eqt", "frac": "eqt_frac", "rot": "eqr"}
