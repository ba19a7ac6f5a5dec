"""An .npz with images (or x, arr_0, ...) as NHWC or NCHW, and labels (or y)."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from largegan.data.account import Account
from largegan.data.labels import Labels, vectors_of
from largegan.data.originals import Originals, Request
from largegan.data.splits import chosen
from largegan.data.stacks import IMAGE_ARRAYS, LABEL_ARRAYS, called, class_numbers, layout
from largegan.errors import ConfigError, DataError, EnvironmentFault, shown
from largegan.files.archives import DamagedMember, damaged_members
from largegan.files.arrays import Npz, read_header
from largegan.files.output import faults

ENDING = ".npz"


def recognizes(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ENDING


def read(source: Path, request: Request) -> Originals:
    """Images of an npz, through a memory map: the whole array may be larger than memory."""
    if request.labels in ("folder", "file"):
        raise ConfigError(f"{source} is an npz; its labels are auto or none")
    account = Account()
    with Npz(source) as arrays:
        there = chosen(arrays.entries, request.split, account, where=shown(source))
        check = partial(layout, windowed=request.windowed)
        images, member = mapped_array(
            arrays, called(there, IMAGE_ARRAYS), request.scratch, what="image", check=check
        )
        images = check(arrays.header(member), member)(images)
        label = request.field or next(iter(called(there, LABEL_ARRAYS)), None)
        classes = labels_of(arrays, label, len(images), request)
    unused = [name for name in there if name not in (member, label)]
    account.leave("arrays that are neither images nor their labels", *unused)
    names = [f"image {i} of {source.name}" for i in range(len(images))]
    found = Originals(names, lambda i: np.array(images[i]), account=account)
    return found.labeled(classes)


def labels_of(
    arrays: Npz, name: str | None, count: int, request: Request, what: str = "images"
) -> Labels:
    """Class numbers, or vectors, in an array, if there is one; raises DataError."""
    if name is None or request.labels == "none":
        return Labels(None, [])
    values = arrays.array(name)
    if request.vectors and len(values) == count:
        rows = values.reshape(count, -1).tolist()
        return vectors_of(rows, [name] * count, where=shown(arrays.path))
    return Labels(class_numbers(values, count, name, where=arrays.path, what=what), [])


def mapped_array(
    arrays: Npz, names: list[str], scratch: Path, *, what: str, check: Callable
) -> tuple[np.ndarray, str]:
    """The first of the arrays with these names, memory-mapped, and its name.

    ``check(header, sentence's beginning)`` refuses what cannot be used before anything is
    unpacked; ``scratch`` gets a copy, images.npy; ``what`` an item is called. Raises DataError.
    """
    if not names:
        raise DataError(
            f"{arrays.path} has no {what} array; it holds "
            f"{shown(', '.join(arrays.entries)) or 'nothing'}, and {what}s are called "
            f"{', '.join(IMAGE_ARRAYS) if what == 'image' else f'{what}s'}"
        )
    name = names[0]
    check(arrays.header(name), f"array {name} of {arrays.path}")
    return _mapped(arrays, name, scratch), name


def _mapped(arrays: Npz, member: str, scratch: Path) -> np.ndarray:
    """An array of an npz, unpacked beside what is being written and mapped from there."""
    entry, place = arrays.entry(member), scratch / "images.npy"
    if shutil.disk_usage(scratch).free < entry.file_size:
        raise EnvironmentFault(
            f"{arrays.path} unpacks to {entry.file_size} bytes, for which there is no room beside "
            "OUT; make room"
        )
    try:
        with (
            faults(place),
            place.open("wb") as plain,
            damaged_members(),
            arrays.archive.open(entry) as packed,
        ):
            while block := packed.read(1 << 20):
                with faults(place):
                    plain.write(block)
    except DamagedMember as fault:
        raise DataError(f"array {member} of {arrays.path} {fault}; save it again") from fault
    with place.open("rb") as file:
        header = read_header(file, place.stat().st_size)
    order = "F" if header.fortran else "C"
    return np.memmap(place, header.dtype, "r", header.length, header.shape, order)
