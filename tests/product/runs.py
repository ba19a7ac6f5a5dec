"""A tiny checkpoint of every recipe, trained for two steps, once a session."""

from functools import cache
from pathlib import Path

import pytest
import torch

from largegan import checkpoint
from largegan.recipe import DataSpec, Recipe
from largegan.recipes import build
from tests.recipes.common import NAMES, TINY, iterate, make_trainer, spec_of

# One of each kind runs by default, all with -m slow.
KINDS = ("dcgan", "stylegan2", "biggan", "lapgan", "ali", "cyclegan", "srresnet")
RECIPES = [n if n in KINDS else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
CLASS_NAMES = ["ant", "bee", "cat", "dog", "eel"]


@cache
def trained(name: str, folder: Path) -> Path:
    """A run of this recipe in `folder`, after two steps of eight images."""
    return write(folder / name, name, spec_of(name), TINY.get(name, {}))


def write(run: Path, name: str, spec: DataSpec, options: dict) -> Path:
    """A run of a recipe with these options, after two steps of eight images."""
    torch.manual_seed(0)
    recipe = build(name, spec, options)
    iterate(make_trainer(recipe, name, spec=spec), 2)
    stir(recipe)
    state = {
        "config": {"recipe": {"name": name, **options}, "train": {"batch_size": 8}},
        "spec": vars(spec),
        "class_names": CLASS_NAMES[: spec.num_classes],
        "nimg": 16,
    }
    checkpoint.save(run / "checkpoints", 16, checkpoint.Checkpoint(recipe.state_dict(), {}, state))
    return run


@torch.no_grad()
def stir(recipe: Recipe) -> None:
    """What two steps leave near its start gets something to do, so that every input matters.

    Biases, gains and noise that begin at 0, and weights by which a signal would die out.
    """
    random = torch.Generator().manual_seed(5)
    for weights in recipe.parameters():
        if weights.abs().max() < 0.02:
            weights += 0.1 * torch.randn(weights.shape, generator=random)
        if weights.ndim > 1:
            gain = float(weights.square().mean().sqrt()) * weights[0].numel() ** 0.5
            weights *= max(1.0, 1.4 / gain)
