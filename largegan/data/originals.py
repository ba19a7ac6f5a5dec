"""The images a dataset is packed from: a folder, a zip of one, or an npz array."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.errors import ConfigError, DataError

LABEL_FILES = ("dataset.json", "labels.csv")
LABEL_CHOICES = ("auto", "folder", "file", "none")
IMAGE_ARRAYS, LABEL_ARRAYS = ("images", "x", "arr_0"), ("labels", "y", "label", "arr_1")
IGNORED = ("__MACOSX", ".")  # what archives of a Mac carry, and hidden files


class Originals(NamedTuple):
    """Images by number. ``load(i)`` gives the bytes of a file, or a uint8 array [H, W, C].

    Of pairs it gives both files, as a tuple.
    """

    names: list[str]
    load: Callable[[int], bytes | np.ndarray | tuple[bytes, bytes]]
    labels: list[int] | None
    class_names: list[str]


def open_originals(source: Path, *, labels: str, scratch: Path) -> Originals:
    """Open a source by its kind; ``scratch`` is a folder for what has to be unpacked first.

    ``labels`` is one of LABEL_CHOICES. Raises DataError for what the source lacks.
    """
    if source.is_dir():
        return originals_of_folder(source, labels=labels)
    if not source.is_file():
        raise DataError(f"{source} does not exist; give a folder of images, a .zip or an .npz")
    if source.suffix == ".npz":
        return _from_npz(source, labels=labels, scratch=scratch)
    if source.suffix == ".zip":
        return _from_zip(source, labels=labels)
    raise DataError(f"{source} is neither a folder nor a .zip nor an .npz; convert it first")


def originals_of_folder(
    source: Path, *, labels: str, kinds: tuple[str, ...] = IMAGE_EXTENSIONS
) -> Originals:
    """Files of a folder whose names end in one of ``kinds``; raises DataError."""
    files = sorted(p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file())
    folders = sorted(p.name for p in source.iterdir() if p.is_dir())
    return _from_files(
        source,
        files,
        folders,
        lambda name: (source / name).read_bytes(),
        labels=labels,
        kinds=kinds,
    )


def open_pairs(source: Path) -> Originals:
    """Pairs of a folder with the sub-folders a and b, by the names of their files.

    Names are compared without their endings: ``a/house.jpg`` goes with ``b/house.png``. Raises
    DataError for an image without its other half.
    """
    sides = []
    for domain in ("a", "b"):
        folder = source / domain
        if not folder.is_dir():
            raise DataError(
                f"{folder} does not exist; pairs are images of the same name in {source.name}/a "
                f"and {source.name}/b"
            )
        files = sorted(p for p in folder.rglob("*") if p.is_file() and _is_image(p.name))
        side = {p.relative_to(folder).with_suffix("").as_posix(): p for p in files}
        if len(side) < len(files):
            raise DataError(f"two images of {folder} differ in their endings only; rename one")
        sides.append(side)
    a, b = sides
    lone = next(iter(sorted(a.keys() ^ b.keys())), None)
    if lone is not None:
        here, there = ("a", "b") if lone in a else ("b", "a")
        raise DataError(
            f"{lone} is in {source}/{here}, but not in {source}/{there}; add or remove it"
        )
    if not a:
        raise DataError(f"{source}/a and {source}/b hold no image")
    names = list(a)
    return Originals(
        names, lambda i: (a[names[i]].read_bytes(), b[names[i]].read_bytes()), None, []
    )


def _from_zip(source: Path, *, labels: str) -> Originals:
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{source} cannot be read as a zip ({error}); fetch it again") from error
    entries = [name for name in archive.namelist() if not _is_hidden(name)]
    outer = _outer_folder([name for name in entries if not name.endswith("/")])
    inner = [name.removeprefix(outer) for name in entries]
    files = sorted(name for name in inner if name and not name.endswith("/"))
    folders = sorted({PurePosixPath(n).parts[0] for n in inner if "/" in n})
    return _from_files(source, files, folders, lambda n: archive.read(outer + n), labels=labels)


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
    kinds: tuple[str, ...] = IMAGE_EXTENSIONS,
) -> Originals:
    images = [name for name in files if _is_image(name, kinds)]
    if not images:
        raise DataError(f"{source} holds no image; images end in {', '.join(sorted(kinds))}")
    table = next((name for name in LABEL_FILES if name in files), None)
    numbers, class_names = None, []
    if labels == "file" and table is None:
        raise DataError(f"{source} holds neither {' nor '.join(LABEL_FILES)}; add one")
    if labels == "file" or (labels == "auto" and table):
        numbers, class_names = _labels_of_file(read(table), images, where=f"{source}/{table}")
    elif labels in ("folder", "auto"):
        numbers, class_names = _labels_of_folders(images, folders, source, forced=labels != "auto")
    return Originals(images, lambda i: read(images[i]), numbers, class_names)


def _is_image(name: str, kinds: tuple[str, ...] = IMAGE_EXTENSIONS) -> bool:
    extension = PurePosixPath(name).suffix[1:].lower()
    return not _is_hidden(name) and extension in kinds


def _is_hidden(name: str) -> bool:
    return any(part.startswith(IGNORED) for part in PurePosixPath(name).parts)


def _labels_of_folders(
    images: list[str], folders: list[str], source: Path, *, forced: bool
) -> tuple[list[int] | None, list[str]]:
    """The class is the first folder. A flat folder, or a single sub-folder, has no labels."""
    parts = [PurePosixPath(name).parts for name in images]
    classes = sorted({p[0] for p in parts if len(p) > 1})
    if not classes or (len(classes) == 1 and not forced):
        if forced:
            raise DataError(f"{source} has no sub-folders to take classes from; use --labels none")
        return None, []
    loose = next((name for name, p in zip(images, parts, strict=True) if len(p) == 1), None)
    if loose is not None:
        raise DataError(
            f"{loose} lies beside the class folders of {source}; move it into one, or use "
            "--labels none"
        )
    empty = [f for f in folders if f not in classes and not f.startswith(IGNORED)]
    if empty:
        raise DataError(
            f"class folder {empty[0]} of {source} holds no image; fill it, remove it, or use "
            "--labels none"
        )
    return [classes.index(p[0]) for p in parts], classes


def _labels_of_file(
    text: bytes, images: list[str], *, where: str
) -> tuple[list[int] | None, list[str]]:
    """Labels from dataset.json ({"labels": [[name, number], ...]}) or labels.csv (name,label)."""
    try:
        table = _read_json(text) if where.endswith(".json") else _read_csv(text)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(
            f"{where} cannot be read ({error}); it holds pairs of file name and class"
        ) from error
    if table is None:
        return None, []
    missing = next((name for name in images if name not in table), None)
    if missing is not None:
        raise DataError(f"{where} has no label for {missing}; add it or remove the image")
    values = [table[name] for name in images]
    numbers = [_number(value) for value in values]
    if None not in numbers:
        return numbers, []
    names = sorted({str(value) for value in values})
    return [names.index(str(value)) for value in values], names


def _read_json(text: bytes) -> dict[str, object] | None:
    labels = json.loads(text)["labels"]
    return None if labels is None else dict(labels)


def _read_csv(text: bytes) -> dict[str, object]:
    rows = [row for row in csv.reader(io.StringIO(text.decode("utf-8-sig"))) if row]
    if rows and not _is_image(rows[0][0], (*IMAGE_EXTENSIONS, "npy")):  # a heading
        rows = rows[1:]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}


def _number(value: object) -> int | None:
    try:
        number = int(value)
    except (ValueError, TypeError):
        return None
    return number if number >= 0 else None


def _from_npz(source: Path, *, labels: str, scratch: Path) -> Originals:
    """Images of an npz, through a memory map: the whole array may be larger than memory."""
    if labels in ("folder", "file"):
        raise ConfigError(f"{source} is an npz; its labels are auto or none")
    images, name = npz_array(source, IMAGE_ARRAYS, scratch, what="image")
    classes = npz_labels(source) if labels == "auto" else None
    images = _as_nhwc(images, f"array {name} of {source}")
    if classes is not None and len(classes) != len(images):
        raise DataError(
            f"{source} has {len(images)} images but {len(classes)} labels; save them together again"
        )
    names = [f"image {i} of {source.name}" for i in range(len(images))]
    return Originals(names, lambda i: np.array(images[i]), classes, [])


def npz_array(
    source: Path, wanted: tuple[str, ...], scratch: Path, *, what: str
) -> tuple[np.ndarray, str]:
    """The first array of an npz that has one of these names, memory-mapped, and its name.

    ``scratch`` gets a copy, images.npy; ``what`` an item is called. Raises DataError.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            arrays = {name.removesuffix(".npy"): name for name in archive.namelist()}
            name = next((n for n in wanted if n in arrays), None)
            if name is None:
                raise DataError(
                    f"{source} has no {what} array; it holds {', '.join(arrays) or 'nothing'}, and "
                    f"{what}s are called {', '.join(wanted)}"
                )
            with archive.open(arrays[name]) as packed, (scratch / "images.npy").open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
        return np.load(scratch / "images.npy", mmap_mode="r", allow_pickle=False), name
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DataError(f"{source} cannot be read as an npz ({error}); save it again") from error


