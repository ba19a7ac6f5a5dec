"""Pictures of a recipe at work: fixed latents, so that one can watch them change."""

import numpy as np
import torch
from torch import Tensor

from largegan.pictures import grid
from largegan.recipe import DataSpec, Recipe


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers for looking: never those of training."""
    return torch.Generator(device).manual_seed(seed)


def class_rows(rows: int, columns: int, num_classes: int) -> Tensor | None:
    """Labels `[rows * columns]` with one class per row; None without classes."""
    if num_classes == 0:
        return None
    return torch.arange(rows).remainder(num_classes).repeat_interleave(columns)


def training_picture(
    recipe: Recipe, spec: DataSpec, rows: int, seed: int, device: torch.device
) -> Tensor:
    """uint8 `[C, H', W']`: the recipe's own picture, or `rows` x `rows` samples, class by row."""
    own = recipe.picture(generator(seed, device))
    if own is not None:
        return own
    labels = class_rows(rows, rows, spec.num_classes)
    latents = recipe.latent(rows * rows, generator(seed, device))
    return grid(decode(recipe, latents, labels), columns=rows)


def decode(recipe: Recipe, latents: Tensor, labels: Tensor | None, batch: int = 64) -> Tensor:
    """Images for many latents, on the host, a batch at a time."""
    images = []
    for i in range(0, len(latents), batch):
        part = None if labels is None else labels[i : i + batch].to(latents.device)
        images.append(recipe.decode(latents[i : i + batch], part).float().cpu())
    return torch.cat(images)


def real_picture(source, rows: int) -> Tensor | None:
    """The same grid of training images, evenly spread over the set; None for other data."""
    if not hasattr(source, "read"):  # streamed shards cannot be picked from
        return None
    picks = np.linspace(0, source.info.count - 1, rows * rows).astype(np.int64)
    batch = source.read(picks)
    if "image" not in batch:
        return None
    return grid(batch["image"].float() / 127.5 - 1, columns=rows)
