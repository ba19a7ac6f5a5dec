"""Many images in one array: which axis is which, and the classes that lie beside them."""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from largegan.data.decode import NPY_START
from largegan.data.labels import VECTORS, whole
from largegan.data.parts import part_of
from largegan.errors import DataError
from largegan.files.arrays import Header, array_of
from largegan.files.photos import BadImage

IMAGE_ARRAYS = ("images", "image", "imgs", "img", "x", "data", "arr_0")
LABEL_ARRAYS = (
    "labels", "label", "y", "targets", "target", "classes", "class", "arr_1", "fine_labels",
    "coarse_labels",
)  # fmt: skip


def called(names: Iterable[str], wanted: tuple[str, ...]) -> list[str]:
    """The names that mean one of the words, in the order of these: `train_images` are images."""
    names = list(names)
    exact = [name for word in wanted for name in names if PurePosixPath(name).name.lower() == word]
    loose = [name for word in wanted for name in names if word in _words(name)]
    return list(dict.fromkeys([*exact, *loose]))


def _words(name: str) -> set[str]:
    """`train/x`, `train_img` and `x_train` are images of the part train."""
    base = PurePosixPath(name).name.lower()
    first, last = base.partition("_")[0], base.rpartition("_")[2]
    return {first, last} if part_of(first) or part_of(last) else {base}


def layout(header: Header, what: str, *, windowed: bool) -> Callable[[np.ndarray], np.ndarray]:
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


def decoded_arrays(load: Callable[[int], Any], *, windowed: bool) -> Callable[[int], Any]:
    """`load` where an .npy of one image becomes its pixels [H, W, C]; it raises BadImage."""

    def read(i: int) -> Any:
        loaded = load(i)
        is_array = isinstance(loaded, bytes) and loaded.startswith(NPY_START)
        return _one_image(loaded, windowed=windowed) if is_array else loaded

    return read


def _one_image(data: bytes, *, windowed: bool) -> np.ndarray:
    try:
        pixels = array_of(data)
        header = Header((1, *pixels.shape), pixels.dtype, False, 0)
        return layout(header, "its array", windowed=windowed)(pixels[None])[0]
    except (ValueError, EOFError, OSError, DataError) as fault:
        raise BadImage(f"is an .npy that is no image: {fault}") from fault


def class_numbers(
    labels: np.ndarray, count: int, name: str, *, where: object, what: str = "images"
) -> list[int]:
    """Class numbers of the array `name`, plain or one-hot; raises DataError for anything else."""
    if labels.ndim == 2 and labels.shape[1] > 1 and _is_one_hot(labels):
        labels = labels.argmax(1)
    if labels.ndim > 1 and labels.size == len(labels):  # [N, 1], [N, 1, 1, 1]
        labels = labels.reshape(-1)
    numbers = [whole(value) for value in labels.tolist()] if labels.ndim == 1 else [None]
    if None in numbers or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels {name} of {where} are not class numbers (shape {labels.shape}, "
            f"{labels.dtype}); save one whole number from 0 on for each image, or say {VECTORS}"
        )
    if len(numbers) != count:
        raise DataError(
            f"{where} has {count} {what} but {len(numbers)} labels; save them together again"
        )
    return numbers


def _is_one_hot(labels: np.ndarray) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())
