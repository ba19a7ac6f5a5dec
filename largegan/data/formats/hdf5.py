"""HDF5: a dataset of images (uint8 NHWC or NCHW, or encoded files), and one of labels beside it."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from largegan.data.apart import Findings, spilled
from largegan.data.originals import Item, Originals, Request
from largegan.data.splits import chosen
from largegan.data.stacks import IMAGE_ARRAYS, LABEL_ARRAYS, called, class_numbers, layout
from largegan.errors import DataError, shown
from largegan.files.archives import RATIO, SUSPECT
from largegan.files.arrays import Header
from largegan.files.extras import extra

START = b"\x89HDF\r\n\x1a\n"
BLOCK = 16 << 20  # bytes that are read at once
DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError)


def recognizes(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == START


def read(source: Path, request: Request) -> Originals:
    """Images of the one dataset of a file that holds some. Raises DataError, ConfigError."""
    return spilled(source, lambda findings: _items(source, request, findings), request)


def _items(source: Path, request: Request, findings: Findings) -> Iterator[Item]:
    h5py = extra("h5py", "reading HDF5")
    try:
        with h5py.File(source, "r") as file:
            names = chosen(_datasets(file), request.split, findings.account, where=shown(source))
            datasets = {name: file[name] for name in names}
            name = _images_among(datasets, source)
            label = _label_name(name, datasets, source, request)
            count = len(datasets[name])
            labels = label and _labels_of(label, datasets[label], count, source, request)
            unused = [key for key in datasets if key not in (name, label)]
            findings.account.leave("datasets that are neither images nor their labels", *unused)
            images = _images(datasets[name], f"{name} of {shown(source)}", request)
            for i, image in enumerate(images):
                yield Item(f"image {i} of {source.name}", image, labels and labels[i])
    except DAMAGE as fault:
        raise DataError(
            f"{shown(source)} cannot be read as HDF5 ({shown(fault)}); fetch it again"
        ) from fault


def _datasets(file: Any) -> list[str]:
    """Names of all arrays; links that lead out of the file are not followed."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found


def _images_among(datasets: dict[str, Any], source: Path) -> str:
    """The dataset that is called as images are, or the only one that could hold some."""
    images = [key for key, found in datasets.items() if _is_stack(found) or _is_files(found)]
    possible = called(images, IMAGE_ARRAYS)[:1] or images
    if len(possible) != 1:
        what = "several datasets of images" if possible else "no dataset of images"
        raise DataError(
            f"{shown(source)} has {what}; it holds {shown(', '.join(datasets)) or 'nothing'}, and "
            f"images are called {', '.join(IMAGE_ARRAYS)}"
        )
    return possible[0]


def _is_stack(dataset: Any) -> bool:
    return dataset.ndim in (3, 4) and dataset.dtype.kind in "uif"


def _is_files(dataset: Any) -> bool:
    """A row of bytes of any length: each is an image file."""
    kind = extra("h5py", "reading HDF5").check_vlen_dtype(dataset.dtype)
    return dataset.ndim == 1 and kind is not None and kind in (bytes, np.dtype(np.uint8))


def _label_name(
    images: str, datasets: dict[str, Any], source: Path, request: Request
) -> str | None:
    """The dataset of labels in the group of the images, or the one that is asked for."""
    group = PurePosixPath(images).parent
    near = [k for k in datasets if PurePosixPath(k).parent == group and k != images]
    if request.labels == "none":
        return None
    if request.field is None:
        return next(iter(called(near, LABEL_ARRAYS)), None)
    name = next((k for k in datasets if request.field in (k, PurePosixPath(k).name)), None)
    if name is None:
        raise DataError(f"{shown(source)} has no dataset {shown(request.field)} of labels")
    return name


def _labels_of(name: str, labels: Any, count: int, source: Path, request: Request) -> list[Any]:
    _refuse_lies(labels, f"{name} of {shown(source)}")
    values = labels[()]
    if values.dtype.kind in "OSU":
        if values.shape != (count,):
            raise DataError(f"{shown(source)} has {count} images and labels {list(values.shape)}")
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
    if request.vectors and len(values) == count:
        return values.reshape(count, -1).tolist()
    return class_numbers(values, count, name, where=shown(source))


def _images(dataset: Any, what: str, request: Request) -> Iterator[np.ndarray | bytes]:
    _refuse_lies(dataset, what)
    if _is_files(dataset):
        for i in range(len(dataset)):
            yield bytes(dataset[i])
        return
    header = Header(dataset.shape, dataset.dtype, False, 0)
    turn = layout(header, f"dataset {what}", windowed=request.windowed)
    step = max(1, BLOCK // max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))))
    for start in range(0, len(dataset), step):
        yield from turn(dataset[start : start + step])


def _refuse_lies(dataset: Any, what: str) -> None:
    """What is not stored is filled with zeros: a small file may claim any size, or any file."""
    if dataset.external or dataset.is_virtual:
        raise DataError(f"dataset {what} keeps its numbers in other files, which are not read")
    claimed, stored = dataset.nbytes, dataset.id.get_storage_size()
    if claimed > SUSPECT + RATIO * stored:
        raise DataError(f"dataset {what} claims {claimed} bytes and stores {stored}")
