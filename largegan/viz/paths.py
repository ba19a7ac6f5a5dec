"""Paths through latents: from one to another, and in a closed loop past many."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from largegan.recipe import HasStyles
from largegan.sampler import Sampler, has_normal_latents, to_uint8


def straight(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """`[steps, z_dim]` from `a` to `b` on a line: stays within a uniform cube."""
    t = torch.linspace(0, 1, steps)[:, None]
    return torch.lerp(a, b, t)


def spherical(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """`[steps, z_dim]` from `a` to `b` along an arc: keeps the length that normal latents have.

    Slerp (Shoemake, 1985) with the angle between the directions, as in White (2016).
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-4:  # the same direction or opposite ones: there is no arc to follow
        return straight(a, b, steps)
    t = torch.linspace(0, 1, steps)[:, None]
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def loop(places: Tensor, steps: int) -> Tensor:
    """`[N, ...]` -> `[N * steps, ...]`: a closed Catmull-Rom spline through `places`."""
    t = (torch.arange(steps, device=places.device) / steps).view(-1, *[1] * (places.ndim - 1))
    before, after, second = (places.roll(shift, 0) for shift in (1, -1, -2))
    parts = []
    for a, b, c, d in zip(before, places, after, second, strict=True):
        square, cube = a - 2.5 * b + 2 * c - d / 2, 1.5 * (b - c) + (d - a) / 2
        parts.append(b + t * ((c - a) / 2 + t * (square + t * cube)))
    return torch.cat(parts)


def motion(*, degrees: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """The transform `[3, 3]` of an input whose picture turns counterclockwise, then shifts.

    `shift` is in units of the shorter side, right and down. Transforms lead from the result to
    where it is read from (see `MovesInput`), so this is the inverse of the motion.
    """
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = shift
    back = torch.tensor([[1.0, 0, -x], [0, 1, -y], [0, 0, 1]])
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ back


def camera(frames: int, *, turns: int, radius: float) -> Tensor:
    """`[frames, 3, 3]`: the picture turns so often and goes around a circle once, then begins anew.

    The circle has `radius` in units of the shorter side and passes where the picture was.
    """
    parts = [i / frames for i in range(frames)]
    around = [(math.cos(2 * math.pi * t) - 1, math.sin(2 * math.pi * t)) for t in parts]
    return torch.stack(
        [
            motion(degrees=360 * turns * t, shift=(radius * x, radius * y))
            for t, (x, y) in zip(parts, around, strict=True)
        ]
    )


@torch.no_grad()
def path_images(
    sampler: Sampler,
    seeds: Sequence[int],
    steps: int,
    *,
    batch: int,
    transforms: Tensor | None = None,
) -> Tensor:
    """uint8 `[len(seeds) * steps, C, H, W]`: past every seed and back to the first.

    In w where the recipe has one, else in z, whose normal latents keep their length. The class is
    that of the first seed. `transforms`, one a picture, move the input of a recipe that is
    `MovesInput`.
    """
    label = sampler.label(seeds[0])
    latents = torch.stack([sampler.latent(seed) for seed in seeds]).to(sampler.device)
    if isinstance(sampler.recipe, HasStyles):
        labels = None if label is None else torch.full((len(seeds),), label, device=sampler.device)
        parts = loop(sampler.ws(latents, labels), steps).split(batch)
        if transforms is None:
            return torch.cat([to_uint8(sampler.recipe.synthesize(ws)).cpu() for ws in parts])
        moved = zip(parts, transforms.to(sampler.device).split(batch), strict=True)
        images = [sampler.recipe.synthesize_moved(ws, where) for ws, where in moved]
        return torch.cat([to_uint8(part).cpu() for part in images])
    path = loop(latents, steps)
    if has_normal_latents(sampler.recipe):
        path = path * (latents.norm(dim=1).mean() / path.norm(dim=1, keepdim=True))
    return torch.cat([sampler.images(z, [label] * len(z)) for z in path.split(batch)])
