"""Adam, and how its learning rate falls."""

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn, optim

from largegan.recipe.vocabulary import Progress


def adam(
    lr: float, beta1: float, beta2: float, *, eps: float = 1e-8, lazy: int | None = None
) -> partial:
    """Adam, corrected for the extra step that a lazy phase adds every `lazy` iterations.

    With n = `lazy`: lr * n/(n+1) and beta^(n/(n+1)) (Karras et al., 2020, appendix B).
    """
    c = 1.0 if lazy is None else lazy / (lazy + 1)
    return partial(Adam, lr=lr * c, betas=(beta1**c, beta2**c), eps=eps)


class Adam(optim.Adam):
    """Adam whose step is one kernel where torch has one: three times as fast on a CPU.

    That kernel walks through memory without looking at layouts: a gradient or an average that lies
    otherwise than its weight would be added to the wrong places, without a word. So they are laid
    out alike before each step; mostly they are. It is given them as rows of numbers: of any other
    layout than torch's first (channels-last, say) it would copy every weight at every step.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        params = list(params)
        fused = all(p.device.type in ("cpu", "cuda") for p in params)
        super().__init__(params, lr=lr, betas=betas, eps=eps, fused=fused)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.grad is not None:
                p.grad = laid_out_as(p, p.grad)
            averages = self.state.get(p, {})
            for name in ("exp_avg", "exp_avg_sq"):
                if name in averages:
                    averages[name] = laid_out_as(p, averages[name])
        return super().step(closure)

    def _init_group(
        self,
        group: dict,
        params: list[Tensor],
        grads: list[Tensor],
        averages: list[Tensor],
        squares: list[Tensor],
        largest: list[Tensor],
        steps: list[Tensor],
    ) -> bool:
        found = super()._init_group(group, params, grads, averages, squares, largest, steps)
        if group["fused"]:
            for tensors in (params, grads, averages, squares):
                tensors[:] = [as_row(t) for t in tensors]
        return found


def as_row(t: Tensor) -> Tensor:
    """All numbers of `t` in the order of memory, as a view; itself where they have gaps."""
    last = sum((size - 1) * step for size, step in zip(t.shape, t.stride(), strict=True))
    return t.as_strided((t.numel(),), (1,)) if last == t.numel() - 1 else t


def laid_out_as(p: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `p`, of the same shape; itself where they lie so."""
    if values.stride() == p.stride():
        return values
    return torch.empty_like(p, dtype=values.dtype).copy_(values)


def cosine_decay(
    base: float,
    final: float,
    nimg: float,
    *,
    total_nimg: float,
    warmup_nimg: float = 0,
    warmup_value: float = 0.0,
    hold_nimg: float = 0,
) -> float:
    """`base`, then along half a cosine to `final`, reached at `total_nimg` images and kept.

    Before that it may rise linearly from `warmup_value` for `warmup_nimg` images, and stay at
    `base` for `hold_nimg`; the cosine has what is left.
    """
    if nimg < warmup_nimg:
        return warmup_value + (base - warmup_value) * nimg / warmup_nimg
    start = warmup_nimg + hold_nimg
    done = (nimg - start) / (total_nimg - start) if nimg < total_nimg else 1.0
    return base + (final - base) * (1 - math.cos(math.pi * max(0.0, done))) / 2


def linear_decay(
    lr: float, at: Progress, *, constant_nimg: int | None, decay_nimg: int
) -> dict[str, float]:
    """A constant learning rate, then linearly to 0 over `decay_nimg` images; None: no decay."""
    if constant_nimg is None:
        return {"lr": lr}
    return {"lr": lr * min(1.0, max(0.0, 1 - (at.nimg - constant_nimg) / decay_nimg))}
