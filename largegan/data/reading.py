"""How data are read: what the `data` settings say to whoever opens a source."""

import os
from dataclasses import dataclass
from pathlib import Path

from largegan.errors import ConfigError

MODES = ("auto", "indexed", "stream")
ENV_FOLDER = "LARGEGAN_CACHE"


@dataclass(frozen=True)
class Reading:
    """Options of `open_data`; each has the meaning and the default of the setting of its name.

    Args:
        labels: false drops the labels.
        mode: auto reads with an index wherever one exists or can be built: local shards, and remote
            ones with `cache_dir`; else it streams.
        num_classes: needed only to stream labeled shards that have no index.
        decoded: where decoded images are kept: no, memory or disk.
        world, rank: how many processes read, and which of them this is; rank 0 warns.
        neighbors: how many of them are on this machine.
    """

    labels: bool = True
    on_error: str = "raise"
    max_skip_fraction: float = 1e-4
    cache_dir: str | None = None
    allow_pipe: bool = False
    mode: str = "auto"
    num_classes: int | None = None
    decoded: str = "no"
    world: int = 1
    rank: int = 0
    neighbors: int = 1

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode is {self.mode!r}; choose one of {', '.join(MODES)}")

    @property
    def folder(self) -> Path:
        """Where copies are kept: the cache_dir, or that of this person on this machine."""
        return default_folder() if self.cache_dir is None else Path(self.cache_dir)


def default_folder() -> Path:
    """$LARGEGAN_CACHE, else ~/.cache/largegan."""
    home = os.environ.get(ENV_FOLDER)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) if home else Path(base) / "largegan"


PLAIN = Reading()
