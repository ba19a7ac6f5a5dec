"""The table of sheets, which `sample --sheet NAME` draws: one row each.

A new sheet is a function in `sheets.py` and a row here. A recipe takes part in it by offering what
the row needs; nothing else declares it. `--help` reads the rows, so nothing heavy is imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largegan.recipe import Recipe


@dataclass(frozen=True)
class Sheet:
    """One row: what it shows, which function draws it, and how many seeds it takes."""

    what: str
    draws: str  # a function of sheets.py: (Sampler, Request) -> uint8 `[C, H, W]`
    seeds: int
    needs: str | None = None  # a Protocol of recipe/capabilities.py
    images: int = 0  # how many real ones it takes, at least; 0: it is not about them

    @property
    def function(self) -> Callable:
        """What draws it."""
        return getattr(import_module("largegan.viz.sheets"), self.draws)

    @property
    def capability(self) -> type | None:
        """What a recipe has to offer."""
        return self.needs and getattr(import_module("largegan.recipe.capabilities"), self.needs)

    def fits(self, recipe: "Recipe") -> bool:
        """Whether this recipe offers what the sheet is made of."""
        return self.capability is None or isinstance(recipe, self.capability)


SHEETS = {
    "classes": Sheet("a row per class, the same latent in each column", "classes", 8),
    "interpolation": Sheet("from each seed to the next, a row each", "interpolation", 2),
    "class-interpolation": Sheet(
        "the same latent from each class to the next",
        "class_interpolation",
        1,
        needs="EmbedsClasses",
    ),
    "truncation": Sheet("the same seeds at each of --thresholds, a row each", "truncation", 8),
    "w-interpolation": Sheet(
        "from each seed to the next in w, a row each", "w_interpolation", 2, needs="HasStyles"
    ),
    "pyramid": Sheet("the same seed at every level, a row each", "pyramid", 8, needs="HasPyramid"),
    "reconstructions": Sheet(
        "--images, and what is made of their codes",
        "reconstructions",
        1,
        needs="HasEncoder",
        images=1,
    ),
    "image-interpolation": Sheet(
        "from each of --images to the next through their codes",
        "image_interpolation",
        1,
        needs="HasEncoder",
        images=2,
    ),
    "style-mixing": Sheet(
        "half of the seeds with the other half's styles in some --layers",
        "style_mixing",
        8,
        needs="HasStyles",
    ),
    "moved": Sheet(
        "a row per seed, its input shifted and turned (StyleGAN3)", "moved", 4, needs="MovesInput"
    ),
}


def possible(recipe: "Recipe") -> list[str]:
    """The sheets that this recipe can draw."""
    return [name for name, row in SHEETS.items() if row.fits(recipe)]
