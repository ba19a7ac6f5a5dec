"""Drawing images by seed from averaged weights.

Image number s is a function of the checkpoint, of s and of its class: its latent comes from a
generator of its own. Batch, count and device only move the last bits of floating point.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.recipe import DataSpec, HasEncoder, Recipe, TruncatesStyles, title_of
from largegan.restore import Restored, restore, use_raw_weights
from largegan.sampler.choices import (
    Toward,
    check_movable,
    check_toward,
    check_truncation,
    choose_classes,
    has_images,
    has_normal_latents,
    one_class,
    require_styles,
)
from largegan.sampler.pixels import fitted, from_uint8, to_uint8
from largegan.sampler.seeds import class_in_proportion, seeded

__all__ = [
    "Sampler",
    "Toward",
    "check_movable",
    "check_toward",
    "fitted",
    "from_uint8",
    "has_images",
    "has_normal_latents",
    "one_class",
    "open_sampler",
    "require_styles",
    "sampler_of",
    "seeded",
    "to_uint8",
]

CENTER_LATENTS = 1000  # whose mean w is the center of a class


@dataclass(frozen=True)
class Sampler:
    """A checkpoint's averaged generator, ready to draw.

    `classes` are the labels that seeds take in turn: seed s has `classes[s % len(classes)]`.
    `label_counts` are the samples of each class in the training data, where they were counted.
    `truncation` is what the recipe makes of it, None for none; see `Recipe.truncate`. `toward` is
    what w is pulled to: the mean of all, or "class", the mean of its own class, which keeps the
    class recognizable.
    """

    recipe: Recipe
    spec: DataSpec
    class_names: tuple[str, ...]
    device: torch.device
    classes: tuple[int, ...] = ()
    truncation: float | None = None
    label_counts: tuple[int, ...] = ()
    in_turn: bool = True
    toward: Toward = "mean"
    model: str = ""  # the sha256 of the weights' file
    path: Path | None = None  # of the checkpoint

    def latent(self, seed: int) -> Tensor:
        """`[z_dim]` on the host, so that every device draws the same."""
        return self.latents(1, seeded(seed))[0]

    def latents(self, n: int, random: torch.Generator) -> Tensor:
        """`[n, z_dim]`, truncated where the recipe truncates latents."""
        z = self.recipe.latent(n, random)
        if self.truncation is None or isinstance(self.recipe, TruncatesStyles):
            return z
        return self.recipe.truncate(z, self.truncation, random)

    def truncated(self, amount: float | None) -> "Sampler":
        """The same sampler at another truncation. Raises ConfigError where there is none."""
        if amount is not None:
            check_truncation(self.recipe, amount)
        return replace(self, truncation=amount)

    def label(self, seed: int) -> int | None:
        """The class of a seed: in turn, or see `as_in_data`."""
        if self.in_turn or not self.class_ends:
            return self.classes[seed % len(self.classes)] if self.classes else None
        return self.classes[class_in_proportion(seed, self.class_ends)]

    def as_in_data(self) -> "Sampler":
        """For samples that are compared with real ones: classes come as often as in the data.

        Any stretch of seeds has every class in its proportion; see `class_in_proportion`. In turn
        where all classes have the same size.
        """
        return replace(self, in_turn=False)

    @cached_property
    def class_ends(self) -> list[int]:
        """Where each class ends in the training data, sorted by class; empty: all of one size."""
        counts = self.label_counts
        return list(itertools.accumulate(counts)) if len(set(counts)) > 1 else []

    def class_name(self, label: int) -> str:
        return self.class_names[label] if self.class_names else f"class {label}"

    def images(self, latents: Tensor, labels: Sequence[int | None]) -> Tensor:
        """uint8 `[N, C, H, W]` on the host for latents `[N, z_dim]`, in one batch."""
        which = None
        if self.classes:
            which = torch.tensor(labels, device=self.device)
        return to_uint8(self.decode(latents.to(self.device), which)).cpu()

    def decode(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Float images in [-1, 1] on the device, from the averaged weights."""
        if self.truncation is not None and self.toward == "class":
            with torch.no_grad():
                return self.recipe.synthesize(self.ws(latents, labels))
        if self.truncation is not None and isinstance(self.recipe, TruncatesStyles):
            return self.recipe.decode_truncated(latents, labels, self.truncation)
        return self.recipe.decode(latents, labels)

    @torch.no_grad()
    def encoded(self, images: Sequence[Tensor]) -> Tensor:
        """Codes `[N, z_dim]` on the host of real images, uint8 `[C, H, W]` each.

        Raises `ConfigError` without an encoder, `DataError` for images of another size.
        """
        if not isinstance(self.recipe, HasEncoder):
            raise ConfigError(
                f"recipe {type(self.recipe).__name__} has no {title_of(HasEncoder)}; images become "
                "codes with ali or bigan"
            )
        pixels = torch.stack([fitted(image, self.spec) for image in images])
        return self.recipe.encode(from_uint8(pixels).to(self.device)).float().cpu()

    def reconstructed(self, images: Sequence[Tensor]) -> Tensor:
        """uint8 `[N, C, H, W]`: what is made of the codes of real images; see `encoded`."""
        codes = self.encoded(images)
        return self.images(codes, [None] * len(codes))

    def styles(self, seeds: Sequence[int]) -> Tensor:
        """`[N, num_ws, w_dim]` on the device, at the sampler's truncation, where there are any."""
        latents = torch.stack([self.latent(seed) for seed in seeds]).to(self.device)
        labels = None
        if self.classes:
            labels = torch.tensor([self.label(seed) for seed in seeds], device=self.device)
        return self.ws(latents, labels)

    def ws(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """`[N, num_ws, w_dim]` for latents on the device, at the sampler's truncation."""
        amount = 1.0 if self.truncation is None else self.truncation
        if self.toward == "mean" or amount == 1:
            return self.recipe.ws(latents, labels, amount)
        centers = torch.cat([self.centers[int(label)] for label in labels])
        return torch.lerp(centers, self.recipe.ws(latents, labels), amount)

    @cached_property
    def centers(self) -> "ClassCenters":
        """The mean w `[1, num_ws, w_dim]` of a class, by its label."""
        return ClassCenters(self)

    @torch.no_grad()
    def moved(self, seeds: Sequence[int], transform: Tensor) -> Tensor:
        """float `[N, C, H, W]` on the device, not clamped, the generator's input moved.

        See `MovesInput` for `transform`. Raises `ConfigError` where the input cannot be moved.
        """
        check_movable(self.recipe)
        return self.recipe.synthesize_moved(self.styles(seeds), transform)

    def by_seed(self, seeds: Sequence[int], *, batch: int) -> Iterator[tuple[int, Tensor]]:
        """`(seed, uint8 [C, H, W])` for each seed, `batch` of them at a time."""
        for start in range(0, len(seeds), batch):
            part = seeds[start : start + batch]
            latents = torch.stack([self.latent(s) for s in part])
            yield from zip(part, self.images(latents, [self.label(s) for s in part]), strict=True)

    def rows(self, rows: Sequence[tuple[Tensor, int | None]]) -> Tensor:
        """uint8 `[R, N, C, H, W]` for rows of latents `[N, z_dim]` that share a class each."""
        return torch.stack([self.images(z, [label] * len(z)) for z, label in rows])


class ClassCenters(dict):
    """Mean ws `[1, num_ws, w_dim]` of classes, each measured when it is first asked for."""

    def __init__(self, sampler: Sampler):
        super().__init__()
        self.sampler = sampler

    @torch.no_grad()
    def __missing__(self, label: int) -> Tensor:
        recipe, device = self.sampler.recipe, self.sampler.device
        latents = recipe.latent(CENTER_LATENTS, seeded(0)).to(device)
        labels = torch.full((CENTER_LATENTS,), label, device=device)
        self[label] = recipe.ws(latents, labels).mean(0, keepdim=True)
        return self[label]


def open_sampler(
    path: Path,
    device: torch.device | str,
    *,
    classes: str | None = None,
    truncation: float | None = None,
    toward: Toward = "mean",
    raw: bool = False,
) -> Sampler:
    """The sampler of a checkpoint or of a run's newest one.

    Args:
        path: RUN, RUN/checkpoints/NNNNNNNNN or a published model.
        device: where to compute.
        classes: numbers and names of classes, with commas; None for all.
        truncation: above 0, or of either sign where w is truncated; what it does is the recipe's
            choice. None for none.
        toward: what w is truncated to; see `Sampler`.
        raw: draw with the weights as they were trained, not with their averages.

    Raises:
        ConfigError: nothing there; a recipe, class or truncation that cannot be.
        DataError: the checkpoint is incomplete or damaged.
    """
    found = restore(path)
    if raw:
        use_raw_weights(found)
    return sampler_of(found, device, classes=classes, truncation=truncation, toward=toward)


def sampler_of(
    found: Restored,
    device: torch.device | str,
    *,
    classes: str | None = None,
    truncation: float | None = None,
    toward: Toward = "mean",
) -> Sampler:
    """The sampler of what was restored; see `open_sampler`. Raises ConfigError."""
    recipe, names = found.recipe, found.class_names
    if recipe.directions:
        raise ConfigError(
            f"recipe {found.name} translates images and draws none of its own; give it some: "
            "largegan translate"
        )
    if truncation is not None:
        check_truncation(recipe, truncation)
    check_toward(recipe, toward)
    chosen = choose_classes(classes, recipe.num_classes, names)
    device = torch.device(device)
    counts = found.label_counts if len(chosen) == len(found.label_counts) else ()
    return Sampler(
        recipe.to(device),
        found.spec,
        names,
        device,
        chosen,
        truncation,
        counts,
        toward=toward,
        model=found.model,
        path=found.path,
    )
