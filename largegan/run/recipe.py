"""The recipe that a configuration asks for: its class, its networks, and whether they fit."""

from functools import partial

import psutil
import torch
from jsonargparse import Namespace

from largegan import recipes
from largegan.config.parse import recipe_options
from largegan.errors import ConfigError, shown
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, Recipe

# What torch and arithmetic raise when sizes do not fit together.
NOT_BUILT = (ValueError, RuntimeError, ArithmeticError, IndexError, AssertionError, MemoryError)
COPIES = 4  # of the weights: themselves, their gradients, and Adam's two moments


def recipe_of(config: Namespace) -> type[Recipe]:
    """The class of the chosen recipe."""
    return recipes.recipe_class(config.recipe.name)


def new_recipe(config: Namespace, spec: DataSpec) -> Recipe:
    """The chosen recipe with new weights."""
    return recipes.build(config.recipe.name, spec, recipe_options(config))


def make_recipe(config: Namespace, spec: DataSpec, world: World) -> Recipe:
    """Networks with new weights. Raises ConfigError for options that no network, or no memory,
    can follow."""
    name, make = config.recipe.name, partial(new_recipe, config, spec)
    try:
        with torch.device("meta"):
            plan = make()
        check_memory(plan, spec, config, world)
        return make()
    except NOT_BUILT as fault:
        first = next(iter(str(fault).splitlines()), "")
        raise ConfigError(
            f"recipe {name} cannot be built with these options for images of {spec.channels}x"
            f"{spec.height}x{spec.width} ({type(fault).__name__}: {shown(first)}); change its "
            "widths, depths or other options"
        ) from fault


def check_memory(plan: Recipe, spec: DataSpec, config: Namespace, world: World) -> None:
    """Refuses, before anything is allocated, what a machine cannot hold. Raises ConfigError."""
    here = world.device.type == "cpu"
    weights = sum(t.numel() * t.element_size() for t in (*plan.parameters(), *plan.buffers()))
    images = config.train.batch_size // world.size
    if config.train.micro_batch_size:
        images = min(images, config.train.micro_batch_size)
    pixels = images * (spec.channels + spec.channels_b) * spec.height * spec.width
    need = weights * (COPIES if here else 1) + pixels * (5 if here else 1)  # bytes and floats
    free = psutil.virtual_memory().available
    if need > free:
        raise ConfigError(
            f"recipe {config.recipe.name} with these options needs {need / 2**30:.3g} GiB for its "
            f"weights and one micro-batch, and {free / 2**30:.3g} GiB are free; make it narrower "
            "or train.micro_batch_size smaller"
        )
