"""What a source is, and how pickles and state dictionaries are written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from largegan.interop.importing import ImportOptions
from largegan.recipe import DataSpec
from tests.interop import hostile, layouts, peers

NOTHING = ImportOptions()


class Source(NamedTuple):
    """Writes a file or folder, and says what an import of it has to know."""

    write: Callable[[Path], Path]
    recipe: str
    spec: DataSpec
    options: dict[str, Any]
    states: dict[str, layouts.Shapes]  # our networks -> what the file has of them
    wishes: ImportOptions = NOTHING


def square(side: int, classes: int = 0, channels: int = 3, channels_b: int = 0) -> DataSpec:
    return DataSpec(channels, side, side, classes, channels_b)


def pickled(content: dict[str, Any], **how: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "network-snapshot-000012.pkl"
        path.write_bytes(peers.pickled(content, **({"persistent": True} | how)))
        return path

    return write


def as_zip(content: Any, path: Path) -> None:
    torch.save(content, path)


def as_row(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_tar(content: Any, path: Path) -> None:
    path.write_bytes(hostile.tar_file(content))


def folder(
    files: dict[str, layouts.Shapes],
    *,
    save: Callable[[Any, Path], None] = as_zip,
    prefix: str = "",
    half: bool = False,
    texts: dict[str, str] | None = None,
    within: str | None = None,
) -> Callable[[Path], Path]:
    """Writes state dictionaries by file name; `within` as one entry of a dictionary."""

    def write(place: Path) -> Path:
        place = place / "checkpoints"
        place.mkdir()
        for i, (name, shapes) in enumerate(files.items()):
            state = layouts.tensors(shapes, seed=i)
            state = {f"{prefix}{n}": t.half() if half else t for n, t in state.items()}
            save({within: state, "step": 10} if within else state, place / name)
        for name, text in (texts or {}).items():
            (place / name).write_text(text)
        return place

    return write
