"""The kinds of sheets that `tools/sample.py --sheet NAME` draws: a table, and a function each.

A new kind is one function and one row. A recipe takes part in a kind by having the methods that
the row names; nothing else declares it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.pictures import to_uint8
from largegan.sheets import Artist, has_normal_latents, sheet, spherical, straight


@dataclass(frozen=True)
class Wishes:
    """What a person asked for; each kind takes from it what it needs.

    `path` is how latents are interpolated: "linear", "spherical", or "auto" (an arc for normal
    latents). `thresholds` are truncations, one a row. `layers` are what style mixing exchanges.
    """

    seeds: tuple[int, ...]
    steps: int = 8
    path: str = "auto"
    thresholds: tuple[float, ...] = ()
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Kind:
    """`draw` makes the picture (uint8 `[C, H, W]`); `seeds` is how many it takes by itself."""

    what: str
    draw: Callable[[Artist, Wishes], Tensor]
    seeds: int
    needs: tuple[str, ...] = ()  # methods of the recipe


def draw(name: str, artist: Artist, wishes: Wishes) -> Tensor:
    """uint8 `[C, H, W]`. Raises ConfigError when this checkpoint cannot be drawn that way."""
    kind = KINDS[name]
    missing = [method for method in kind.needs if not hasattr(artist.recipe, method)]
    if missing:
        raise ConfigError(
            f"recipe {type(artist.recipe).__name__} has no {' and no '.join(missing)}, which the "
            f"sheet {name} is made of; choose one of {', '.join(possible(artist.recipe))}"
        )
    return kind.draw(artist, wishes)


def possible(recipe) -> list[str]:
    """The kinds whose methods this recipe has."""
    return [name for name, kind in KINDS.items() if all(hasattr(recipe, m) for m in kind.needs)]


def classes(artist: Artist, wishes: Wishes) -> Tensor:
    """A row per class with its name, a column per seed with its number."""
    refuse_without_classes(artist, "rows of classes")
    latents = torch.stack([artist.latent(seed) for seed in wishes.seeds])
    names = [artist.class_name(label) for label in artist.classes]
    images = artist.rows([(latents, label) for label in artist.classes])
    return sheet(images, row_names=names, column_names=[str(s) for s in wishes.seeds])


def interpolation(artist: Artist, wishes: Wishes) -> Tensor:
    """A row from each seed to the next; a row keeps the class of its first seed."""
    arc = wishes.path == "spherical" or (
        wishes.path == "auto" and has_normal_latents(artist.recipe)
    )
    go = spherical if arc else straight
    pairs = list(pairwise(wishes.seeds))
    rows = [
        (go(artist.latent(a), artist.latent(b), wishes.steps), artist.label(a)) for a, b in pairs
    ]
    return sheet(artist.rows(rows), row_names=[f"{a} to {b}" for a, b in pairs])


def class_interpolation(artist: Artist, wishes: Wishes) -> Tensor:
    """A row per seed and pair of neighbouring classes: the latent stays, its class moves.

    On a line between the classes' embeddings (Brock et al., 2019, figure 9).
    """
    refuse_without_classes(artist, "interpolation between classes")
    if len(artist.classes) < 2:
        raise ConfigError("interpolation between classes needs two or more; name them in --classes")
    rows, names = [], []
    for seed, (a, b) in product(wishes.seeds, pairwise(artist.classes)):
        ends = artist.recipe.embed(torch.tensor([a, b], device=artist.device))
        t = torch.linspace(0, 1, wishes.steps, device=artist.device)[:, None]
        z = artist.latent(seed).to(artist.device).expand(wishes.steps, -1)
        rows.append(to_uint8(artist.recipe.decode_embedded(z, torch.lerp(ends[0], ends[1], t))))
        names.append(f"{artist.class_name(a)} to {artist.class_name(b)}")
    return sheet(torch.stack(rows).cpu(), row_names=names)


def truncation(artist: Artist, wishes: Wishes) -> Tensor:
    """A row per threshold, a column per seed: the same seeds become more alike and more typical."""
    if not wishes.thresholds:
        raise ConfigError("the sheet truncation needs --thresholds, such as 0.2,0.5,1,2")
    images = []
    for amount in wishes.thresholds:
        here = artist.truncated(amount)
        latents = torch.stack([here.latent(seed) for seed in wishes.seeds])
        images.append(here.paint(latents, [here.label(seed) for seed in wishes.seeds]))
    names = [f"{amount:g}" for amount in wishes.thresholds]
    return sheet(torch.stack(images), row_names=names, column_names=[str(s) for s in wishes.seeds])


def styles(artist: Artist, seeds: Sequence[int]) -> Tensor:
    """`[N, num_ws, w_dim]` on the device, at the artist's truncation."""
    latents = torch.stack([artist.latent(seed) for seed in seeds]).to(artist.device)
    labels = None
    if artist.classes:
        labels = torch.tensor([artist.label(seed) for seed in seeds], device=artist.device)
    truncation = 1.0 if artist.truncation is None else artist.truncation
    return artist.recipe.ws(latents, labels, truncation)


