"""The sheets that `sample --sheet NAME` draws: a function each, by the rows of `sheet_table.py`."""

from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from largegan.errors import ConfigError
from largegan.recipe import title_of
from largegan.sampler import Sampler, has_normal_latents, to_uint8
from largegan.viz.layout import fill, sheet
from largegan.viz.paths import motion, spherical, straight
from largegan.viz.sheet_table import SHEETS, possible


@dataclass(frozen=True)
class Request:
    """What a person asked for; each sheet takes from it what it needs.

    `path` is how latents are interpolated: "linear", "spherical", or "auto" (an arc for normal
    latents). `thresholds` are truncations, one a row. `layers` are what style mixing exchanges.
    `images` are real ones, uint8 `[N, C, H, W]`, of the size that the network makes.
    """

    seeds: tuple[int, ...]
    steps: int = 8
    path: str = "auto"
    thresholds: tuple[float, ...] = ()
    layers: tuple[int, ...] = ()
    images: Tensor | None = None


def draw_sheet(name: str, sampler: Sampler, request: Request) -> Tensor:
    """uint8 `[C, H, W]`. Raises ConfigError when this checkpoint cannot be drawn that way."""
    row = SHEETS[name]
    if not row.fits(sampler.recipe):
        raise ConfigError(
            f"recipe {type(sampler.recipe).__name__} has no {title_of(row.capability)}, which the "
            f"sheet {name} is made of; choose one of {', '.join(possible(sampler.recipe))}"
        )
    given = 0 if request.images is None else len(request.images)
    if given < row.images:
        raise ConfigError(
            f"the sheet {name} shows {row.images} or more real images, and there are {given}; give "
            "--images"
        )
    return row.function(sampler, request)


def classes(sampler: Sampler, request: Request) -> Tensor:
    """A row per class with its name, a column per seed with its number."""
    refuse_without_classes(sampler, "rows of classes")
    latents = torch.stack([sampler.latent(seed) for seed in request.seeds])
    names = [sampler.class_name(label) for label in sampler.classes]
    images = sampler.rows([(latents, label) for label in sampler.classes])
    return sheet(images, row_names=names, column_names=[str(s) for s in request.seeds])


def interpolation(sampler: Sampler, request: Request) -> Tensor:
    """A row from each seed to the next; a row keeps the class of its first seed."""
    go = spherical if goes_by_arc(sampler, request) else straight
    pairs = list(pairwise(request.seeds))
    rows = [
        (go(sampler.latent(a), sampler.latent(b), request.steps), sampler.label(a))
        for a, b in pairs
    ]
    return sheet(sampler.rows(rows), row_names=[f"{a} to {b}" for a, b in pairs])


def goes_by_arc(sampler: Sampler, request: Request) -> bool:
    normal = request.path == "auto" and has_normal_latents(sampler.recipe)
    return request.path == "spherical" or normal


def class_interpolation(sampler: Sampler, request: Request) -> Tensor:
    """A row per seed and pair of neighboring classes: the latent stays, its class moves.

    On a line between the classes' embeddings (Brock et al., 2019, figure 9).
    """
    refuse_without_classes(sampler, "interpolation between classes")
    if len(sampler.classes) < 2:
        raise ConfigError("interpolation between classes needs two or more; name them in --classes")
    rows, names = [], []
    for seed, (a, b) in product(request.seeds, pairwise(sampler.classes)):
        ends = sampler.recipe.embed(torch.tensor([a, b], device=sampler.device))
        t = torch.linspace(0, 1, request.steps, device=sampler.device)[:, None]
        z = sampler.latent(seed).to(sampler.device).expand(request.steps, -1)
        rows.append(to_uint8(sampler.recipe.decode_embedded(z, torch.lerp(ends[0], ends[1], t))))
        names.append(f"{sampler.class_name(a)} to {sampler.class_name(b)}")
    return sheet(torch.stack(rows).cpu(), row_names=names)


def truncation(sampler: Sampler, request: Request) -> Tensor:
    """A row per threshold, a column per seed: the same seeds become more alike and more typical."""
    if not request.thresholds:
        raise ConfigError("the sheet truncation needs --thresholds, such as 0.2,0.5,1,2")
    images = []
    for amount in request.thresholds:
        here = sampler.truncated(amount)
        latents = torch.stack([here.latent(seed) for seed in request.seeds])
        images.append(here.images(latents, [here.label(seed) for seed in request.seeds]))
    names = [f"{amount:g}" for amount in request.thresholds]
    return sheet(torch.stack(images), row_names=names, column_names=[str(s) for s in request.seeds])


