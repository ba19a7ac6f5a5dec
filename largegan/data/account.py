"""The account of who reads a set: what was taken, what was left out, and why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from largegan.errors import shown

EXAMPLES = 3


@dataclass
class Account:
    """Names of what was left out, by reason; a reason is the end of a sentence about them."""

    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, reason: str, *names: str) -> None:
        """Notes that something is not used."""
        if names:
            self.left_out.setdefault(reason, []).extend(names)

    def join(self, other: "Account", prefix: str = "") -> None:
        """Takes over another reader's account."""
        for reason, names in other.left_out.items():
            self.leave(reason, *(prefix + name for name in names))

    @property
    def count(self) -> int:
        return sum(map(len, self.left_out.values()))

    def sentences(self) -> Iterator[str]:
        """A line for each reason, with how many and the first few names."""
        for reason, names in self.left_out.items():
            yield f"left out: {len(names)} {reason} ({examples(names)})"


def examples(names: Iterable[str]) -> str:
    """The first few of some names, for a sentence."""
    names = list(names)
    more = ", ..." if len(names) > EXAMPLES else ""
    return ", ".join(shown(name, 60) for name in names[:EXAMPLES]) + more
