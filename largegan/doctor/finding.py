"""What a check says, and what it may know: the words that all checks share."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from jsonargparse import Namespace

    from largegan.data.stream import Source
    from largegan.parallel.launch import World
    from largegan.recipe import DataSpec, Recipe
    from largegan.trainer import Trainer


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    `code` is what the program exits with if this is the first failure. Checks leave it at 0, which
    stands for the code of their row in the table of checks.
    """

    level: str  # ok, warn, FAIL; empty for a notice that something is under way
    what: str
    facts: str
    remedy: str = ""
    code: int = 0

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:5s} {self.what}: {self.facts}{remedy}"


def announced_rank() -> int:
    """The rank that the launcher gave this process, before any group exists."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


@dataclass
class Visit:
    """What the checks learn and later ones need; None where one of them failed or was not asked."""

    argv: list[str]
    rank: int = field(default_factory=announced_rank)
    size: int = 1
    config: "Namespace | None" = None
    device: "torch.device | None" = None
    world: "World | None" = None
    source: "Source | None" = None
    recipe: "Recipe | None" = None
    spec: "DataSpec | None" = None
    trainer: "Trainer | None" = None  # after a step of every phase


Check = Callable[[Visit], Iterator[Finding]]
