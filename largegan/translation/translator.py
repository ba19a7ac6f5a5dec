"""The translating network of a run, of a checkpoint or of an exported folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from largegan import checkpoint
from largegan.errors import ConfigError, DataError
from largegan.interop.exported import choose_direction, is_exported, load_exported
from largegan.recipe import DataSpec
from largegan.sheets import rebuild


@dataclass(frozen=True)
class Translator:
    """`net` turns `[N, channels, H, W]` in [-1, 1] into images of the other domain.

    `model` identifies the weights: the sha256 of their file.
    """

    net: nn.Module
    channels: int
    direction: str
    model: str
    recipe: str


def open_translator(
    path: Path, device: torch.device | str, *, direction: str | None = None
) -> Translator:
    """Opens RUN, RUN/checkpoints/NNNNNNNNN or what tools/export.py wrote.

    Raises:
        ConfigError: nothing there, a recipe that does not translate, or not in this direction.
        DataError: the checkpoint is incomplete or damaged.
    """
    if is_exported(path):
        exported = load_exported(path)
        if exported.kind != "translator":
            raise ConfigError(f"{path} holds a {exported.kind} of {exported.recipe}; it translates "
                              "nothing")  # fmt: skip
        which = choose_direction(direction, (exported.direction,), path)
        net = exported.net.to(device)
        return Translator(net, channels_of(net), which, exported.model, exported.recipe)
    path = checkpoint.resolve(path)
    fault = checkpoint.damage(path)
    if fault:
        raise DataError(f"checkpoint {path} {fault}; choose another one of that run")
    state = json.loads((path / checkpoint.STATE).read_text())
    listing = json.loads((path / checkpoint.MARKER).read_text())
    options = state["config"]["recipe"]
    recipe = rebuild(path, options, DataSpec(**state["spec"]))
    which = choose_direction(direction, recipe.directions, path)
    if which is None:
        raise ConfigError(
            f"{path} is of recipe {options['name']}, which does not translate; draw from it with "
            "tools/sample.py"
        )
    net = recipe.translator(which).to(device).eval().requires_grad_(False)
    sha = listing["files"][checkpoint.MODEL]["sha256"]
    return Translator(net, channels_of(net), which, sha, options["name"])


def channels_of(net: nn.Module) -> int:
    """Colours of the images that a translation network takes: it says so, or its first
    convolution knows."""
    if hasattr(net, "image_channels"):
        return net.image_channels
    return next(m for m in net.modules() if isinstance(m, nn.Conv2d)).in_channels