def loop(places: Tensor, steps: int) -> Tensor:
    """`[N, ...]` -> `[N * steps, ...]`: a closed Catmull-Rom spline through `places`."""
    t = (torch.arange(steps, device=places.device) / steps).view(-1, *[1] * (places.ndim - 1))
    before, after, second = (places.roll(shift, 0) for shift in (1, -1, -2))
    parts = []
    for a, b, c, d in zip(before, places, after, second, strict=True):
        square, cube = a - 2.5 * b + 2 * c - d / 2, 1.5 * (b - c) + (d - a) / 2
        parts.append(b + t * ((c - a) / 2 + t * (square + t * cube)))
    return torch.cat(parts)


@torch.no_grad()
def path_images(artist: Artist, seeds: Sequence[int], steps: int, *, batch: int) -> Tensor:
    """uint8 `[len(seeds) * steps, C, H, W]`: past every seed and back to the first.

    In w where the recipe has one, else in z, whose normal latents keep their length. The class is
    that of the first seed.
    """
    label = artist.label(seeds[0])
    latents = torch.stack([artist.latent(seed) for seed in seeds]).to(artist.device)
    if hasattr(artist.recipe, "ws"):
        labels = None if label is None else torch.full((len(seeds),), label, device=artist.device)
        truncation = 1.0 if artist.truncation is None else artist.truncation
        parts = loop(artist.recipe.ws(latents, labels, truncation), steps).split(batch)
        return torch.cat([to_uint8(artist.recipe.draw(ws)).cpu() for ws in parts])
    path = loop(latents, steps)
    if has_normal_latents(artist.recipe):
        path = path * (latents.norm(dim=1).mean() / path.norm(dim=1, keepdim=True))
    return torch.cat([artist.paint(z, [label] * len(z)) for z in path.split(batch)])


@torch.no_grad()
def w_interpolation(artist: Artist, wishes: Wishes) -> Tensor:
    """A row from each seed to the next, on a line in w, where styles mix evenly."""
    t = torch.linspace(0, 1, wishes.steps, device=artist.device)[:, None, None]
    ws, pairs = styles(artist, wishes.seeds), list(pairwise(wishes.seeds))
    rows = [to_uint8(artist.recipe.draw(torch.lerp(a, b, t))) for a, b in pairwise(ws)]
    return sheet(torch.stack(rows).cpu(), row_names=[f"{a} to {b}" for a, b in pairs])


@torch.no_grad()
def style_mixing(artist: Artist, wishes: Wishes) -> Tensor:
    """Rows: the first half of the seeds; columns: the others, whose styles the rows take over.

    In `layers` (Karras et al., 2019, figure 3); by default in the coarse half, from 0. The edges
    show the images by themselves.
    """
    half = len(wishes.seeds) // 2
    rows, columns = wishes.seeds[:half], wishes.seeds[half:]
    if not half:
        raise ConfigError("style mixing needs two seeds or more: half of them rows, half columns")
    ws, others = styles(artist, rows), styles(artist, columns)
    layers = list(wishes.layers or range(ws.shape[1] // 2))
    if max(layers) >= ws.shape[1]:
        raise ConfigError(f"there is no layer {max(layers)}; layers are 0 to {ws.shape[1] - 1}")
    lines = [to_uint8(artist.recipe.draw(others))]
    lines[0] = torch.cat([torch.full_like(lines[0][:1], 255), lines[0]])
    for w in ws:
        mixed = w.repeat(len(columns), 1, 1)
        mixed[:, layers] = others[:, layers]
        lines.append(to_uint8(artist.recipe.draw(torch.cat([w[None], mixed]))))
    names = ["", *map(str, columns)]
    return sheet(torch.stack(lines).cpu(), row_names=["", *map(str, rows)], column_names=names)


def refuse_without_classes(artist: Artist, what: str) -> None:
    if not artist.classes:
        raise ConfigError(f"this checkpoint was trained without classes; there are no {what}")


KINDS = {
    "classes": Kind("a row per class, the same latent in each column", classes, 8),
    "interpolation": Kind("from each seed to the next, a row each", interpolation, 2),
    "class-interpolation": Kind(
        "the same latent from each class to the next",
        class_interpolation,
        1,
        needs=("embed", "decode_embedded"),
    ),
    "truncation": Kind("the same seeds at each of --thresholds, a row each", truncation, 8),
    "w-interpolation": Kind(
        "from each seed to the next in w, a row each", w_interpolation, 2, needs=("ws", "draw")
    ),
    "style-mixing": Kind(
        "half of the seeds with the other half's styles in some --layers",
        style_mixing,
        8,
        needs=("ws", "draw"),
    ),
}
