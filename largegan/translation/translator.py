"""The translating network of a run, of a checkpoint or of an exported folder."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from largegan.errors import ConfigError
from largegan.restore import restore
from largegan.restore.exported import channels_of, choose_direction, is_exported, load_exported


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
    found = restore(path)
    which = choose_direction(direction, found.recipe.directions, found.path)
    if which is None:
        raise ConfigError(
            f"{found.path} is of recipe {found.name}, which does not translate; draw from it with "
            "largegan sample"
        )
    net = found.recipe.translator(which).to(device).eval().requires_grad_(False)
    return Translator(net, channels_of(net), which, found.model, found.name)
