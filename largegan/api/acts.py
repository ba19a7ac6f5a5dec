"""What the buttons of the page do: plain functions of a model, which know no page.

Images that they return are PIL's; facts say how an image is made again.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from largegan.api.generator import Generator
from largegan.api.pictures import take
from largegan.api.translator import Translator
from largegan.errors import ConfigError
from largegan.recipe import HasEncoder, HasStyles, TruncatesStyles
from largegan.sampler import has_images, has_normal_latents, seeded
from largegan.viz.directions import Directions
from largegan.viz.paths import spherical, straight
from largegan.viz.pictures import as_image

SMALL = 128  # pixels: images up to here are shown pixel by pixel
AXES = 8  # main directions of w, at most


class Drawn(NamedTuple):
    """An image, and the settings that make it again."""

    image: Image.Image
    facts: dict[str, Any]


@dataclass
class Draws:
    """A generator behind a page."""

    model: Generator

    def __post_init__(self):
        recipe = self.recipe = self.model.sampler.recipe
        self.classes = self.model.class_names
        self.has_images = has_images(recipe)
        self.truncates = self.has_images and has_normal_latents(recipe)
        self.has_styles = isinstance(recipe, HasStyles)
        self.has_encoder = isinstance(recipe, HasEncoder)
        self.small = max(self.model.height, self.model.width) <= SMALL
        self.least = 0.0 if isinstance(recipe, TruncatesStyles) else 0.05  # truncation

    def own_picture(self) -> Image.Image:
        """What a 1-D toy shows instead of images."""
        return as_image(self.recipe.picture(seeded(0)))

    def draw(self, seed: int, truncation: float = 1.0, label: str | None = None) -> Drawn:
        """The image of a seed; a truncation of 1 is none where w is truncated."""
        amount = self._amount(truncation)
        (image,) = self.model.sample(seed=whole(seed), truncation=amount, label=label, to="pil")
        return Drawn(image, self._facts(seed=whole(seed), truncation=amount, label=label))

    def between(
        self, seed: int, other: int, part: float, truncation: float = 1.0, label: str | None = None
    ) -> Drawn:
        """On the way from one seed to another: in w where there is one, else along an arc in z."""
        seeds, amount = [whole(seed), whole(other)], self._amount(truncation)
        if self.has_styles:
            a, b = self._ws(seeds, amount, label).split(1)
            image = self._of(torch.lerp(a, b, float(part)))
        else:
            a, b = self.model.z(seeds)
            z = self._between_latents(a, b, float(part))
            (image,) = self.model.sample(z=z[None], label=label, to="pil")
        facts = {"seed": seeds[0], "other": seeds[1], "part": part}
        return Drawn(image, self._facts(**facts, truncation=amount, label=label))

    def mixed(
        self,
        seed: int,
        other: int,
        first: int,
        truncation: float = 1.0,
        label: str | None = None,
    ) -> Drawn:
        """One seed's styles in the layers before `first`, another's from there on."""
        seeds, amount = [whole(seed), whole(other)], self._amount(truncation)
        a, b = self._ws(seeds, amount, label).split(1)
        ws = torch.cat([a[:, : int(first)], b[:, int(first) :]], 1)
        facts = {"seed": seeds[0], "other": seeds[1], "first": int(first)}
        return Drawn(self._of(ws), self._facts(**facts, truncation=amount, label=label))

    def moved(
        self,
        seed: int,
        number: int,
        amount: float,
        truncation: float = 1.0,
        label: str | None = None,
    ) -> Drawn:
        """A seed's w moved along a main direction, by so many standard deviations."""
        truncated = self._amount(truncation)
        ws = self._ws([whole(seed)], truncated, label)
        image = self._of(self.directions.move(ws, int(number), float(amount)))
        facts = {"seed": whole(seed), "direction": int(number), "deviations": amount}
        return Drawn(image, self._facts(**facts, truncation=truncated, label=label))

    def reconstruct(self, path: str | None) -> tuple[Image.Image, Image.Image]:
        """A picture of the network's size, and what is made of its code."""
        before = opened(path, self.model.channels)
        return before, self.model.reconstruct(before)

    @cached_property
    def directions(self) -> Directions:
        """Computed when first asked for."""
        return self.model.directions(self.axes)

    @cached_property
    def axes(self) -> int:
        """How many main directions are shown."""
        return min(AXES, self.model.w(1).shape[2])

    @cached_property
    def layers(self) -> int:
        """How many ws a generator has."""
        return self.model.w(1).shape[1]

    def _ws(self, seeds: list[int], truncation: float | None, label: str | None) -> Tensor:
        return self.model.w(seeds=seeds, truncation=truncation, label=label)

    def _of(self, ws: Tensor) -> Image.Image:
        return self.model.sample(w=ws, to="pil")[0]

    def _between_latents(self, a: Tensor, b: Tensor, part: float) -> Tensor:
        steps = 101
        go = spherical if has_normal_latents(self.recipe) else straight
        return go(a, b, steps)[round(part * (steps - 1))]

    def _amount(self, truncation: float) -> float | None:
        return float(truncation) if self.truncates and truncation != 1 else None

    def _facts(self, **facts: Any) -> dict[str, Any]:
        found = {"recipe": self.model.recipe, "nimg": self.model.nimg, **facts}
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class Translates:
    """A translator behind a page."""

    model: Translator

    def translate(
        self, path: str | None, direction: str | None = None
    ) -> tuple[Image.Image, Image.Image]:
        """A picture and its translation, of one size for the eye."""
        before = opened(path, 3)
        after = self.model.translate(before, direction=direction)
        return before.resize(after.size, Image.Resampling.BICUBIC), after


def opened(path: str | None, channels: int) -> Image.Image:
    """An uploaded file as a picture. Raises ConfigError, DataError."""
    if path is None:
        raise ConfigError("there is no picture yet; upload one")
    given = take([Path(path)], channels)
    return given.answer(given.images, "pil")[0]


def whole(number: float | None) -> int:
    """A seed from a field that may be empty. Raises ConfigError."""
    if number is None or number != int(number):
        raise ConfigError("a seed is a whole number, such as 7")
    return int(number)
