"""Parts of a set: train, val and test, by the words that people name files and folders with."""

import re

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
