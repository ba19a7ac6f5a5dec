"""A run whose data and networks are there, and which has not begun."""

from dataclasses import dataclass, field
from pathlib import Path

from largegan.data.domains import Domains
from largegan.data.stream import Source
from largegan.data.transforms import Framing
from largegan.recipe import DataSpec
from largegan.trainer import Trainer


@dataclass(frozen=True)
class Start:
    """A run that is about to begin or to go on."""

    folder: Path  # the run directory, which is now ours
    source: "Source | Domains"
    framing: Framing
    spec: DataSpec  # what the networks were built for
    trainer: Trainer
    held_out: "Source | Domains | None" = None  # examples that are not trained on
    health: dict = field(default_factory=dict)  # sums of signals, where a checkpoint left them
