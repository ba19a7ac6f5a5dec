"""`train.compile`: networks compiled in place, for phases whose graphs are differentiated once."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import nn

from largegan.errors import EnvironmentFault
from largegan.recipe import HasEntrances, Recipe

BACKEND = "inductor"


class CompiledNetworks:
    """A recipe's networks, whose `forward` is a compiled one within `self()`.

    Only there: a graph that torch.compile made cannot be differentiated twice, pictures have other
    numbers of images, and averaged networks run too seldom. Modules, parameters and hooks stay what
    they are, so engines and checkpoints see no difference. Random numbers are drawn as without.
    """

    def __init__(self, recipe: Recipe):
        from torch._inductor import config  # slow, and most runs need it not

        config.fallback_random = True
        self.names: list[str] = []
        self.forwards = []
        names = {module: name for name, module in recipe.named_modules()}
        for player in recipe.players.values():
            for module in (part for net in player.nets for part in entrances(net)):
                self.names.append(names[module])
                compiled = torch.compile(module.forward, dynamic=False, backend=BACKEND)
                self.forwards.append((module, compiled))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        for module, compiled in self.forwards:
            module.forward = compiled
        try:
            yield
        finally:
            for module, _ in self.forwards:
                del module.forward  # the class's own is behind it

    def __str__(self) -> str:
        return f"compiled, in phases that differentiate once: {', '.join(self.names)}"


def entrances(net: nn.Module) -> list[nn.Module]:
    """The modules through which losses use a network: itself, unless it says others."""
    names = net.entrances if isinstance(net, HasEntrances) else ("",)
    return [net.get_submodule(name) for name in names]


def check_compiler(device: torch.device) -> None:
    """Raises EnvironmentFault where torch.compile could make no code for this device."""
    words = [os.environ.get("CXX") or "g++", "clang++"]
    if not any(shutil.which(word) for word in words):
        raise EnvironmentFault(
            f"train.compile needs a C++ compiler, and there is neither {' nor '.join(words)}; "
            "install one, or leave train.compile out"
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise EnvironmentFault(
            "train.compile needs the package triton on a GPU; pip install triton, or leave "
            "train.compile out"
        )
