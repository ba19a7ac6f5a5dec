"""Latents `[C, h, w]` of an encoder instead of images: kept as float16 `.npy` members of shards.

What training sees is what is stored times a scale, one number for the whole set, which stands in
index.json; so latents are read with their index only.
"""

import dataclasses
import io
from pathlib import Path

import numpy as np

from largegan.data.decode import NPY_START
from largegan.data.formats.folder import originals_of_tree, tree_of
from largegan.data.formats.npz import labels_of, mapped_array
from largegan.data.originals import Originals, Request
from largegan.data.stacks import LABEL_ARRAYS, called
from largegan.errors import ConfigError, DataError
from largegan.files.arrays import Header, Npz, array_of, read_header
from largegan.files.output import shown
from largegan.files.photos import BadImage

ARRAY = "latents"  # of an npz
LARGEST = float(np.finfo(np.float16).max)
MOST_CHANNELS = 1024


@dataclasses.dataclass(frozen=True)
class LatentPreparation:
    """How latents are stored. ``scale`` times a stored number is what networks see."""

    scale: float
    channels: int = 0  # of the first one
    format: str = "npy"

    def __post_init__(self) -> None:
        if not 0 < self.scale < float("inf"):
            raise ConfigError(f"the scale of latents is {self.scale}; it is a number above 0")

    def encode(self, data: np.ndarray) -> tuple[bytes, tuple[int, int]]:
        """File bytes and (height, width); raises BadImage."""
        if data.ndim != 3:
            raise BadImage(f"has shape {list(data.shape)}; a latent is [channels, height, width]")
        if data.shape[0] != self.channels:
            raise BadImage(f"has {data.shape[0]} channel(s), and the first latent {self.channels}")
        if not np.isfinite(data).all() or np.abs(data).max() > LARGEST:
            raise BadImage("holds numbers that are not finite or do not fit 16 bits")
        out = io.BytesIO()
        np.save(out, np.ascontiguousarray(data, np.float16), allow_pickle=False)
        return out.getvalue(), data.shape[1:]


def open_latents(source: Path, request: Request) -> Originals:
    """Latents of a folder of ``.npy`` files, or of an npz with "latents" `[N, C, h, w]`.

    Classes are found as those of images are. Raises DataError for what the source lacks.
    """
    if source.is_dir():
        found = originals_of_tree(tree_of(source), request, kinds=("npy",))
        return dataclasses.replace(found, load=lambda i: read_latent(found.load(i)))
    if source.suffix != ".npz" or not source.is_file():
        raise DataError(f"{source} is neither a folder of .npy files nor an .npz; convert it first")
    with Npz(source) as arrays:
        names = [name for name in arrays.entries if name == ARRAY]
        latents, _ = mapped_array(
            arrays, names, request.scratch, what="latent", check=_check_layout
        )
        label = request.field or next(iter(called(arrays.entries, LABEL_ARRAYS)), None)
        classes = labels_of(arrays, label, len(latents), request, "latents")
    names = [f"latent {i} of {source.name}" for i in range(len(latents))]
    return Originals(names, lambda i: np.array(latents[i])).labeled(classes)


def _check_layout(header: Header, what: str) -> None:
    if len(header.shape) != 4 or not np.issubdtype(header.dtype, np.floating):
        raise DataError(
            f"{what} is {header.dtype} of shape {list(header.shape)}; latents are floating point "
            "[N, channels, height, width]"
        )
    if not all(header.shape):
        raise DataError(f"{what} has 0 latents (shape {list(header.shape)}); save them again")


def read_latent(data: bytes) -> np.ndarray:
    """A floating-point array from the bytes of an ``.npy`` file; raises BadImage."""
    try:
        array = array_of(data)
    except (ValueError, EOFError, OSError) as error:
        raise BadImage(f"is not a readable .npy file ({shown(error)})") from error
    if not np.issubdtype(array.dtype, np.floating):
        raise BadImage("is no array of floating-point numbers")
    return array


def decode_latent_into(data: bytes | memoryview, out: np.ndarray) -> None:
    """Fill ``out`` (float16 [C, h, w]) with a stored latent; raises BadImage.

    The header is compared before anything of the size that it states exists.
    """
    if bytes(data[:6]) != NPY_START:
        raise BadImage("is not a latent, and the dataset has latents")
    file = io.BytesIO(data)
    try:
        shape, kind, by_columns, _ = read_header(file, len(data))
    except (ValueError, EOFError) as error:
        raise BadImage(f"is not a readable .npy file ({shown(error)})") from error
    if shape != out.shape or kind != np.float16 or by_columns:
        raise BadImage(
            f"is a latent of {'x'.join(map(str, shape))} ({kind}), and the dataset has "
            f"{'x'.join(map(str, out.shape))} (float16)"
        )
    rest = data[file.tell() :]
    if len(rest) != out.nbytes:
        raise BadImage(f"has {len(rest)} bytes of numbers instead of {out.nbytes}")
    out[...] = np.frombuffer(rest, np.float16).reshape(out.shape)
    if not np.isfinite(out).all():
        raise BadImage("holds numbers that are not finite")
