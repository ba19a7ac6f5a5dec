"""An .npy of many images in one array, NHWC or NCHW, or gray as NHW: no labels."""

from pathlib import Path

import numpy as np

from largegan.data.originals import Originals, Request
from largegan.data.stacks import layout
from largegan.errors import ConfigError, DataError, shown
from largegan.files.arrays import Header, read_header

ENDING = ".npy"


def recognizes(path: Path) -> bool:
    """Whether a file is an array of several images, or claims to be an array at all."""
    if not path.is_file() or path.suffix.lower() != ENDING:
        return False
    try:
        return not is_one_image(_header(path).shape)
    except DataError:
        return True  # and `read` says what is wrong with it


def read(source: Path, request: Request) -> Originals:
    """Images of an array that is mapped from where it lies. Raises DataError, ConfigError."""
    if request.labels in ("folder", "file"):
        raise ConfigError(f"{shown(source)} is an array of images; its labels are auto or none")
    header = _header(source)
    arranged = layout(header, shown(source), windowed=request.windowed)
    order = "F" if header.fortran else "C"
    images = arranged(np.memmap(source, header.dtype, "r", header.length, header.shape, order))
    names = [f"image {i} of {source.name}" for i in range(len(images))]
    return Originals(names, lambda i: np.array(images[i]))


def is_one_image(shape: tuple[int, ...]) -> bool:
    """Whether an array is a single image: [H, W], [H, W, C] or [C, H, W]."""
    return len(shape) == 2 or (len(shape) == 3 and (shape[2] in (1, 3, 4) or shape[0] in (1, 3, 4)))


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            return read_header(file, path.stat().st_size)
    except (ValueError, EOFError, OSError) as fault:
        raise DataError(
            f"{shown(path)} cannot be read as an .npy ({shown(fault)}); save it again"
        ) from fault
