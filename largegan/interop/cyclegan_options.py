"""Options files of CycleGAN's code: what the tensors of its checkpoints do not show.

`train_opt.txt` (`opt.txt` before 2019) has lines such as `   lambda_A: 10.0    [default: 5.0]`.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

FILES = ("train_opt.txt", "test_opt.txt", "opt.txt")
LARGEST = 1 << 20  # bytes
LINE = re.compile(r"\s*(\w+): (.*?)\s*(\[default: .*\])?$")
NUMBER = re.compile(r"-?\d+(\.\d*)?(e-?\d+)?")
GAN_LOSSES = {"lsgan": "lsgan", "vanilla": "vanilla", "nonsaturating": "vanilla"}
DIRECTIONS = {"AtoB": "a_to_b", "BtoA": "b_to_a"}


def number(value: str) -> float | None:
    return float(value) if NUMBER.fullmatch(value) else None


def whole(value: str) -> int | None:
    return int(value) if value.isdecimal() and len(value) < 10 else None


def numbers(value: str) -> list[int] | None:
    return [int(n) for n in value.split(",")] if re.fullmatch(r"\d+(,\d+)*", value) else None


def yes(value: str) -> bool | None:
    return {"True": True, "False": False}.get(value)


def no(value: str) -> bool | None:
    return {"True": False, "False": True}.get(value)


# A line's name -> ours, and what makes our value of its text (None: it does not say one).
SAID: dict[str, tuple[str, Callable[[str], Any]]] = {
    "gan_mode": ("gan_loss", GAN_LOSSES.get),
    "no_lsgan": ("gan_loss", {"True": "vanilla", "False": "lsgan"}.get),
    "lambda_A": ("cycle_a", number),
    "lambda_B": ("cycle_b", number),
    "lambda_identity": ("identity", number),
    "lambda_L1": ("l1", number),
    "lambda_GAN": ("gan", number),
    "lambda_NCE": ("nce", number),
    "nce_T": ("temperature", number),
    "lr": ("lr", number),
    "pool_size": ("pool_size", whole),
    "num_patches": ("patches", whole),
    "crop_size": ("crop_size", whole),
    "fineSize": ("crop_size", whole),
    "nce_layers": ("nce_layers", numbers),
    "nce_idt": ("nce_identity", yes),
    "flip_equivariance": ("flip_equivariance", yes),
    "no_dropout": ("dropout", no),
    "direction": ("direction", DIRECTIONS.get),
    "which_direction": ("direction", DIRECTIONS.get),
}


def options_said(source: Path) -> tuple[dict[str, Any], list[str]]:
    """What a folder's options file says, under our names, and remarks on it."""
    for name in FILES:
        path = source / name
        if path.is_file() and path.stat().st_size < LARGEST:
            lines = path.read_text(errors="replace").splitlines()
            return parsed(lines), [f"losses and weights are as {name} says"]
    return {}, ["losses and their weights leave no trace: they are as the recipe has them"]


def parsed(lines: Iterable[str]) -> dict[str, Any]:
    """`   lambda_A: 10.0      [default: ...]` -> {"cycle_a": 10.0}."""
    found: dict[str, Any] = {}
    for line in lines:
        match = LINE.match(line)
        if match and match[1] in SAID:
            name, read = SAID[match[1]]
            value = read(match[2].strip())
            if value is not None:
                found[name] = value
    return found
