"""`ada_debug_percentile_*`: the ADA pipeline with its draws replaced by quantiles."""

import torch

from largegan.augment import pipeline, wavelets
from largegan.ops import taps


def check(case) -> None:
    images = case.input("images")
    for name in sorted(case.outputs()):
        kind, _, quantile = name.partition("@")
        if not quantile:
            continue
        check_one(case, images, name, kind, float(quantile))
    case.check("Hz_geom", torch.tensor(taps(wavelets.SYM6)))
    case.check("Hz_fbank", torch.tensor(wavelets.octave_bands(wavelets.SYM2, 3)))


def check_one(case, images, name: str, kind: str, quantile: float) -> None:
    def augmented(x, transforms):
        return pipeline.augment(x, 1.0, transforms, quantile=quantile)

    bgc = pipeline.multipliers_of("bgc")
    bgcfc = bgc | {"imgfilter": 1.0, "cutout": 1.0}
    if kind == "bgc":
        case.check(name, augmented(images, bgc)[:1])
    elif kind == "bgcfc":
        case.check(name, augmented(images, bgcfc)[1:])
    elif kind == "bgcfc_grad":
        x = images.clone().requires_grad_()
        y = augmented(x, bgcfc)
        waves = torch.cos(0.05 * torch.arange(y.numel())).reshape(y.shape)
        (gradient,) = torch.autograd.grad((y * waves).sum(), x)
        case.check(name, gradient[:1])
    else:
        case.check(name, augmented(images[:1], pipeline.multipliers_of({kind: 1.0})))
