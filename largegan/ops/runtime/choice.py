"""Which implementation ops take for a while, whatever the environment says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Mode = Literal["require", "auto", "eager", "plain"]

_chosen: Mode | None = None  # by `using`, for all threads: backward passes run on others


def chosen() -> Mode | None:
    """What `using` says, if anything."""
    return _chosen


@contextmanager
def using(value: Mode) -> Iterator[None]:
    """Within it, `value` instead of what the environment says: for comparisons and exporters."""
    global _chosen
    before, _chosen = _chosen, value
    try:
        yield
    finally:
        _chosen = before


def plain() -> bool:
    """Whether ops are to be made of PyTorch's own operators: see `using`."""
    return _chosen == "plain"
