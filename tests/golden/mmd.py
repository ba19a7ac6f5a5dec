"""Discrepancies of torch-two-sample, MMD-GAN and GMMN's formula, in float64 as they were made."""

import torch
from torch import Tensor

from largegan.losses import gaussian_mmd2, mmd2, root, squared_distances
from largegan.metrics import mmd
from tests.golden.goldcheck import Case

SMOOTHING = 1e-5  # torch-two-sample adds it to squared distances


class Run:
    """The inputs, and how a scalar and its gradient by x are compared."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.x, self.y = case.input("x").double(), case.input("y").double()

    def both(self, name: str, gradient: str, loss, x: Tensor | None = None) -> None:
        x = (self.x if x is None else x).clone().requires_grad_()
        value = loss(x)
        self.case.check(name, value)
        self.case.check(gradient, torch.autograd.grad(value, x)[0])


def check(case: Case) -> None:
    run = Run(case)
    check_two_sample(run)
    check_mmd_gan(run)
    check_gmmn(run)


def check_two_sample(run: Run) -> None:
    y, alphas = run.y, run.args["alphas"]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return sum(torch.exp(-alpha * (squared_distances(a, b) + SMOOTHING)) for alpha in alphas)

    def unbiased(x: Tensor) -> Tensor:
        return mmd2(kernel(x, x), kernel(x, y), kernel(y, y), biased=False)

    run.both("tts_mmd2_unbiased", "tts_mmd2_grad_x", unbiased)
    energy = "tts_energy", "tts_energy_grad_x"
    run.both(*energy, lambda x: mmd.energy_distance(x, y, smoothing=SMOOTHING))


def check_mmd_gan(run: Run) -> None:
    """On equally many rows, the first of each; its sigma is squared."""
    case, variances = run.case, [s**2 for s in run.args["mixrbf_sigmas"]]
    count = min(len(run.x), len(run.y))
    x, y = run.x[:count], run.y[:count]
    for biased in (True, False):
        kind = "biased" if biased else "unbiased"
        names = f"mixrbf_mmd2_{kind}", f"mixrbf_grad_x_{kind}"
        run.both(*names, lambda x, b=biased: gaussian_mmd2(x, y, variances, biased=b), x)
    estimate, variance = mmd.mmd2_and_variance(x, y, variances)
    case.check("mixrbf_var", variance)
    case.check("mixrbf_ratio", estimate / variance.clamp(min=1e-8).sqrt())
    case.check("linear_mmd2", mmd.linear_time_mmd2(x, y))
    case.check("poly_mmd2", mmd.polynomial_mmd2(x, y))


def check_gmmn(run: Run) -> None:
    case, y, variances = run.case, run.y, run.args["gmmn_sigmas"]
    for biased in (True, False):
        name = f"gmmn_mmd2_{'biased' if biased else 'unbiased'}"
        case.check(name, gaussian_mmd2(run.x, y, variances, biased=biased))
    root_of = "gmmn_sqrt", "gmmn_sqrt_grad_x"
    run.both(*root_of, lambda x: root(gaussian_mmd2(x, y, variances)))
