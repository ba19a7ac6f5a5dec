"""The files of one part of a set, where a format has a file or more for each."""

from collections.abc import Iterable

from largegan.data.account import Account
from largegan.data.parts import part_in
from largegan.errors import ConfigError


def chosen(names: Iterable[str], split: str | None, account: Account, *, where: str) -> list[str]:
    """The files of the part that is asked for; of train, where nothing is and there is one.

    Files that name no part belong to all of them. Raises ConfigError for a part that is not there.
    """
    parts = {name: part_in(name) for name in names}
    there = sorted({part for part in parts.values() if part})
    if split is None:
        split = "train" if "train" in there else "all"
    if split != "all" and there and split not in there:
        raise ConfigError(
            f"{where} has no part {split!r}; it has {' and '.join(there)}, choose one as the split"
        )
    kept = [name for name, part in parts.items() if split == "all" or part in (None, split)]
    for name in parts.keys() - set(kept):
        account.leave(f"files of the part {parts[name]} (the split is {split})", name)
    return kept
