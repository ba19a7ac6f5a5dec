"""Averages of weights whose width is chosen after training (Karras et al., 2024, arXiv 2312.02696).

An average with weights t^gamma over the images t seen so far keeps its shape as training goes on:
its standard deviation is a fixed part of the training time, its `width` (the paper's sigma_rel).
Snapshots of two such averages, taken now and then, span a space in which the average of any other
width can be found afterwards by least squares (section 3.2, appendix C).
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

POWERS = ".powers."  # in the names of their tensors in checkpoints
WIDEST = 0.2886  # at gamma 0, where all images count alike: 1 / sqrt 12
NARROWEST = 1e-3


def gamma_of_width(width: float) -> float:
    """The exponent whose average has this width: width^2 = (g + 1) / ((g + 2)^2 (g + 3)).

    Raises `ValueError` for a width that no exponent from 0 on has.
    """
    if not NARROWEST <= width <= WIDEST:
        raise ValueError(f"a width is from {NARROWEST:g} to {WIDEST:g}, not {width:g}")
    inverse = float(width) ** -2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(roots[np.abs(roots.imag) < 1e-6].real.max())


def width_of_gamma(gamma: float) -> float:
    return float(np.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))))


def power_beta(gamma: float, nimg: int, batch_size: int) -> float:
    """How much of the old average survives the step that ends at `nimg` images; at first, none."""
    return (1 - batch_size / nimg) ** (gamma + 1)


def profile(nimg: float, gamma: float, length: int) -> np.ndarray:
    """How much each of `length` moments 0, 1, ... counts in the average at `nimg`; sums to 1."""
    t = np.arange(length, dtype=np.float64)
    weights = np.where(t <= nimg, (t / nimg) ** gamma, 0.0)
    return weights / weights.sum()


def correlation(t_a: np.ndarray, gamma_a: np.ndarray, t_b: np.ndarray, gamma_b: np.ndarray):
    """Inner products of two averages' profiles over continuous time, elementwise (appendix C)."""
    exponent = np.where(t_a < t_b, gamma_b, -gamma_a)
    scale = (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)
    return scale * (t_a / t_b) ** exponent / np.maximum(t_a, t_b)


def mixture(
    times: Sequence[int], gammas: Sequence[float], target_time: int, target_gammas: Sequence[float]
) -> np.ndarray:
    """Weights `[snapshots, targets]` by which snapshots add up to averages at `target_time`.

    `times` and `gammas` say of each snapshot when it was taken and of which average. Each column
    sums to 1. Solved in float64: neighboring snapshots are nearly alike.
    """
    t, g = np.asarray(times, np.float64), np.asarray(gammas, np.float64)
    wanted = np.asarray(target_gammas, np.float64)
    a = correlation(t[:, None], g[:, None], t[None, :], g[None, :])
    b = correlation(t[:, None], g[:, None], np.float64(target_time), wanted[None, :])
    found = np.linalg.solve(a, b)
    return found / found.sum(axis=0)


class PowerEma(nn.Module):
    """A frozen copy of `net` that averages its weights with a power of time; buffers are copied."""

    def __init__(self, net: nn.Module, width: float):
        super().__init__()
        self.width, self.gamma = width, gamma_of_width(width)
        self.net = copy.deepcopy(net).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "PowerEma":
        return super().train(False)

    @torch.no_grad()
    def update(self, net: nn.Module, nimg: int, batch_size: int) -> None:
        """Moves towards `net` as it is after the step that ends at `nimg` images."""
        mine, theirs = list(self.net.parameters()), list(net.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - power_beta(self.gamma, nimg, batch_size))
        for kept, new in zip(self.net.buffers(), net.buffers(), strict=True):
            kept.copy_(new)


def combined(snapshots: Sequence[Tensor], weights: np.ndarray) -> Tensor:
    """The sum of `[...]` tensors times `weights`, added up in float64, as float32."""
    total = torch.zeros(snapshots[0].shape, dtype=torch.float64)
    for tensor, weight in zip(snapshots, weights, strict=True):
        total.add_(tensor.double(), alpha=float(weight))
    return total.float()


def without_powers(model: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors without these averages, which only their own run goes on with."""
    return {name: tensor for name, tensor in model.items() if POWERS not in name}
