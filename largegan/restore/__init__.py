"""Restoring: a checkpoint becomes the recipe that wrote it, with its weights, ready to be used.

Optimizers stay unread: this is for looking, scoring, translating and exporting. Going on with a run
is `run/start.py`.
"""

import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from torch import nn

from largegan import checkpoint, recipes
from largegan.ema import Ema
from largegan.ema.powers import without_powers
from largegan.errors import ConfigError, DataError, shown
from largegan.files.ranges import fits
from largegan.files.tensors import read_header, read_tensors
from largegan.recipe import DataSpec, Recipe
from largegan.restore.published import (
    AGAIN,
    WEIGHTS,
    averages_of,
    is_published,
    keep_only,
    read_configuration,
)


@dataclass(frozen=True)
class Restored:
    """A checkpoint's recipe in evaluation mode on the host, and what its state says of it.

    The recipe of a published model has its averaged networks only.
    """

    path: Path  # RUN/checkpoints/NNNNNNNNN, or the folder of a published model
    recipe: Recipe
    spec: DataSpec
    options: dict  # the recipe's name, and its options
    state: dict
    model: str  # the sha256 of the weights' file

    @property
    def name(self) -> str:
        """Its row in the table of recipes."""
        return self.options["name"]

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.state.get("class_names", ()))

    @property
    def label_counts(self) -> tuple[int, ...]:
        """Samples of each class in the training data; empty where nobody counted."""
        return tuple(self.state.get("label_counts", ()))

    @property
    def nimg(self) -> int:
        """Images seen in training."""
        name = self.path.name
        return int(self.state.get("nimg", name if name.isdecimal() else 0))


def is_model(path: Path) -> bool:
    """Whether a folder looks like what `restore` opens: a run, a checkpoint, a published model."""
    return path.is_dir() and (
        (path / checkpoint.STATE).exists()
        or (path / checkpoint.MARKER).exists()
        or (path / "checkpoints").is_dir()
        or is_published(path)
    )


def restore(path: Path) -> Restored:
    """Opens RUN (its newest complete checkpoint), RUN/checkpoints/NNNNNNNNN or a published model.

    Raises:
        ConfigError: nothing is there, or a recipe or options that this version does not have.
        DataError: the checkpoint is incomplete or damaged.
    """
    if is_published(path):
        return restore_published(path)
    path = checkpoint.resolve(path)
    fault = checkpoint.damage(path)
    if fault:
        raise DataError(f"checkpoint {path} {fault}; choose another one of that run")
    state = checkpoint.check_state(path, checkpoint.read_state(path))
    marker = checkpoint.read_marker(path)
    spec, options = DataSpec(**state["spec"]), state["config"]["recipe"]
    recipe = rebuild(path, options, spec)
    model = marker.files[checkpoint.MODEL].sha256
    return Restored(path, recipe, spec, options, state, model)


def restore_published(path: Path) -> Restored:
    """Opens the folder of a published model; see `restore`."""
    config = read_configuration(path)
    spec = DataSpec(**structs.asdict(config.spec))
    options = {"name": config.recipe, **config.options}

    def make() -> Recipe:
        recipe = build(path, options, spec)
        return keep_only(recipe, averages_of(recipe))

    check_size(path / WEIGHTS, make)
    recipe = make()
    model = read_tensors(path / WEIGHTS, remedy=AGAIN)
    checkpoint.check_model(path, model, checkpoint.unaliased(recipe.state_dict()))
    recipe.load_state_dict(model, strict=False)  # as below
    state: dict[str, Any] = {"config": {"recipe": options}, "spec": vars(spec)}
    state |= {"class_names": list(config.class_names), "nimg": config.nimg}
    return Restored(path, recipe.eval(), spec, options, state, config.sha256)


def check_size(weights: Path, make: Callable[[], nn.Module]) -> None:
    """The network that a configuration from elsewhere describes is that of the weights beside it.

    Looked at without memory for it, so that no configuration asks for more than the file has.
    Raises ConfigError, DataError.
    """
    try:
        with torch.device("meta"):
            net = make()
    except (ValueError, RuntimeError, KeyError, AttributeError, ArithmeticError) as fault:
        raise DataError(
            f"{weights.parent} describes no network that can be built ({shown(fault)}); fetch it "
            "again"
        ) from fault
    saved, _ = read_header(weights, remedy=AGAIN)
    for name, tensor in net.state_dict().items():
        if name in saved and list(tensor.shape) != saved[name].shape:
            raise DataError(
                f"{weights.parent} describes {name} as {list(tensor.shape)}, and its weights hold "
                f"{saved[name].shape}; fetch it again"
            )


def rebuild(path: Path, options: dict, spec: DataSpec) -> Recipe:
    """Builds the recipe of a checkpoint and loads its weights."""
    recipe = build(path, options, spec)
    model = without_powers(read_tensors(path / checkpoint.MODEL, remedy=checkpoint.OLDER))
    checkpoint.check_model(path, model, checkpoint.unaliased(recipe.state_dict()))
    # Not strict: of tensors with two names the file holds one; check_model saw that none lacks.
    recipe.load_state_dict(model, strict=False)
    return recipe.eval()


def build(path: Path, options: dict, spec: DataSpec) -> Recipe:
    """The recipe that a checkpoint was written by, with new weights. Raises ConfigError."""
    options = dict(options)
    name = options.pop("name")
    if name not in recipes.TABLE:
        raise ConfigError(
            f"checkpoint {path} is of recipe {name}, which this version of largegan does not have; "
            f"it has {', '.join(recipes.TABLE)}"
        )
    hints = typing.get_type_hints(recipes.options_class(name))
    for option, value in options.items():
        if option in hints and not fits(value, hints[option]):
            raise ConfigError(
                f"checkpoint {path} says that {option} is {shown(value)}, which recipe {name} does "
                "not take"
            )
    try:
        return recipes.build(name, spec, options)
    except TypeError as fault:
        raise ConfigError(
            f"checkpoint {path} has options that recipe {name} does not take here ({fault}); use "
            "the version of largegan that wrote it"
        ) from fault


@torch.no_grad()
def use_raw_weights(found: Restored) -> None:
    """Sets every average to what it follows. Raises ConfigError where that is not kept."""
    if is_published(found.path):
        raise ConfigError(
            f"{found.path} is a published model, which has averaged weights alone; give the run"
        )
    averages = [net for net in found.recipe.modules() if isinstance(net, Ema)]
    if not averages:
        raise ConfigError(f"recipe {found.name} averages no weights: it always draws with the raw")
    for average in averages:
        average.net.load_state_dict(average.follows[0].state_dict())
