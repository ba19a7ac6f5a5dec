"""What to do with a sample that cannot be used: stop, or replace it and keep count."""

import dataclasses

from largegan.errors import ConfigError, DataError


@dataclasses.dataclass
class SkipPolicy:
    """Counts what was skipped, and stops when it is more than a fraction of the dataset.

    ``total`` is the number of samples that the fraction refers to. The counters are those of one
    process; ``bad`` holds the indices of distinct samples, so reading one again costs nothing.
    """

    on_error: str = "raise"
    max_fraction: float = 1e-4
    total: int = 0
    bad_shards: int = 0
    lost: int = 0  # samples behind the damage of a shard, which have no index
    bad: set[int] = dataclasses.field(default_factory=set)
    fresh: list[int] = dataclasses.field(default_factory=list)  # not yet told to the main process

    def __post_init__(self) -> None:
        if self.on_error not in ("raise", "skip"):
            raise ConfigError(f"on_error is {self.on_error!r}; choose raise or skip")
        if not 0 <= self.max_fraction <= 1:
            raise ConfigError(
                f"max_skip_fraction is {self.max_fraction}; it is a fraction between 0 and 1"
            )

    @property
    def samples(self) -> int:
        return len(self.bad) + self.lost

    def skip(self, index: int, error: DataError) -> None:
        """Note a bad sample, or raise ``error`` if the policy is to stop."""
        if self.on_error == "raise":
            raise error
        if index not in self.bad:
            self.bad.add(index)
            self.fresh.append(index)
        self.check(error)

    def check(self, last: Exception | None = None) -> None:
        """Raise DataError once more than the allowed fraction is bad."""
        if self.samples > self.max_fraction * self.total:
            example = f"; the last one: {last}" if last else ""
            raise DataError(
                f"{self.samples} of {self.total} samples cannot be used, more than "
                f"max_skip_fraction={self.max_fraction:g} allows; repair the data (largegan verify "
                f"lists what is bad) or raise max_skip_fraction{example}"
            )

    def merge(self, found: list[int], *, bad_shards: int, lost: int) -> None:
        """Take over what a worker process found; raises DataError when it is too much."""
        self.bad.update(found)
        self.bad_shards, self.lost = max(self.bad_shards, bad_shards), max(self.lost, lost)
        self.check()

    def drain(self) -> list[int]:
        fresh, self.fresh = self.fresh, []
        return fresh
