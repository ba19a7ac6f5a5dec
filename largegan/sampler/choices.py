"""What a person may choose when a recipe draws, such as classes; what it can draw."""

import math
from collections.abc import Sequence
from typing import Literal

from largegan.errors import ConfigError
from largegan.recipe import HasStyles, MovesInput, Recipe, TruncatesStyles, title_of
from largegan.sampler.seeds import seeded

MOST_TRUNCATION = 1e3
Toward = Literal["mean", "class"]  # whose mean w is truncated to: of all, or of its class


def check_truncation(recipe: Recipe, amount: float) -> None:
    """Raises ConfigError for an amount that the recipe cannot truncate by.

    Styles may be pulled to either side of their mean; latents are truncated above 0, normal ones.
    """
    if not math.isfinite(amount) or abs(amount) > MOST_TRUNCATION:
        raise ConfigError(f"truncation is {amount:g}; it must be at most {MOST_TRUNCATION:g}")
    if amount <= 0 and not isinstance(recipe, TruncatesStyles):
        raise ConfigError(
            f"truncation is {amount:g}; it must be above 0 for recipes that truncate latents"
        )
    if not has_normal_latents(recipe):
        raise ConfigError(
            f"recipe {type(recipe).__name__} draws uniform latents; truncation is for normal ones, "
            "so leave it out"
        )


def check_toward(recipe: Recipe, toward: Toward) -> None:
    """Raises ConfigError for truncation toward a class where there are no styles or no classes."""
    if toward == "mean":
        return
    if not (isinstance(recipe, HasStyles) and recipe.num_classes):
        raise ConfigError(
            f"truncation toward the class is for recipes with {title_of(HasStyles)} that were "
            "trained with classes; leave it out"
        )


def check_movable(recipe: Recipe) -> None:
    """Raises ConfigError for a recipe whose input cannot be moved."""
    if not isinstance(recipe, MovesInput):
        raise ConfigError(
            f"recipe {type(recipe).__name__} has no {title_of(MovesInput)}; StyleGAN3's can be "
            "shifted and turned"
        )


def require_styles(recipe: Recipe, purpose: str = "") -> None:
    """Raises ConfigError for a recipe without w; `purpose` is what it is wanted for."""
    if not isinstance(recipe, HasStyles):
        raise ConfigError(f"recipe {type(recipe).__name__} has no w{purpose}; take a StyleGAN")


def choose_classes(text: str | None, available: int, names: Sequence[str]) -> tuple[int, ...]:
    """Labels from "0,3,cat"; all of them for None, none when the recipe has no classes.

    Raises ConfigError for a class that there is not.
    """
    if text is None:
        return tuple(range(available))
    if not available:
        raise ConfigError(
            "this checkpoint was trained without classes; leave out the choice of them"
        )
    return tuple(one_class(word.strip(), available, names) for word in text.split(","))


def one_class(word: str, available: int, names: Sequence[str]) -> int:
    """The label of a class by its name or number. Raises ConfigError."""
    if word in names:
        return names.index(word)
    if not word.isdecimal():
        known = f"one of {', '.join(names)}" if names else f"a number from 0 to {available - 1}"
        raise ConfigError(f"there is no class {word!r}; give {known}")
    if int(word) >= available:
        raise ConfigError(f"there is no class {word}; classes are 0 to {available - 1}")
    return int(word)


def has_images(recipe: Recipe) -> bool:
    """Whether it draws images: toys have a picture of their own, translators have no latents."""
    return not recipe.directions and recipe.picture(seeded(0)) is None


def has_normal_latents(recipe: Recipe) -> bool:
    """Whether latents are normal. Recipes draw them either so or uniformly from [-1, 1].

    Measured, not declared: of a thousand normal numbers some are beyond 1, of uniform ones none.
    """
    probe = recipe.latent(1000, seeded(0))
    return bool(probe.abs().max() > 1)
