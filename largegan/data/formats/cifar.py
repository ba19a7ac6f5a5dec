"""CIFAR-10 and CIFAR-100 as their authors publish them: Python's pickles, read, never executed.

A batch is a dictionary: `data` uint8 [n, 3 x 32 x 32], planes of red, green and blue, and `labels`,
or `fine_labels` and `coarse_labels` (Krizhevsky 2009).
"""

import io
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from largegan.data.account import Account
from largegan.data.originals import Originals, Request, classes_of
from largegan.data.splits import chosen
from largegan.errors import DataError, shown
from largegan.files.documents import read_bounded
from largegan.files.stored import StoredArray
from largegan.files.unpickle import Unpickler

FOLDERS = ("", "cifar-10-batches-py", "cifar-100-python")
PARTS = {  # file -> what `parts` knows it by
    **{f"data_batch_{i}": "train" for i in range(1, 6)},
    "test_batch": "test",
    "train": "train",
    "test": "test",
}
METAS = {"batches.meta": ("label_names",), "meta": ("fine_label_names", "coarse_label_names")}
LABELS = ("labels", "fine_labels", "coarse_labels")
LARGEST = 2 << 30  # bytes of a batch
REMEDY = "fetch it again"


def recognizes(path: Path) -> bool:
    if path.is_file():
        return path.name in PARTS and path.open("rb").read(1) == b"\x80"
    return _root(path) is not None


def _root(path: Path) -> Path | None:
    """The folder with batches: the given one, or that of an unpacked archive in it."""
    for folder in (path / name for name in FOLDERS):
        if any((folder / name).is_file() for name in METAS) and _batches(folder):
            return folder
    return None


def _batches(folder: Path) -> list[str]:
    return [name for name in PARTS if (folder / name).is_file()]


def read(source: Path, request: Request) -> Originals:
    """The images of the batches of a split, train where none is named. Raises DataError."""
    account = Account()
    folder, files = source.parent, {source.name: source.name}
    if source.is_dir():
        folder = _root(source) or source
        named = {f"{PARTS[name]}/{name}": name for name in _batches(folder)}
        kept = chosen(named, request.split, account, where=shown(source))
        files = {name: named[name] for name in kept}
    images, labels, names, field = [], [], [], request.field
    for file in files.values():
        batch = _dictionary(folder / file)
        pixels = _pixels(batch.get("data"), folder / file)
        field = field or next((name for name in LABELS if name in batch), None)
        others = [f"{name} of {file}" for name in LABELS if name in batch and name != field]
        account.leave("other labels (--label-field chooses)", *others)
        images.append(pixels)
        labels += _labels(batch, field, len(pixels), folder / file)
        names += [f"image {i} of {file}" for i in range(len(pixels))]
    pixels = np.concatenate(images)
    classes = classes_of(
        labels, names, request, where=shown(source), class_names=_class_names(folder, field)
    )
    return Originals(names, lambda i: pixels[i], account=account).labeled(classes)


def _dictionary(path: Path) -> dict[str, Any]:
    """A pickled dictionary with its keys as text; nothing of it is executed. Raises DataError."""
    data = read_bounded(path, LARGEST, REMEDY)
    try:
        found = Unpickler(io.BytesIO(data), len(data)).load()
    except DataError as fault:
        raise DataError(f"{shown(path)} {fault}; {REMEDY}") from fault
    if not isinstance(found, dict):
        raise DataError(f"{shown(path)} holds no dictionary, as a batch of CIFAR does; {REMEDY}")
    return {_text(key): value for key, value in found.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _pixels(data: Any, path: Path) -> np.ndarray:
    """uint8 [n, side, side, 3] of a batch's rows."""
    shape = data.shape if isinstance(data, StoredArray) else ()
    side = isqrt(shape[1] // 3) if len(shape) == 2 else 0
    if side == 0 or shape[1] != 3 * side * side or data.dtype != np.uint8:
        raise DataError(f"{shown(path)} holds no images of three planes of bytes; {REMEDY}")
    rows = data.array().reshape(-1, 3, side, side)
    return np.ascontiguousarray(rows.transpose(0, 2, 3, 1))


def _labels(batch: dict[str, Any], field: str | None, count: int, path: Path) -> list[Any]:
    if field is None:
        return [None] * count
    if field not in batch:
        there = ", ".join(name for name in batch if name in LABELS) or "none"
        raise DataError(f"{shown(path)} has no labels {shown(field)}; it has {there}")
    found = batch[field]
    values = found.array().tolist() if isinstance(found, StoredArray) else found
    if not isinstance(values, list) or len(values) != count:
        raise DataError(f"{shown(path)} does not have one label for each of {count} images")
    return values


def _class_names(folder: Path, field: str | None) -> list[str]:
    """Names of classes from the file of names beside the batches, if it is there."""
    wanted = "label_names" if field == "labels" else f"{(field or '').removesuffix('s')}_names"
    for name, keys in METAS.items():
        if wanted in keys and (folder / name).is_file():
            found = _dictionary(folder / name).get(wanted)
            return [shown(_text(word), 255) for word in found] if isinstance(found, list) else []
    return []
