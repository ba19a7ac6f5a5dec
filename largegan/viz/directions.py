"""The main directions of w: principal components of the styles of many latents.

As GANSpace (Härkönen et al., 2020, section 3.1): w of StyleGAN for random z, its mean and the
directions in which it varies most; an image is edited by moving its w along one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.sampler import Sampler, seeded, to_uint8
from largegan.viz.layout import sheet

LATENTS, BATCH = 10_000, 1000


@dataclass(frozen=True)
class Directions:
    """`axes` `[count, w_dim]` of length 1, the most varied first, and what w does along each.

    `deviations` `[count]` are standard deviations along the axes, `share` `[count]` their parts of
    the whole variance; `mean` `[w_dim]`. All are on the host.
    """

    mean: Tensor
    axes: Tensor
    deviations: Tensor
    share: Tensor

    def move(
        self, ws: Tensor, number: int, amount: float, layers: Sequence[int] | None = None
    ) -> Tensor:
        """`[N, num_ws, w_dim]` moved by `amount` deviations along a direction, in some layers."""
        if not 0 <= number < len(self.axes):
            raise ConfigError(f"there is no direction {number}; they are 0 to {len(self.axes) - 1}")
        step = (amount * self.deviations[number] * self.axes[number]).to(ws)
        moved = ws.clone()
        where = slice(None) if layers is None else list(layers)
        moved[:, where] += step
        return moved


@torch.no_grad()
def find_directions(sampler: Sampler, count: int, *, latents: int = LATENTS) -> Directions:
    """The `count` main directions of a sampler's w, over its classes in turn.

    Raises ConfigError for more than w has, or as many as there are latents.
    """
    ws = torch.cat(list(styles_of(sampler, latents)))
    most = min(ws.shape[1], len(ws) - 1)
    if not 1 <= count <= most:
        raise ConfigError(f"{count} directions were asked for; w has from 1 to {most}")
    mean = ws.mean(0)
    covariance = (ws - mean).T @ (ws - mean) / (len(ws) - 1)
    variances, axes = torch.linalg.eigh(covariance)  # rising
    variances, axes = variances.flip(0).clamp_min(0), axes.flip(1).T
    share = variances / variances.sum().clamp_min(torch.finfo(variances.dtype).tiny)
    found = (mean, signed(axes[:count]), variances[:count].sqrt(), share[:count])
    return Directions(*(part.float() for part in found))


def styles_of(sampler: Sampler, latents: int):
    """float64 `[n, w_dim]` on the host, batch by batch, from generators of their own."""
    for first in range(0, latents, BATCH):
        n = min(BATCH, latents - first)
        z = sampler.recipe.latent(n, seeded(first)).to(sampler.device)
        labels = None
        if sampler.classes:
            turn = [sampler.classes[i % len(sampler.classes)] for i in range(first, first + n)]
            labels = torch.tensor(turn, device=sampler.device)
        yield sampler.recipe.ws(z, labels)[:, 0].double().cpu()


def signed(axes: Tensor) -> Tensor:
    """An axis has two directions: here the one whose largest number is positive."""
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return axes * largest.sign()


@torch.no_grad()
def directions_sheet(
    sampler: Sampler, directions: Directions, seeds: Sequence[int], amounts: Sequence[float]
) -> Tensor:
    """uint8 `[C, H, W]`: a row per direction and seed, a column per amount."""
    ws, rows, names = sampler.styles(seeds), [], []
    for number, share in enumerate(directions.share):
        for seed, w in zip(seeds, ws.split(1), strict=True):
            moved = torch.cat([directions.move(w, number, amount) for amount in amounts])
            rows.append(to_uint8(sampler.recipe.synthesize(moved)).cpu())
            names.append(f"{number} ({100 * float(share):.0f} %), seed {seed}")
    columns = [f"{amount:+g}" for amount in amounts]
    return sheet(torch.stack(rows), row_names=names, column_names=columns)
