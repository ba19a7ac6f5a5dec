"""Published models: a folder with the averaged networks and what is needed to build them again.

FOLDER/config.json          recipe, options, data, classes, images seen, sha256 of the weights
       model.safetensors    averaged networks; nothing that only training needs
       README.md            the model card: see `interop/publish.py`

`restore` opens such a folder as it opens a run, so that every tool takes either.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from largegan.checkpoint.state import Spec
from largegan.ema import Ema
from largegan.errors import ConfigError, DataError, shown
from largegan.files.digests import sha256_of
from largegan.files.documents import Count, Sha256, read_document
from largegan.recipe import Recipe

CONFIG, WEIGHTS = "config.json", "model.safetensors"
KIND = "largegan model"
FORMAT = f"{KIND}, version 1"
AGAIN = "publish it again"


class Format(msgspec.Struct):
    """What every `config.json` of ours has."""

    format: str


class PublishedConfig(Format):
    """The `config.json` of a published model."""

    recipe: str
    options: dict[str, Any]
    spec: Spec
    sha256: Sha256
    class_names: tuple[str, ...] = ()
    nimg: Count = 0


def is_published(path: Path) -> bool:
    """Whether a folder says that it holds a published model."""
    return says(path, KIND)


def says(path: Path, kind: str) -> bool:
    """Whether the `config.json` of a folder is of this kind."""
    try:
        found = read_document(path / CONFIG, Format, what="is no configuration", remedy=AGAIN)
        return found.format.startswith(kind)
    except (OSError, DataError):
        return False


def read_configuration(path: Path) -> PublishedConfig:
    """What a published folder says of itself; its weights are the ones that were published.

    Raises ConfigError for a version that this one does not read, DataError for damage.
    """
    about = {"what": "is no configuration of a model", "remedy": AGAIN}
    form = read_document(path / CONFIG, Format, **about).format
    if form != FORMAT:
        raise ConfigError(
            f"{path} is a {shown(form)}, and this largegan reads {FORMAT}; use a newer one"
        )
    config = read_document(path / CONFIG, PublishedConfig, **about)
    weights = path / WEIGHTS
    if not weights.is_file() or sha256_of(weights) != config.sha256:
        raise DataError(f"{weights} is missing or not the one that was published; fetch it again")
    return config


def averages_of(recipe: Recipe) -> list[str]:
    """The modules that samples, translations and codes are made by: those that are averaged."""
    averaged = [name for name, net in recipe.named_children() if isinstance(net, Ema)]
    return [*averaged, *(name for name in recipe.drawn_by if name not in averaged)]


def keep_only(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """Drops every network but these. The recipe cannot be trained afterwards."""
    recipe.players, recipe.phases = {}, []
    for name in {name for name, _ in recipe.named_children()} - set(names):
        delattr(recipe, name)
    for average in recipe.children():
        if isinstance(average, Ema):
            average.follows = ()  # what it averaged is dropped, too
    return recipe
