"""Parts of a set: train, val and test, by the words that people name files and folders with."""

import re
from collections.abc import Iterable

from largegan.data.account import Account
from largegan.errors import ConfigError

WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "t10k"),
}
SPLITS = (*WORDS, "all")
DOMAINS = {  # the folders of both domains -> the part that they are, if they say so
    ("a", "b"): None,
    ("A", "B"): None,
    ("trainA", "trainB"): "train",
    ("train_A", "train_B"): "train",
    ("testA", "testB"): "test",
    ("test_A", "test_B"): "test",
    ("valA", "valB"): "val",
    ("val_A", "val_B"): "val",
}


def part_of(word: str) -> str | None:
    """The part that a whole word names: `Validation` -> "val"; None for another word."""
    return next((part for part, words in WORDS.items() if word.lower() in words), None)


def part_in(name: str) -> str | None:
    """The part that a file's name begins with or holds: `train-00000-of-00002.parquet`."""
    found = (part_of(word) for word in re.split(r"[^a-zA-Z0-9]+|(?<=[a-z])(?=[A-Z])", name))
    return next((part for part in found if part), None)


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
