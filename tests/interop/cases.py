"""Golden cases in the formats of the codes that they come from."""

from pathlib import Path

import torch

from largegan.interop import importing
from largegan.interop.peers import build
from tests.golden import goldcheck
from tests.golden.goldcheck import Case
from tests.golden.test_golden import SLACK
from tests.interop import peers

DATA = goldcheck.HERE / "data"
CASES = goldcheck.manifest(DATA)


def cases(group: str, *words: str) -> list[str]:
    """Cases of a group that store their weights."""
    return [
        name
        for name, meta in CASES.items()
        if meta["group"] == group
        and "metric" not in (meta["args"] or {})
        and all(word in name for word in words)
    ]


def imported(source: Path):
    recipe, _ = build(importing.find(source))
    return recipe.eval().requires_grad_(False)


def golden(name: str) -> Case:
    return Case(DATA, name, slack=SLACK)


def compare(case: Case, name: str, images: torch.Tensor) -> None:
    """With an output that may hold fewer images, or every second pixel."""
    found = name if name in case.outputs() else f"{name}_s2"
    images = images if found == name else images[..., ::2, ::2]
    case.check(found, images[: len(case.expected(found))])


def write(path: Path, content: dict, **how) -> Path:
    path.write_bytes(peers.pickled(content, **how))
    return path
