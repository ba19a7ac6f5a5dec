"""The images a dataset is packed from: a folder, a zip of one, or an npz array."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from largegan.data.account import Account
from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.data.labels import LABEL_FILES, Labels, labels_of_file, labels_of_folders, whole
from largegan.data.tree import files_below, images_among, is_hidden, is_image
from largegan.errors import ConfigError, DataError, EnvironmentFault
from largegan.files.archives import (
    LARGEST_MEMBER,
    DamagedMember,
    damaged_members,
    open_zip,
    read_member,
    refuse_locked,
)
from largegan.files.arrays import Header, Npz, read_header
from largegan.files.documents import read_bounded
from largegan.files.output import faults, shown

LABEL_CHOICES = ("auto", "folder", "file", "none")
IMAGE_ARRAYS, LABEL_ARRAYS = ("images", "x", "arr_0"), ("labels", "y", "label", "arr_1")
LARGEST_TABLE = 1 << 30  # bytes of a dataset.json


@dataclass
class Originals:
    """Images by number. ``load(i)`` gives the bytes of a file, or an array [H, W, C].

    Of pairs it gives both files, as a tuple. ``account`` says what was left out.
    """

    names: list[str]
    load: Callable[[int], bytes | np.ndarray | tuple[bytes, bytes]]
    labels: list[int] | None = None
    class_names: list[str] = field(default_factory=list)
    account: Account = field(default_factory=Account)


def open_originals(
    source: Path, *, labels: str, scratch: Path, windowed: bool = False
) -> Originals:
    """Open a source by its kind; ``scratch`` is a folder for what has to be unpacked first.

    ``labels`` is one of LABEL_CHOICES. ``windowed``: it is known which values are black and white,
    so arrays may hold floats. Raises DataError for what the source lacks.
    """
    if source.is_dir():
        return originals_of_folder(source, labels=labels)
    if not source.is_file():
        raise DataError(
            f"{shown(source)} does not exist; give a folder of images, a .zip or an .npz"
        )
    if source.suffix.lower() == ".npz":
        return _from_npz(source, labels=labels, scratch=scratch, windowed=windowed)
    if source.suffix.lower() == ".zip":
        return _from_zip(source, labels=labels)
    raise DataError(f"{shown(source)} is neither a folder nor a .zip nor an .npz; convert it first")


def originals_of_folder(
    source: Path, *, labels: str, kinds: tuple[str, ...] = IMAGE_EXTENSIONS
) -> Originals:
    """Files of a folder whose names end in one of ``kinds``; raises DataError."""
    account = Account()
    files = files_below(source, account)
    folders = sorted(p.name for p in source.iterdir() if p.is_dir() and not is_hidden(p.name))

    def read(name: str) -> bytes:
        most = LARGEST_TABLE if name in LABEL_FILES else LARGEST_MEMBER
        return read_bounded(source / name, most, "make it smaller, or leave it out")

    return _from_files(source, files, folders, read, labels=labels, account=account, kinds=kinds)


def open_pairs(source: Path) -> Originals:
    """Pairs of a folder with the sub-folders a and b, by the names of their files.

    Names are compared without their endings: ``a/house.jpg`` goes with ``b/house.png``. Raises
    DataError for an image without its other half.
    """
    account, sides = Account(), []
    for domain in ("a", "b"):
        folder = source / domain
        if not folder.is_dir():
            raise DataError(
                f"{folder} does not exist; pairs are images of the same name in {source.name}/a "
                f"and {source.name}/b"
            )
        ours = Account()
        files = images_among(files_below(folder, ours), ours)
        account.join(ours, f"{domain}/")
        side = {PurePosixPath(name).with_suffix("").as_posix(): folder / name for name in files}
        if len(side) < len(files):
            raise DataError(f"two images of {folder} differ in their endings only; rename one")
        sides.append(side)
    a, b = sides
    lone = next(iter(sorted(a.keys() ^ b.keys())), None)
    if lone is not None:
        here, there = ("a", "b") if lone in a else ("b", "a")
        raise DataError(
            f"{shown(lone)} is in {source}/{here}, but not in {source}/{there}; add or remove it"
        )
    if not a:
        raise DataError(f"{source}/a and {source}/b hold no image")
    names = list(a)
    return Originals(
        names,
        lambda i: (a[names[i]].read_bytes(), b[names[i]].read_bytes()),
        account=account,
    )


def _from_zip(source: Path, *, labels: str) -> Originals:
    archive, account = open_zip(source), Account()
    entries = [entry.filename for entry in archive.infolist() if not is_hidden(entry.filename)]
    hidden = [e.filename for e in archive.infolist() if is_hidden(e.filename) and not e.is_dir()]
    account.leave("hidden files, or a Mac's", *hidden)
    outer = _outer_folder([name for name in entries if not name.endswith("/")])
    inner = [name.removeprefix(outer) for name in entries]
    files = sorted(name for name in inner if name and not name.endswith("/"))
    twice = sorted({a for a, b in pairwise(files) if a == b})
    if twice:
        raise DataError(f"{shown(source)} holds {shown(twice[0])} twice; zip it again")
    wanted = {outer + name for name in files if is_image(name) or name in LABEL_FILES}
    refuse_locked(source, [e for e in archive.infolist() if e.filename in wanted])
    folders = sorted({PurePosixPath(n).parts[0] for n in inner if "/" in n})

    def read(name: str) -> bytes:
        most = LARGEST_TABLE if name in LABEL_FILES else LARGEST_MEMBER
        return read_member(archive, outer + name, most)

    return _from_files(source, files, folders, read, labels=labels, account=account)


def _outer_folder(files: list[str]) -> str:
    """`pics/` when somebody zipped the folder pics itself: its sub-folders are the classes then.

    A single folder that holds nothing but images stays what it is, a class; else "".
    """
    first = {name.partition("/")[0] for name in files}
    outer = f"{first.pop()}/" if len(first) == 1 else ""
    inner = [name.removeprefix(outer) for name in files]
    wraps = any("/" in name or name in LABEL_FILES for name in inner)
    return outer if wraps and all(name.startswith(outer) for name in files) else ""


def _from_files(
    source: Path,
    files: list[str],
    folders: list[str],
    read: Callable[[str], bytes],
    *,
    labels: str,
    account: Account,
    kinds: tuple[str, ...] = IMAGE_EXTENSIONS,
) -> Originals:
    where = shown(source)
    table = next((name for name in LABEL_FILES if name in files), None)
    images = images_among(files, account, used=LABEL_FILES, kinds=kinds)
    if not images:
        raise DataError(
            f"{where} holds no image; images end in {', '.join(sorted(kinds))}"
            + "".join(f"; {sentence}" for sentence in account.sentences())
        )
    found = Labels(None, [])
    if labels == "file" and table is None:
        raise DataError(f"{where} holds neither {' nor '.join(LABEL_FILES)}; add one")
    if labels == "file" or (labels == "auto" and table):
        found = labels_of_file(
            _read_table(read, table, where), images, where=f"{where}/{table}", account=account
        )
    elif labels in ("folder", "auto"):
        found = labels_of_folders(images, folders, where, forced=labels != "auto")
    return Originals(images, lambda i: read(images[i]), found.numbers, found.names, account)


def _read_table(read: Callable[[str], bytes], table: str, where: str) -> bytes:
    try:
        return read(table)
    except DamagedMember as fault:
        raise DataError(f"{where}/{table} {fault}; write it again") from fault


def _from_npz(source: Path, *, labels: str, scratch: Path, windowed: bool) -> Originals:
    """Images of an npz, through a memory map: the whole array may be larger than memory."""
    if labels in ("folder", "file"):
        raise ConfigError(f"{source} is an npz; its labels are auto or none")
    with Npz(source) as arrays:
        check = partial(_layout, windowed=windowed)
        images, member = npz_array(arrays, IMAGE_ARRAYS, scratch, what="image", check=check)
        images = check(arrays.header(member), member)(images)
        classes = npz_labels(arrays, len(images)) if labels == "auto" else None
    names = [f"image {i} of {source.name}" for i in range(len(images))]
    return Originals(names, lambda i: np.array(images[i]), classes)


def npz_array(
    arrays: Npz, wanted: tuple[str, ...], scratch: Path, *, what: str, check: Callable
) -> tuple[np.ndarray, str]:
    """The first array that has one of these names, memory-mapped, and its name.

    ``check(header, sentence's beginning)`` refuses what cannot be used before anything is
    unpacked; ``scratch`` gets a copy, images.npy; ``what`` an item is called. Raises DataError.
    """
    name = arrays.first(wanted)
    if name is None:
        raise DataError(
            f"{arrays.path} has no {what} array; it holds "
            f"{shown(', '.join(arrays.entries)) or 'nothing'}, and {what}s are called "
            f"{', '.join(wanted)}"
        )
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
        with damaged_members(), arrays.archive.open(entry) as packed, place.open("wb") as plain:
            while block := packed.read(1 << 20):
                with faults(place):
                    plain.write(block)
    except DamagedMember as fault:
        raise DataError(f"array {member} of {arrays.path} {fault}; save it again") from fault
    with place.open("rb") as file:
        header = read_header(file, place.stat().st_size)
    order = "F" if header.fortran else "C"
    return np.memmap(place, header.dtype, "r", header.length, header.shape, order)


def npz_labels(arrays: Npz, count: int, what: str = "images") -> list[int] | None:
    """Class numbers of an npz, None where it has none; raises DataError."""
    name = arrays.first(LABEL_ARRAYS)
    if name is None:
        return None
    labels = arrays.array(name)
    if labels.ndim == 2 and labels.shape[1] > 1 and _is_one_hot(labels):
        labels = labels.argmax(1)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    numbers = [whole(value) for value in labels.tolist()] if labels.ndim == 1 else [None]
    if None in numbers or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels {name} of {arrays.path} are not class numbers (shape {labels.shape}, "
            f"{labels.dtype}); save one whole number from 0 on for each image"
        )
    if len(numbers) != count:
        raise DataError(
            f"{arrays.path} has {count} {what} but {len(numbers)} labels; save them together again"
        )
    return numbers


def _is_one_hot(labels: np.ndarray) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())


def _layout(header: Header, what: str, *, windowed: bool) -> Callable[[np.ndarray], np.ndarray]:
    """How an array becomes [N, H, W, C]; raises DataError where it holds no images."""
    shape = header.shape
    if header.dtype not in (np.uint8, np.uint16) and not windowed:
        raise DataError(
            f"{what} is {header.dtype}; save it as uint8 from 0 to 255, or say with --window LO,HI "
            "which values are black and white"
        )
    if not shape or not all(shape):
        raise DataError(f"{what} is empty (shape {shape}); save the images again")
    if len(shape) == 3:
        return lambda images: images[..., None]
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        return lambda images: images
    if len(shape) == 4 and shape[1] in (1, 3, 4):
        return lambda images: images.transpose(0, 2, 3, 1)
    raise DataError(f"{what} has shape {shape}; images are [N, H, W, C] or [N, C, H, W]")
