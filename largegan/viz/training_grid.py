"""Pictures of a recipe at work: fixed latents, so that one can watch them change."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from largegan.recipe import DataSpec, MakesSources, Recipe
from largegan.sampler import seeded
from largegan.viz.pictures import grid


def class_rows(rows: int, columns: int, num_classes: int) -> Tensor | None:
    """Labels `[rows * columns]` with one class per row; None without classes."""
    if num_classes == 0:
        return None
    return torch.arange(rows).remainder(num_classes).repeat_interleave(columns)


def training_picture(
    recipe: Recipe,
    spec: DataSpec,
    rows: int,
    seed: int,
    device: torch.device,
    *,
    images: dict[str, Tensor] | None = None,
) -> Tensor | None:
    """uint8 `[C, H', W']`: the recipe's own picture, or `rows` x `rows` samples, class by row.

    A recipe that translates shows what it makes of `images`; without them there is no picture.
    """
    own = recipe.picture(seeded(seed, device))
    if own is not None:
        return own
    if isinstance(recipe, MakesSources):
        return restored_picture(recipe, images["image"][:rows]) if images else None
    if recipe.directions:
        return translation_picture(recipe, images, rows) if images else None
    labels = class_rows(rows, rows, spec.num_classes)
    latents = recipe.latent(rows * rows, seeded(seed, device))
    return grid(decode(recipe, latents, labels), columns=rows)


def decode(recipe: Recipe, latents: Tensor, labels: Tensor | None, batch: int = 64) -> Tensor:
    """Images for many latents, on the host, a batch at a time."""
    images = []
    for i in range(0, len(latents), batch):
        part = None if labels is None else labels[i : i + batch].to(latents.device)
        images.append(recipe.decode(latents[i : i + batch], part).float().cpu())
    return torch.cat(images)


def real_picture(images: dict[str, Tensor], rows: int) -> Tensor:
    """A grid of float images in [-1, 1]; of two domains, a row of one and a row of the other."""
    batches = [in_color(batch.float().cpu()) for batch in images.values()]
    strips = [
        strip for part in zip(*(b.split(rows) for b in batches), strict=True) for strip in part
    ]
    return grid(torch.cat(strips), columns=rows)


def translation_picture(recipe: Recipe, images: dict[str, Tensor], rows: int) -> Tensor:
    """Each row: an image and its translation, in every direction; of pairs also the truth.

    `images` has "image_a" and "image_b", float `[N, C, H, W]` in [-1, 1], N at least `rows`.
    """
    columns = []
    for direction in recipe.directions:
        source, target = f"image_{direction[0]}", f"image_{direction[-1]}"
        inputs = images[source][:rows]
        outputs = [recipe.translate(image[None], direction=direction) for image in inputs]
        columns += [inputs, torch.cat(outputs)]
        if recipe.paired:
            columns.append(images[target][:rows])
    cells = torch.stack([in_color(column.float().cpu()) for column in columns], 1)
    return grid(cells.flatten(0, 1), columns=len(columns))


def restored_picture(recipe: MakesSources, truths: Tensor) -> Tensor:
    """Each row: what the recipe makes of a true image, its translation, and the truth.

    `truths` are float `[N, C, H, W]` in [-1, 1]; smaller sources are shown in larger pixels.
    """
    sources = recipe.sources({"image": truths})
    made = torch.cat([recipe.translate(source[None]) for source in sources])
    size = made.shape[-2:]
    columns = [interpolate(sources, size=size, mode="nearest"), made, truths]
    cells = [in_color(column[..., : size[0], : size[1]].float().cpu()) for column in columns]
    return grid(torch.stack(cells, 1).flatten(0, 1), columns=len(cells))


def in_color(images: Tensor) -> Tensor:
    """`[N, C, H, W]` with three channels, so that domains of different kinds fit one picture."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