@torch.no_grad()
def w_interpolation(sampler: Sampler, request: Request) -> Tensor:
    """A row from each seed to the next, on a line in w, where styles mix evenly."""
    t = torch.linspace(0, 1, request.steps, device=sampler.device)[:, None, None]
    ws, pairs = sampler.styles(request.seeds), list(pairwise(request.seeds))
    rows = [to_uint8(sampler.recipe.synthesize(torch.lerp(a, b, t))) for a, b in pairwise(ws)]
    return sheet(torch.stack(rows).cpu(), row_names=[f"{a} to {b}" for a, b in pairs])


@torch.no_grad()
def style_mixing(sampler: Sampler, request: Request) -> Tensor:
    """Rows: the first half of the seeds; columns: the others, whose styles the rows take over.

    In `layers` (Karras et al., 2019, figure 3); by default in the coarse half, from 0. The edges
    show the images by themselves.
    """
    half = len(request.seeds) // 2
    rows, columns = request.seeds[:half], request.seeds[half:]
    if not half:
        raise ConfigError("style mixing needs two seeds or more: half of them rows, half columns")
    ws, others = sampler.styles(rows), sampler.styles(columns)
    layers = list(request.layers or range(ws.shape[1] // 2))
    if max(layers) >= ws.shape[1]:
        raise ConfigError(f"there is no layer {max(layers)}; layers are 0 to {ws.shape[1] - 1}")
    lines = [to_uint8(sampler.recipe.synthesize(others))]
    lines[0] = torch.cat([torch.full_like(lines[0][:1], 255), lines[0]])
    for w in ws:
        mixed = w.repeat(len(columns), 1, 1)
        mixed[:, layers] = others[:, layers]
        lines.append(to_uint8(sampler.recipe.synthesize(torch.cat([w[None], mixed]))))
    names = ["", *map(str, columns)]
    return sheet(torch.stack(lines).cpu(), row_names=["", *map(str, rows)], column_names=names)


@torch.no_grad()
def pyramid(sampler: Sampler, request: Request) -> Tensor:
    """A row per seed: its image at every level, the coarsest first, in large pixels."""
    rows, sides = [], []
    for seed in request.seeds:
        label, z = sampler.label(seed), sampler.latent(seed)[None].to(sampler.device)
        labels = None if label is None else torch.tensor([label], device=sampler.device)
        levels = sampler.recipe.pyramid(z, labels)
        sides = [str(level.shape[-1]) for level in levels]
        size = levels[-1].shape[-2:]
        rows.append(torch.cat([interpolate(to_uint8(x), size=size) for x in levels]))
    return sheet(torch.stack(rows).cpu(), row_names=list(map(str, request.seeds)),
                 column_names=sides)  # fmt: skip


COLUMNS = 8  # of a sheet of real images


@torch.no_grad()
def reconstructions(sampler: Sampler, request: Request) -> Tensor:
    """Real images, `COLUMNS` a row, and below each what the decoder makes of its code."""
    images = request.images
    again = sampler.reconstructed(images)
    rows, strips = -(-len(images) // COLUMNS), []
    for pixels in (images, again):
        strips.append(fill(pixels, rows=rows, columns=COLUMNS))
    names = ["image", "again"] * rows
    return sheet(torch.stack(strips, 1).flatten(0, 1), row_names=names)


@torch.no_grad()
def image_interpolation(sampler: Sampler, request: Request) -> Tensor:
    """A row from each real image to the next: at the ends themselves, between them their codes."""
    images, codes = request.images, sampler.encoded(request.images)
    go = spherical if goes_by_arc(sampler, request) else straight
    rows = []
    for i in range(len(images) - 1):
        between = sampler.images(go(codes[i], codes[i + 1], request.steps), [None] * request.steps)
        rows.append(torch.cat([images[i : i + 1], between, images[i + 1 : i + 2]]))
    return sheet(torch.stack(rows))


def moved(sampler: Sampler, request: Request) -> Tensor:
    """A row per seed: as it is, shifted right and down by an eighth, turned by 30 and 90 degrees.

    The generator's input moves, not the picture: what is new at the edges is drawn.
    """
    motions = {
        "still": motion(),
        "right 1/8": motion(shift=(0.125, 0.0)),
        "down 1/8": motion(shift=(0.0, 0.125)),
        "turn 30": motion(degrees=30),
        "turn 90": motion(degrees=90),
    }
    columns = [to_uint8(sampler.moved(request.seeds, m)).cpu() for m in motions.values()]
    names = [str(seed) for seed in request.seeds]
    return sheet(torch.stack(columns, 1), row_names=names, column_names=list(motions))


def refuse_without_classes(sampler: Sampler, what: str) -> None:
    if not sampler.classes:
        raise ConfigError(f"this checkpoint was trained without classes; there are no {what}")