def npz_labels(source: Path) -> list[int] | None:
    """Class numbers of an npz, None where it has none; raises DataError."""
    try:
        with np.load(source, allow_pickle=False) as arrays:
            name = next((n for n in LABEL_ARRAYS if n in arrays.files), None)
            if name is None:
                return None
            labels = arrays[name]
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DataError(f"{source} cannot be read as an npz ({error}); save it again") from error
    if labels.ndim == 2 and labels.shape[1] > 1 and (labels.sum(1) == 1).all():
        labels = labels.argmax(1)  # one-hot
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1 or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise DataError(
            f"labels {name} of {source} are not class numbers (shape {labels.shape}, "
            f"{labels.dtype}); save one non-negative integer per image"
        )
    return labels[:, 0].tolist()


def _as_nhwc(images: np.ndarray, what: str) -> np.ndarray:
    if images.dtype != np.uint8:
        raise DataError(f"{what} is {images.dtype}; save it as uint8 from 0 to 255")
    if not len(images):
        raise DataError(f"{what} is empty; save the images again")
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4 and images.shape[3] in (1, 3, 4):
        return images
    if images.ndim == 4 and images.shape[1] in (1, 3, 4):
        return images.transpose(0, 2, 3, 1)
    raise DataError(f"{what} has shape {images.shape}; images are [N, H, W, C] or [N, C, H, W]")
