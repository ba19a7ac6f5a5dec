"""Latents `[C, h, w]` of an encoder instead of images: kept as float16 `.npy` members of shards.

What training sees is what is stored times a scale, one number for the whole set, which stands in
index.json; so latents are read with their index only.
"""

import dataclasses
import io

import numpy as np

from largegan.data.decode import NPY_START
from largegan.errors import ConfigError, shown
from largegan.files.arrays import array_of, read_header
from largegan.files.photos import BadImage

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
