"""Arithmetic of latents, as DCGAN's paper shows it (Radford et al., 2016): a - b + c."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from largegan.sampler import Sampler, has_normal_latents
from largegan.viz.layout import sheet


class Sum(NamedTuple):
    """a - b + c, each the mean of the latents of some seeds."""

    name: str
    a: Sequence[int]
    b: Sequence[int]
    c: Sequence[int]


def arithmetic_sheet(sampler: Sampler, sums: Sequence[Sum]) -> Tensor:
    """uint8 `[C, H, W]`: four columns, a, b, c, a - b + c; a row keeps the class of its first seed.

    Means and sums of normal latents are scaled back to the variance of one, without which they
    are not what the generator knows. Uniform ones are added plainly, as in DCGAN's paper.
    """
    keep = 0.5 if has_normal_latents(sampler.recipe) else 0.0
    rows = []
    for one in sums:
        a, b, c = (
            torch.stack([sampler.latent(seed) for seed in seeds]).mean(0) * len(seeds) ** keep
            for seeds in (one.a, one.b, one.c)
        )
        rows.append((torch.stack([a, b, c, (a - b + c) / 3**keep]), sampler.label(one.a[0])))
    names = [one.name for one in sums]
    return sheet(sampler.rows(rows), row_names=names, column_names=["a", "b", "c", "a-b+c"])
