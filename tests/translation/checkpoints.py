"""Complete checkpoints of new recipes, written in milliseconds instead of trained."""

from pathlib import Path

import torch
from torch import nn

from largegan import checkpoint
from largegan.recipe import DataSpec
from largegan.recipes import build

TWO_DOMAINS = DataSpec(3, 32, 32, channels_b=3)


def write(folder: Path, name: str, spec: DataSpec = TWO_DOMAINS, **options) -> Path:
    """A run directory with one checkpoint of a recipe whose layers all have something to do."""
    torch.manual_seed(0)
    recipe = build(name, spec, options)
    for module in recipe.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
    config = {"recipe": {"name": name, **options}}
    state = {"config": config, "spec": vars(spec), "class_names": []}
    content = checkpoint.Checkpoint(recipe.state_dict(), {}, state)
    checkpoint.save(folder / "checkpoints", 1000, content)
    return folder
